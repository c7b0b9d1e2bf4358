"""What Prometheus scrapes is the operator's snapshot in base units, read back here by a parser of its own."""

from __future__ import annotations

import re

import msgspec
import pytest
from tests.api.serving import Site, serving

from ecovisor import wire
from ecovisor.api.metrics import render

_SAMPLE = re.compile(r'^(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (?P<value>\S+)$')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> tuple[Samples, dict[str, str]]:
    """Samples by name and labels, and types by name; raises for what is not the text format 0.0.4."""
    samples: Samples = {}
    types: dict[str, str] = {}
    helped: set[str] = set()
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in helped
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, "a family is in one piece"
            types[name] = kind
        else:
            found = _SAMPLE.match(line)
            assert found is not None, line
            assert list(types)[-1] == found["name"], "samples follow their type"
            labels = tuple(
                (name, value.replace(r"\"", '"').replace(r"\n", "\n").replace(r"\\", "\\"))
                for name, value in _LABEL.findall(found["labels"] or "")
            )
            assert (found["name"], labels) not in samples
            samples[found["name"], labels] = float(found["value"])
    assert set(types) == helped
    return samples, types


def scraped(site: Site) -> tuple[Samples, dict[str, str]]:
    with site.client(None) as client:
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parse(answer.text)


def test_powers_are_watts_energies_joules_and_carbon_grams(site: Site) -> None:
    samples, types = scraped(site)
    snapshot = msgspec.json.decode(site.backend.site_snapshot().body, type=wire.SiteSnapshot)
    for app in snapshot.apps:
        label = (("app", app.app),)
        assert samples["ecovisor_app_load_watts", label] == app.load.power_w
        assert samples["ecovisor_app_carbon_grams_total", label] == app.carbon.total_g
        assert samples["ecovisor_app_battery_capacity_joules", label] == pytest.approx(app.battery.capacity_wh * 3600.0)
        for flow in ("load", "solar_to_load", "grid_to_battery"):
            told = samples["ecovisor_app_energy_joules_total", (*label, ("flow", flow))]
            assert told == pytest.approx(getattr(app.totals, f"{flow}_wh") * 3600.0)
        for container in app.containers:
            assert samples["ecovisor_container_watts", (*label, ("container", container.id))] == container.power_w
    assert samples["ecovisor_site_solar_watts", ()] == snapshot.solar_w
    for name, kind in types.items():
        assert (kind == "counter") == name.endswith("_total"), name


def test_what_is_unknown_has_no_line(site: Site) -> None:
    samples, types = scraped(site)
    assert "ecovisor_grid_carbon_intensity_grams_per_kwh" not in types, "the played intensity of the site is unknown"
    assert not any(name == "ecovisor_container_cap_watts" for name, _ in samples), "no cap is no line"


def test_odd_names_are_escaped() -> None:
    with serving() as site:
        snapshot = msgspec.json.decode(site.backend.site_snapshot().body, type=wire.SiteSnapshot)
    odd = 'a "plant"\nwith \\ and }'
    source = wire.SourceState(name=odd, quality="stale", age_s=1.5, detail="")
    samples, _ = parse(render(msgspec.json.encode(msgspec.structs.replace(snapshot, sources=[source]))).decode())
    assert samples["ecovisor_source_age_seconds", (("source", odd),)] == 1.5
    assert samples["ecovisor_source_ok", (("source", odd),)] == 0.0


def test_a_new_tick_is_rendered_anew() -> None:
    with serving() as site:
        first, _ = scraped(site)
        site.call(site.backend.advance)
        second, _ = scraped(site)
        assert (first["ecovisor_tick", ()], second["ecovisor_tick", ()]) == (1.0, 2.0)
