"""Presets: physical constants with an origin, and defaults that override nothing a person gave."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path

import pytest

from ecovisor.model.errors import SettingsError
from ecovisor.presets import BATTERIES, SERVERS, AppShares, resolve_battery, resolve_server, shares_of
from ecovisor.settings import App, Battery, Server

CURVES = Path(__file__).parents[2] / "shared" / "data" / "power" / "specpower_load_curves.csv"


def test_the_papers_battery_has_the_papers_figures() -> None:
    battery = resolve_battery(Battery(preset="ecovisor-paper"))
    assert (battery.capacity_wh, battery.empty_ratio, battery.charge_c_rate, battery.discharge_c_rate) == (1440.0, 0.3, 0.25, 1.0)
    assert battery.initial_ratio == 0.0


def test_a_field_that_is_given_overrides_the_preset_even_with_zero() -> None:
    battery = resolve_battery(Battery(preset="ecovisor-paper", capacity_wh=2000, empty_ratio=0.0, charge_efficiency=1.0))
    assert (battery.capacity_wh, battery.empty_ratio, battery.charge_efficiency, battery.discharge_efficiency) == (
        2000,
        0.0,
        1.0,
        0.95,
    )


def test_every_battery_preset_resolves_to_positive_figures() -> None:
    for name in BATTERIES:
        assert min(asdict(resolve_battery(Battery(preset=name))).values()) >= 0.0


def test_a_battery_without_preset_needs_its_capacity() -> None:
    with pytest.raises(SettingsError, match=r"site\.battery\.capacity_wh: missing; .*'ecovisor-paper'"):
        resolve_battery(Battery(charge_c_rate=1.0))


def test_an_unknown_preset_is_told_the_nearest_one() -> None:
    with pytest.raises(SettingsError, match=r"site\.battery\.preset: .*did you mean 'ecovisor-paper'\?"):
        resolve_battery(Battery(preset="ecovisor-papers"))
    with pytest.raises(SettingsError, match=r"site\.server\.preset: .*did you mean 'microserver-gpu'\?"):
        resolve_server(Server(preset="microserver-cpu"))


def test_a_server_without_curve_is_the_papers_microserver() -> None:
    server = resolve_server(Server())
    assert (server.cores, server.power_curve_w) == (4.0, (1.35, 5.0))
    assert resolve_server(Server(preset="microserver-gpu")).power_curve_w == (1.35, 10.0)


def test_every_server_preset_has_a_curve_that_does_not_fall() -> None:
    for name in SERVERS:
        curve = resolve_server(Server(preset=name)).power_curve_w
        assert 2 <= len(curve) <= 21
        assert list(curve) == sorted(curve)


@pytest.mark.skipif(not CURVES.exists(), reason="needs the published load curves")
def test_the_published_servers_have_the_published_figures() -> None:
    with CURVES.open(encoding="utf-8") as file:
        published = {
            (float(row["cores"]), tuple(float(row[f"w_{load}"]) for load in range(0, 101, 10))) for row in csv.DictReader(file)
        }
    long_curves = [server for server in SERVERS.values() if len(server.power_curve_w) == 11]
    assert len(long_curves) >= 3
    assert {(server.cores, server.power_curve_w) for server in long_curves} <= published


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (Server(preset="dell-r240", power_curve_w=[1, 2]), "power_curve_w: given together with preset"),
        (Server(preset="dell-r240", cores=8), "cores: is 8, but 'dell-r240' has 6"),
        (Server(cores=8), "power_curve_w: missing for a server of 8 cores"),
        (Server(power_curve_w=[1.0]), r"power_curve_w: has 1 point\(s\), must have 2 to 21"),
        (Server(power_curve_w=[1.0] * 22), r"power_curve_w: has 22 point\(s\), must have 2 to 21"),
        (Server(power_curve_w=[1, 5, 4]), r"power_curve_w\[2\]: is 4 W, less than the 5 W before it"),
    ],
)
def test_a_server_that_contradicts_itself_is_refused(server: Server, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve_server(server)


def test_a_server_of_ones_own_keeps_its_curve() -> None:
    assert resolve_server(Server(cores=8, power_curve_w=[20, 45, 60])).power_curve_w == (20, 45, 60)


def test_a_share_holds_for_all_resources_unless_one_has_its_own() -> None:
    assert shares_of(App(name="a", share=0.4)) == AppShares(0.4, 0.4, 0.4, 0.4)
    assert shares_of(App(name="a", share=0.4, grid_share=1.0, battery_energy_share=0.0)) == AppShares(1.0, 0.4, 0.0, 0.0)
    assert shares_of(App(name="a", battery_energy_share=0.2, battery_power_share=0.5)) == AppShares(0.0, 0.0, 0.2, 0.5)


def test_copies_hold_their_shares_together() -> None:
    assert shares_of(App(name="a", share=0.5, count=10)) == AppShares(0.5, 0.5, 0.5, 0.5)
