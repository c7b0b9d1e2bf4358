"""What must hold between the fields of a scenario, and of their text: instants, durations, names, shares, and what each kind takes.

Owns every rule that a type cannot say. Each error's `where` is a field path; ``scenario_files`` puts the file before it. What only
loaded data can tell (a trace too short for the run) is found by ``adapters.signals`` when ``assembly`` loads it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from ecovisor.adapters import built_in
from ecovisor.model.errors import SettingsError
from ecovisor.model.nearest import did_you_mean
from ecovisor.model.units import duration_s, human_duration, instant_s, iso_utc
from ecovisor.presets import resolve_battery, resolve_server, shares_of
from ecovisor.settings import App, Policy, Run, Scenario, Serving, Signal, Site, Workload

#: Kind → the fields that it takes, besides those that every kind takes. A plug-in takes `options`.
SIGNAL_KINDS: Mapping[str, frozenset[str]] = {
    "constant": frozenset({"value", "unit"}),
    "file": frozenset(
        {
            *("file", "column", "time_column", "unit", "timezone", "scale_to_peak_w"),
            *("fill", "max_gap", "resample", "repeat", "align", "forecast", "options"),
        }
    ),
    "modelled-carbon": frozenset({"zone", "seed", "step", "resample", "forecast"}),
    "modelled-solar": frozenset(
        {"peak_w", "latitude", "longitude", "tilt_deg", "azimuth_deg", "weather", "seed", "step", "resample", "forecast"},
    ),
    "pvlib": frozenset(
        {"peak_w", "latitude", "longitude", "tilt_deg", "azimuth_deg", "weather", "step", "resample", "forecast"},
    ),
}
WORKLOAD_KINDS: Mapping[str, frozenset[str]] = {
    "batch": frozenset(
        {
            *("start", "work_core_hours", "deadline", "usl_contention", "usl_coherency", "scaling_table"),
            *("checkpoint_interval", "checkpoint_duration", "restart_duration", "idle_when_starved"),
        }
    ),
    "constant": frozenset({"start", "demand_w"}),
    "trace": frozenset({"start", "trace"}),
    "containers": frozenset(),
    **{kind: frozenset({"start", "options"}) for kind in built_in.WORKLOADS},
    **{
        kind: frozenset(
            {
                *("start", "work_core_hours", "deadline", "options"),
                *("checkpoint_interval", "checkpoint_duration", "restart_duration"),
            }
        )
        for kind in built_in.BATCH_JOBS
    },
    "web-service": frozenset({"start", "trace", "options"}),
}
POLICY_KINDS: Mapping[str, frozenset[str]] = {
    "carbon-agnostic": frozenset(),
    "suspend-resume": frozenset({"threshold_g_per_kwh", "percentile", "window", "refresh"}),
    "wait-and-scale": frozenset({"threshold_g_per_kwh", "percentile", "window", "refresh", "scale"}),
    "battery-arbitrage": frozenset({"charge_below_g_per_kwh", "discharge_above_g_per_kwh", "charge_rate_w", "window", "refresh"}),
    "static-carbon-rate": frozenset({"carbon_rate_g_per_h"}),
    "remote": frozenset(),
    **{kind: frozenset({"options"}) for kind in built_in.POLICIES},
}
#: Policies that look at the carbon intensity.
_CARBON_POLICIES = frozenset(
    {"suspend-resume", "wait-and-scale", "battery-arbitrage", "static-carbon-rate", "dynamic-carbon-budget", "carbon-rate-workers"}
)
_NEEDED = {
    "constant signal": "value",
    "file signal": "file",
    "modelled-carbon signal": "zone",
    "modelled-solar signal": "peak_w",
    "pvlib signal": "peak_w",
    "batch workload": "work_core_hours",
    "constant workload": "demand_w",
    "trace workload": "trace",
    "training workload": "work_core_hours",
    "task-queue workload": "work_core_hours",
    "web-service workload": "trace",
    "static-carbon-rate policy": "carbon_rate_g_per_h",
}
_FORECASTS = ("perfect", "persistence", "day-before")
_PLUG_IN = re.compile(r"(.+\.py):([A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True)
class Interval:
    """The simulated time, in ticks. [seconds since the epoch; seconds]"""

    start_s: float
    tick_s: float
    ticks: int

    @property
    def end_s(self) -> float:
        """First instant no longer simulated. [s since the epoch]"""
        return self.start_s + self.tick_s * self.ticks


def check(scenario: Scenario, folder: Path, given: Iterable[str] = ()) -> None:
    """Check a decoded scenario; `folder` is what its relative paths (plug-ins) are resolved against.

    Args:
        scenario: decoded.
        folder: relative paths start here.
        given: names of signals that are not in it, because they are given in memory.

    Raises:
        SettingsError: a rule is broken; `where` is the field.
    """
    interval = live_interval_of(scenario.run) if scenario.server is not None else interval_of(scenario.run)
    _check_site(scenario.site)
    for name, signal in scenario.signals.items():
        _check_signal(signal, f"signals.{name}", folder)
    _check_names(scenario.apps)
    _check_shares(scenario.apps)
    signals = {*scenario.signals, *given}
    for k, app in enumerate(scenario.apps):
        _check_workload(app.workload, f"apps[{k}].workload", signals, interval, folder)
        _check_policy(app.policy, f"apps[{k}].policy", signals, folder)
        _check_commands(app, f"apps[{k}]", scenario)
    if scenario.server is not None:
        _check_serving(scenario.server)


def interval_of(run: Run) -> Interval:
    """The ticks of a run.

    Raises:
        SettingsError: start, end, duration or tick cannot be read, contradict each other, or the tick does not divide the run.
    """
    if run.start is None:
        raise SettingsError("run.start", "missing", "add start = …")
    start_s = _instant(run.start, "run.start")
    tick_s = _duration(run.tick, "run.tick")
    if (run.duration is None) == (run.end is None):
        given = "neither is given" if run.end is None else "both are given"
        raise SettingsError("run.duration", f"{given} of duration and end", "give exactly one of them")
    if run.duration is not None:
        length_s = _duration(run.duration, "run.duration")
    else:
        end_s = _instant(str(run.end), "run.end")
        length_s = end_s - start_s
        if length_s <= 0:
            raise SettingsError("run.end", f"{iso_utc(end_s)} is not after the start {iso_utc(start_s)}", "give a later end")
    ticks = length_s / tick_s
    if abs(ticks - round(ticks)) > 1e-6 or ticks < 1 - 1e-6:
        raise SettingsError(
            "run.tick",
            f"{human_duration(tick_s)} does not divide the run of {human_duration(length_s)}",
            "choose a tick that does, for example '1min' or '5min'",
        )
    return Interval(start_s, tick_s, round(ticks))


def live_interval_of(run: Run) -> Interval:
    """The ticks of a site that runs live, from its start, or from 1970 where that is left open, without an end.

    Raises:
        SettingsError: start or tick cannot be read.
    """
    start_s = 0.0 if run.start is None else _instant(run.start, "run.start")
    return Interval(start_s, _duration(run.tick, "run.tick"), 1 << 40)


def moment_s(text: str, origin_s: float, field: str) -> float:
    """An instant (ISO 8601 with zone), or a duration after `origin_s`. [s since the epoch]

    Raises:
        SettingsError: it is neither; `where` is `field`.
    """
    if re.match(r"\s*\d{4}-", text):
        return _instant(text, field)
    return origin_s + span_s(text, field)


def span_s(text: str, field: str) -> float:
    """A duration that may be zero (``0s``). [s]

    Raises:
        SettingsError: it is none; `where` is `field`.
    """
    return 0.0 if re.fullmatch(r"\s*0+(\.0+)?\s*(s|min|m|h|d|w)?\s*", text) else _duration(text, field)


def _instant(text: str, field: str) -> float:
    try:
        return instant_s(text)
    except ValueError as error:
        if "time zone" in str(error):
            raise SettingsError(field, f"{text!r} names no time zone", "append 'Z' or an offset such as '+02:00'") from None
        raise SettingsError(
            field, f"{text!r} is no instant", "write ISO 8601 with its zone, for example '2020-06-01T00:00Z'"
        ) from None


def _duration(text: str, field: str) -> float:
    try:
        return duration_s(text)
    except ValueError:
        raise SettingsError(field, f"{text!r} is no positive duration", "write for example '5min', '1h 30min' or '2d'") from None


def _timezone(name: str, field: str) -> None:
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        near = did_you_mean(name, available_timezones())
        remedy = near if near.startswith("did") else "give an IANA name such as 'America/Los_Angeles'"
        raise SettingsError(field, f"no time zone is called {name!r}", remedy) from None


def _check_site(site: Site) -> None:
    _timezone(site.timezone, "site.timezone")
    resolve_server(site.server)
    if site.battery is not None:
        resolve_battery(site.battery)
    if len(set(site.excess)) < len(site.excess):
        raise SettingsError("site.excess", f"names a policy twice: {', '.join(site.excess)}", "name each once")
    if "curtail" in site.excess[:-1]:
        raise SettingsError("site.excess", "has a policy after 'curtail', which leaves nothing", "put 'curtail' last")
    if site.export_limit_w is not None and "export" not in site.excess:
        raise SettingsError(
            "site.export_limit_w",
            f"is {site.export_limit_w:g} W, but nothing is exported",
            "add 'export' to site.excess, or remove it",
        )


def _check_names(apps: list[App]) -> None:
    seen: dict[str, int] = {}
    for k, app in enumerate(apps):
        if app.name in seen:
            raise SettingsError(
                f"apps[{k}].name", f"{app.name!r} is already the name of apps[{seen[app.name]}]", "give another name"
            )
        seen[app.name] = k
    for k, app in enumerate(apps):
        stem, _, number = app.name.rpartition("-")
        other = seen.get(stem)
        if app.count == 1 and other is not None and re.fullmatch(r"[1-9]\d*", number) and int(number) <= apps[other].count > 1:
            raise SettingsError(f"apps[{k}].name", f"{app.name!r} is also a copy of apps[{other}]", "give another name")


def _check_shares(apps: list[App]) -> None:
    for resource in ("grid", "solar", "battery_energy", "battery_power"):
        held = [(app.name, getattr(shares_of(app), resource)) for app in apps]
        total = sum(share for _, share in held)
        if total > 1.0 + 1e-9:
            largest = sorted(held, key=lambda pair: -pair[1])[:3]
            parts = ", ".join(f"{name} {share:g}" for name, share in largest)
            raise SettingsError(
                "apps", f"the shares of {resource.replace('_', ' ')} add up to {total:g} ({parts}{', …' if len(held) > 3 else ''})",
                f"lower share or {resource}_share; together at most 1",
            )  # fmt: skip


def _check_commands(app: App, path: str, scenario: Scenario) -> None:
    real = app.workload.kind == "containers"
    if scenario.server is None:
        for field, value, given in (
            ("workload.kind", "containers", real),
            ("policy.kind", "remote", app.policy.kind == "remote"),
            ("commands", app.commands, bool(app.commands)),
            ("webhook_allow", app.webhook_allow, bool(app.webhook_allow)),
        ):
            if given:
                raise SettingsError(f"{path}.{field}", f"is {value!r}, which only a live site has", "add a table [server]")
        return
    known = scenario.server.commands
    for k, name in enumerate(app.commands):
        if name not in known:
            remedy = did_you_mean(name, known) if known else f"add a table [server.commands.{name}]"
            raise SettingsError(f"{path}.commands[{k}]", f"no command is called {name!r}", remedy)
    if real and not app.commands:
        raise SettingsError(f"{path}.commands", "missing", "name what its containers run")
    if app.commands and not real:
        raise SettingsError(f"{path}.commands", "given for simulated containers", 'write workload = { kind = "containers" }')
    if real and app.count > 1:
        raise SettingsError(f"{path}.count", f"is {app.count}, but real containers have one app each", "write an app for each")


def _check_serving(server: Serving) -> None:
    for field in ("max_age", "keep_ticks", "gap_after"):
        text = getattr(server, field)
        if text is not None:
            _duration(text, f"server.{field}")
    for field in ("listen", "metrics_listen"):
        text = getattr(server, field)
        if text is not None and not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+):\d{1,5}", text):
            raise SettingsError(f"server.{field}", f"{text!r} is no address", "write host:port, for example '127.0.0.1:7780'")
    if (server.tls_certificate is None) != (server.tls_key is None):
        missing = "tls_key" if server.tls_key is None else "tls_certificate"
        raise SettingsError(f"server.{missing}", "missing", "TLS needs both tls_certificate and tls_key")
    if server.lockstep and server.plant.kind != "in-process":
        raise SettingsError("server.lockstep", "needs a plant that keeps step", 'write plant = { kind = "in-process" } in [server]')


def _check_signal(signal: Signal, path: str, folder: Path) -> None:
    if _check_kind(signal, "signal", SIGNAL_KINDS, path, folder):
        return
    if signal.timezone is not None:
        _timezone(signal.timezone, f"{path}.timezone")
    _duration(signal.max_gap, f"{path}.max_gap")
    if signal.step is not None:
        _duration(signal.step, f"{path}.step")
    if signal.forecast not in _FORECASTS and not (signal.kind == "file" and re.fullmatch("column:.+", signal.forecast)):
        raise SettingsError(
            f"{path}.forecast", f"{signal.forecast!r} is no forecast of a {signal.kind} signal",
            did_you_mean(signal.forecast, [*_FORECASTS, "column:NAME"] if signal.kind == "file" else _FORECASTS),
        )  # fmt: skip


def _check_workload(workload: Workload, path: str, signals: Collection[str], interval: Interval, folder: Path) -> None:
    plug_in = _check_kind(workload, "workload", WORKLOAD_KINDS, path, folder, everywhere={"start"})
    start_s = interval.start_s if workload.start is None else moment_s(workload.start, interval.start_s, f"{path}.start")
    if not interval.start_s <= start_s < interval.end_s:
        raise SettingsError(
            f"{path}.start",
            f"{iso_utc(start_s)} is outside the run, {iso_utc(interval.start_s)} to {iso_utc(interval.end_s)}",
            "start within the run",
        )
    if plug_in:
        return
    if workload.deadline is not None:
        deadline_s = moment_s(workload.deadline, start_s, f"{path}.deadline")
        if deadline_s <= start_s:
            raise SettingsError(
                f"{path}.deadline", f"{iso_utc(deadline_s)} is not after the start {iso_utc(start_s)}", "give a later one"
            )
    if workload.scaling_table is not None:
        _check_scaling(workload, f"{path}.scaling_table")
    _check_checkpoints(workload, path)
    if workload.trace is not None and workload.trace not in signals:
        raise SettingsError(
            f"{path}.trace", f"no signal is called {workload.trace!r}",
            did_you_mean(workload.trace, signals) if signals else f"add a table [signals.{workload.trace}]",
        )  # fmt: skip


def _check_scaling(workload: Workload, path: str) -> None:
    table = workload.scaling_table or []
    if workload.usl_contention or workload.usl_coherency:
        raise SettingsError(
            path, "given together with the universal scalability law", "remove usl_contention and usl_coherency, or the table"
        )
    if not 2 <= len(table) <= 16:
        raise SettingsError(path, f"has {len(table)} points, must have 2 to 16", "list [cores, speed-up] pairs")
    for k, point in enumerate(table):
        if len(point) != 2 or min(point) <= 0:
            raise SettingsError(f"{path}[{k}]", f"is {point}, must be two positive numbers", "write [cores, speed-up]")
        if k and point[0] <= table[k - 1][0]:
            raise SettingsError(f"{path}[{k}]", f"{point[0]:g} cores do not follow {table[k - 1][0]:g}", "sort the points by cores")


def _check_checkpoints(workload: Workload, path: str) -> None:
    span_s(workload.restart_duration, f"{path}.restart_duration")
    writing_s = span_s(workload.checkpoint_duration, f"{path}.checkpoint_duration")
    if workload.checkpoint_interval is None:
        if writing_s:
            raise SettingsError(f"{path}.checkpoint_duration", "given without checkpoint_interval", "say how often one is written")
    elif writing_s >= _duration(workload.checkpoint_interval, f"{path}.checkpoint_interval"):
        raise SettingsError(
            f"{path}.checkpoint_duration",
            f"{workload.checkpoint_duration} is not shorter than checkpoint_interval, {workload.checkpoint_interval}",
            "write checkpoints less often",
        )


def _check_policy(policy: Policy, path: str, signals: Collection[str], folder: Path) -> None:
    if _check_kind(policy, "policy", POLICY_KINDS, path, folder):
        return
    if policy.kind in _CARBON_POLICIES and "carbon" not in signals:
        raise SettingsError(f"{path}.kind", f"{policy.kind} needs the signal 'carbon'", "add a table [signals.carbon]")
    for field in ("window", "refresh"):
        text = getattr(policy, field)
        if text is not None:
            _duration(text, f"{path}.{field}")
    for field in ("percentile", "window", "refresh"):
        if policy.threshold_g_per_kwh is not None and getattr(policy, field) is not None:
            raise SettingsError(
                f"{path}.{field}", "given together with threshold_g_per_kwh", "a fixed threshold needs none; remove one of them"
            )
    if policy.scale is not None and policy.scale < 1:
        raise SettingsError(
            f"{path}.scale", f"is {policy.scale:g}, must be at least 1", "it multiplies the app's cores while carbon is low"
        )
    low, high = policy.charge_below_g_per_kwh, policy.discharge_above_g_per_kwh
    if low is not None and high is not None and low > high:
        raise SettingsError(
            f"{path}.charge_below_g_per_kwh",
            f"is {low:g}, more than discharge_above_g_per_kwh = {high:g}",
            "charge at a lower intensity",
        )


@cache
def _fields(table: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """What a table has; finding out takes a millisecond, and a sweep asks thousands of times."""
    return msgspec.structs.fields(table)


def _check_kind(
    table: Signal | Workload | Policy,
    noun: str,
    kinds: Mapping[str, frozenset[str]],
    path: str,
    folder: Path,
    everywhere: Iterable[str] = (),
) -> bool:
    """Whether the kind is a plug-in; else the fields must be those that the kind takes, and the one that it needs be given."""
    plug_in = table.kind not in kinds
    if plug_in:
        _check_plug_in(table.kind, noun, kinds, f"{path}.kind", folder)
        if noun == "signal":
            return True
    taken = {"kind", *everywhere, *({"options"} if plug_in else kinds[table.kind])}
    for field in _fields(type(table)):
        default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        if field.name in taken or getattr(table, field.name) == default:
            continue
        takers = sorted(kind for kind, fields in kinds.items() if field.name in fields)
        if field.name == "options" and noun != "signal":
            takers = ["plug-ins", *takers]
        named = " and ".join(filter(None, (", ".join(takers[:-1]), *takers[-1:])))
        remedy = f"only {named} {'take' if len(takers) > 1 else 'takes'} it"
        put = "; put it in options" if plug_in else ""
        raise SettingsError(f"{path}.{field.name}", f"makes no sense for the {noun} {table.kind!r}", remedy + put)
    needed = _NEEDED.get(f"{table.kind} {noun}")
    if needed is not None and getattr(table, needed) is None:
        raise SettingsError(f"{path}.{needed}", "missing", f"the {noun} {table.kind!r} needs it")
    return plug_in


def _check_plug_in(kind: str, noun: str, kinds: Iterable[str], field: str, folder: Path) -> None:
    match = _PLUG_IN.fullmatch(kind)
    if match is not None:
        if not (folder / match[1]).is_file():
            raise SettingsError(
                field, f"no file {match[1]!r} in {folder}", "write file.py:Name, the path relative to the scenario file"
            )
        return
    names = _entry_points("ecovisor." + {"policy": "policies"}.get(noun, f"{noun}s"))
    if kind not in names:
        raise SettingsError(
            field, f"no {noun} is called {kind!r}", f"{did_you_mean(kind, [*kinds, *names])} Or a plug-in, file.py:Name"
        )


def _entry_points(group: str) -> set[str]:
    from importlib.metadata import entry_points

    return {point.name for point in entry_points(group=group)}
