"""The site and its apps as Prometheus text: powers as `_watts`, energies as `_joules` and `_joules_total`, carbon as `_grams_total`.

Made from the operator's snapshot, once a tick and off the event loop. What is unknown has no line: absence is never zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import msgspec

from ecovisor import wire
from ecovisor.api.backend import Published

JOULES_PER_WH = 3600.0

_Sample = tuple[dict[str, str], float | int | None]
_decoder = msgspec.json.Decoder(wire.SiteSnapshot)


class Metrics:
    """The text of the newest tick; whoever asks while it is being made waits for the same."""

    def __init__(self) -> None:
        self._of = ""
        self._text = b""
        self._making = asyncio.Lock()

    async def text(self, published: Published) -> bytes:
        """The text for a snapshot."""
        async with self._making:
            if published.etag != self._of:
                self._text = await asyncio.to_thread(render, published.body)
                self._of = published.etag
            return self._text


def render(body: bytes) -> bytes:
    """Prometheus' text format 0.0.4 of a `wire.SiteSnapshot` in JSON."""
    site = _decoder.decode(body)
    lines: list[str] = []
    for name, kind, text, samples in _families(site):
        shown = [f"{name}{_labels(labels)} {value!r}" for labels, value in samples if value is not None]
        if shown:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *shown]
    return ("\n".join(lines) + "\n").encode()


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _families(site: wire.SiteSnapshot) -> Iterator[tuple[str, str, str, list[_Sample]]]:
    """(name, type, help, samples)."""

    def one(value: float | None) -> list[_Sample]:
        return [({}, value)]

    yield "ecovisor_tick", "gauge", "Number of the coming tick.", one(site.tick)
    yield "ecovisor_site_time_seconds", "gauge", "Site time at the start of the coming tick.", one(site.now_s)
    yield "ecovisor_site_solar_watts", "gauge", "Solar power collected in the last tick.", one(site.solar_w)
    yield "ecovisor_site_import_watts", "gauge", "Power from the grid, metered.", one(site.import_w)
    yield "ecovisor_site_export_watts", "gauge", "Power to the grid, metered.", one(site.export_w)
    yield "ecovisor_site_battery_charge_watts", "gauge", "Power into the battery, metered.", one(site.battery_charge_w)
    yield "ecovisor_site_battery_discharge_watts", "gauge", "Power out of the battery, metered.", one(site.battery_discharge_w)
    yield "ecovisor_site_battery_level_joules", "gauge", "Above the empty line.", one(site.battery_level_wh * JOULES_PER_WH)
    yield "ecovisor_site_battery_capacity_joules", "gauge", "Usable.", one(site.battery_capacity_wh * JOULES_PER_WH)
    yield "ecovisor_site_node_watts", "gauge", "All containers and the overhead.", one(site.node_power_w)
    yield "ecovisor_site_curtailed_watts", "gauge", "Solar power not collected.", one(site.curtailed_w)
    yield "ecovisor_grid_carbon_intensity_grams_per_kwh", "gauge", "Of the coming tick.", one(site.carbon_intensity_g_per_kwh)
    yield "ecovisor_late_ticks_total", "counter", "Ticks that took longer than they should.", one(site.late_ticks)
    yield "ecovisor_gaps_total", "counter", "Times that nobody metered.", one(site.gaps)
    yield (
        "ecovisor_source_age_seconds",
        "gauge",
        "Wall time since the last good value of a source.",
        [({"source": source.name}, source.age_s) for source in site.sources],
    )
    yield (
        "ecovisor_source_ok",
        "gauge",
        "0 while a source is stale or missing.",
        [({"source": source.name}, int(source.quality not in {"stale", "missing"})) for source in site.sources],
    )
    yield from _app_families(site.apps)
    yield from _container_families(site.apps)


def _app_families(apps: list[wire.Snapshot]) -> Iterator[tuple[str, str, str, list[_Sample]]]:
    def each(value: Callable[[wire.Snapshot], float | None]) -> list[_Sample]:
        return [({"app": app.app}, value(app)) for app in apps]

    yield "ecovisor_app_load_watts", "gauge", "Power served in the last tick.", each(lambda a: a.load.power_w)
    yield "ecovisor_app_solar_watts", "gauge", "Solar power of the coming tick.", each(lambda a: a.solar.power_w)
    yield "ecovisor_app_grid_watts", "gauge", "Drawn from the grid by load and battery.", each(lambda a: a.grid.power_w)
    yield "ecovisor_app_cap_watts", "gauge", "Cap on the app as a whole.", each(lambda a: a.load.cap_w)
    yield "ecovisor_app_overdraw_watts", "gauge", "Beyond the app's supply.", each(lambda a: a.load.overdraw_w)
    yield "ecovisor_app_battery_charge_watts", "gauge", "Into the battery.", each(lambda a: a.battery.charge_w)
    yield "ecovisor_app_battery_discharge_watts", "gauge", "Out of the battery.", each(lambda a: a.battery.discharge_w)
    yield (
        "ecovisor_app_battery_level_joules",
        "gauge",
        "Above the empty line.",
        each(lambda a: a.battery.level_wh * JOULES_PER_WH),
    )
    yield (
        "ecovisor_app_battery_capacity_joules",
        "gauge",
        "Usable.",
        each(lambda a: a.battery.capacity_wh * JOULES_PER_WH),
    )
    yield (
        "ecovisor_app_energy_joules_total",
        "counter",
        "Energy since the app joined, by flow.",
        [
            ({"app": app.app, "flow": name.removesuffix("_wh")}, getattr(app.totals, name) * JOULES_PER_WH)
            for app in apps
            for name in wire.Energies.__struct_fields__
        ],
    )
    yield "ecovisor_app_carbon_grams_total", "counter", "On import, since the app joined.", each(lambda a: a.carbon.total_g)
    yield (
        "ecovisor_app_carbon_on_use_grams_total",
        "counter",
        "The same, charged when energy is used.",
        each(lambda a: a.carbon.on_use_total_g),
    )
    yield (
        "ecovisor_app_unknown_carbon_joules_total",
        "counter",
        "Imported while the intensity was unknown.",
        each(lambda a: a.carbon.unknown_wh * JOULES_PER_WH),
    )
    yield (
        "ecovisor_app_carbon_budget_remaining_grams",
        "gauge",
        "Where a budget is set.",
        each(lambda a: None if a.carbon.budget is None else a.carbon.budget.remaining_g),
    )


def _container_families(apps: list[wire.Snapshot]) -> Iterator[tuple[str, str, str, list[_Sample]]]:
    both = [({"app": app.app, "container": container.id}, container) for app in apps for container in app.containers]
    yield (
        "ecovisor_container_watts",
        "gauge",
        "Mean power over the last tick.",
        [(labels, container.power_w) for labels, container in both],
    )
    yield "ecovisor_container_cap_watts", "gauge", "Cap in force.", [(labels, container.cap_w) for labels, container in both]
