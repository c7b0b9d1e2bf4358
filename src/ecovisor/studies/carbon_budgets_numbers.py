"""What the carbon budget study compares: both policies of an application, in one run and over many; and the reruns that explain it.

The runs are `carbon_budgets`', on the traces of `carbon_budgets_inputs`; `figure6` makes claims of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from ecovisor.presets import ServerParameters
from ecovisor.studies.carbon_budgets import APPLICATIONS, DYNAMIC, SERVER, STATIC, Application, Outcome, Setting, run
from ecovisor.studies.carbon_budgets_inputs import Inputs, published
from ecovisor.studies.findings import Rerun, Table
from ecovisor.studies.traces import Traces

#: The paper's differences in carbon, by application. [%]
PAPER_PERCENT = {"web-1": -22.8, "web-2": -23.4}


@dataclass(frozen=True, slots=True)
class Pair:
    """An application under both policies, in the same run."""

    static: Outcome
    dynamic: Outcome

    @property
    def carbon_percent(self) -> float:
        """Carbon of the dynamic policy against the static one. [%]"""
        return 100.0 * (self.dynamic.carbon_g / self.static.carbon_g - 1.0)


Pairs = dict[str, Pair]
"""By application."""


def compare(inputs: Inputs, setting: Setting, applications: Sequence[Application] = APPLICATIONS) -> Pairs:
    """Run it, and put both policies beside each other."""
    outcomes = run(applications, inputs.carbon, inputs.requests, setting)
    return {app.name: Pair(outcomes[app.name, STATIC], outcomes[app.name, DYNAMIC]) for app in applications}


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of several runs."""
    return fmean(values), stdev(values) if len(values) > 1 else 0.0


def table_of(runs: Sequence[Pairs], labels: Sequence[str]) -> Table:
    """A row for each run and application: carbon and time over the objective under both policies."""
    rows = [(label, app.title, pairs[app.name]) for label, pairs in zip(labels, runs, strict=True) for app in APPLICATIONS]
    return Table(
        columns={
            "run": [label for label, _, _ in rows],
            "application": [title for _, title, _ in rows],
            "static_carbon_g": [pair.static.carbon_g for *_, pair in rows],
            "dynamic_carbon_g": [pair.dynamic.carbon_g for *_, pair in rows],
            "carbon_change_percent": [pair.carbon_percent for *_, pair in rows],
            "static_late_h": [pair.static.late_h for *_, pair in rows],
            "dynamic_late_h": [pair.dynamic.late_h for *_, pair in rows],
            "budget_g": [pair.dynamic.budget_g for *_, pair in rows],
        }
    )


@dataclass(frozen=True, slots=True)
class _Factor:
    """One thing changed."""

    changed: str
    setting: Setting
    applications: tuple[Application, ...]
    explains: str
    """`carbon`, or `late` under the static or the dynamic policy: `static-late`, `dynamic-late`."""
    conclusion: Callable[[float, float], str]


def _every(**changes: float) -> tuple[Application, ...]:
    return tuple(replace(app, **changes) for app in APPLICATIONS)  # type: ignore[arg-type]  # trace is a whole number


def _loads(factor: float) -> tuple[Application, ...]:
    return tuple(replace(app, load_ratio=app.load_ratio * factor) for app in APPLICATIONS)


def _factors(setting: Setting) -> list[_Factor]:
    def moves(what: str) -> Callable[[float, float], str]:
        return lambda before, after: f"{what} accounts for {abs(after - before):.1f} points"

    return [
        _Factor(
            "64 containers for each application, half of the paper's cluster, instead of 20",
            replace(setting, most_workers=64),
            APPLICATIONS,
            "carbon",
            lambda _before, _after: "what the static policy wastes when carbon is low is bounded by the containers that there are",
        ),
        _Factor(
            "static policy plans with workers at full power",
            replace(setting, static_plan="at-full-power"),
            APPLICATIONS,
            "carbon",
            lambda _before, _after: "it then wastes less, and is late for longer; the paper does not say how it plans",
        ),
        _Factor(
            "half as many requests again",
            setting,
            _loads(1.5),
            "carbon",
            lambda _before, _after: (
                "the busier the service, the less there is to save; the static policy turns requests away, and may then emit less"
            ),
        ),
        _Factor(
            "server of linear power between idle and full load",
            replace(setting, server=ServerParameters(SERVER.cores, (SERVER.power_curve_w[0], SERVER.power_curve_w[-1]))),
            APPLICATIONS,
            "carbon",
            moves("the shape of the power curve"),
        ),
        _Factor(
            "one queue for all workers (M/M/c) instead of one in each",
            replace(setting, discipline="shared-queue"),
            APPLICATIONS,
            "carbon",
            moves("the queueing model"),
        ),
        _Factor("ticks of 1 min instead of 3 min", replace(setting, tick_s=60.0), APPLICATIONS, "carbon", moves("the tick")),
        _Factor(
            "static policy caps the power of all containers instead of choosing their number",
            replace(setting, static_plan="power-cap"),
            APPLICATIONS,
            "static-late",
            lambda _before, _after: "it is short wherever the limit binds, since all containers' idle power comes first",
        ),
        _Factor(
            "requests of a Twitter stream with bursts of minutes",
            setting,
            _every(trace=2),
            "dynamic-late",
            lambda before, after: (
                "a policy that scales with what it has seen is late in a burst that nothing announces"
                if after > before
                else "bursts of minutes do not make it late"
            ),
        ),
    ]


_TITLES = {
    "carbon": ("{}: carbon under the dynamic against the static policy", "%"),
    "static-late": ("{}: time over the objective under the static policy", "h"),
    "dynamic-late": ("{}: time over the objective under the dynamic policy", "h"),
}


def value_of(pair: Pair, what: str) -> float:
    """What a rerun looks at. [% or h]"""
    return {"carbon": pair.carbon_percent, "static-late": pair.static.late_h, "dynamic-late": pair.dynamic.late_h}[what]


def reruns(traces: Traces, setting: Setting, base: Pairs, progress: Callable[[float], None]) -> list[Rerun]:
    """The published alignment again, one factor changed at a time.

    Args:
        traces: as for the base.
        setting: the base's.
        base: what is compared with.
        progress: told the part that is done.
    """
    found = []
    factors = _factors(setting)
    for done, factor in enumerate(factors):
        progress(done / len(factors))
        pairs = compare(published(traces, factor.setting, factor.applications), factor.setting, factor.applications)
        name, unit = _TITLES[factor.explains]
        for app in APPLICATIONS:
            before, after = (value_of(one[app.name], factor.explains) for one in (base, pairs))
            found.append(
                Rerun(
                    name=name.format(app.title),
                    changed=factor.changed,
                    before=before,
                    after=after,
                    unit=unit,
                    conclusion=factor.conclusion(before, after),
                )
            )
    return found
