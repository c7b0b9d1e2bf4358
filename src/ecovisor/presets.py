"""Known hardware, and what a scenario's battery, server and shares come to once presets and defaults are filled in.

Owns every physical constant that a scenario may call by name, with its origin. The schema (``settings``) only says that a field was
left out; here it becomes a number. The engine takes the resolved parameters from here and never looks at a preset's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from ecovisor.model.errors import SettingsError
from ecovisor.model.nearest import did_you_mean
from ecovisor.settings import App, Battery, Server


@dataclass(frozen=True, slots=True)
class BatteryParameters:
    """A physical battery; powers at its terminals are its C-rates times `capacity_wh`."""

    capacity_wh: float
    """Nominal capacity. [Wh]"""
    empty_ratio: float
    """State of charge that counts as empty. [0..1]"""
    charge_c_rate: float
    """Largest charge power over nominal capacity. [1/h]"""
    discharge_c_rate: float
    """Largest discharge power over nominal capacity. [1/h]"""
    charge_efficiency: float
    """Energy stored over energy taken at the terminals. [0..1]"""
    discharge_efficiency: float
    """Energy given at the terminals over energy drawn from the store. [0..1]"""
    self_discharge_per_hour: float
    """Part of the stored energy lost in an hour. [0..1)"""
    initial_ratio: float
    """Usable level at the start over usable capacity. [0..1]"""


@dataclass(frozen=True, slots=True)
class ServerParameters:
    """One server: its cores, and its power at evenly spaced loads from idle to full."""

    cores: float
    power_curve_w: tuple[float, ...]
    """Non-decreasing, 2 to 21 points. [W]"""


@dataclass(frozen=True, slots=True)
class AppShares:
    """What one app holds of the site. [0..1 each]"""

    grid: float
    solar: float
    battery_energy: float
    battery_power: float


#: Where a field of `[site.battery]` is left out. Efficiencies: about 0.9 for a round trip, usual for lithium-ion; rest: the paper.
_DEFAULTS = {
    "empty_ratio": 0.3,
    "charge_c_rate": 0.25,
    "discharge_c_rate": 1.0,
    "charge_efficiency": 0.95,
    "discharge_efficiency": 0.95,
    "self_discharge_per_hour": 0.0,
    "initial_ratio": 0.0,
}

#: Ecovisor (ASPLOS 2023), section 4: 1440 Wh of 12 V lithium-ion, discharged to 70 % depth, 30 A charge, full discharge in 1 h.
BATTERIES = MappingProxyType(
    {
        "ecovisor-paper": {"capacity_wh": 1440.0, "empty_ratio": 0.30, "charge_c_rate": 0.25, "discharge_c_rate": 1.0},
    }
)

#: The microservers are those of the Ecovisor paper, section 4: a quad-core ARM Cortex-A53, some with a Jetson Nano GPU. The others
#: are figures published by SPECpower_ssj2008 (average active power at 0, 10, …, 100 % load), by result number.
SERVERS = MappingProxyType(
    {
        "microserver": ServerParameters(4.0, (1.35, 5.0)),
        "microserver-gpu": ServerParameters(4.0, (1.35, 10.0)),
        # Intel Xeon E3-1240L v5, January 2016: res2016q1-00707
        "fujitsu-tx1330-m2": ServerParameters(4.0, (16.1, 19.3, 20.6, 22.3, 24.2, 27.0, 30.5, 34.7, 39.2, 43.9, 47.2)),
        # Intel Xeon E-2176G, July 2019: res2019q3-00979
        "dell-r240": ServerParameters(6.0, (20.0, 25.1, 28.5, 32.3, 36.6, 41.7, 47.5, 55.9, 67.2, 81.0, 93.1)),
        # 2 × Intel Xeon Platinum 8280, April 2019: res2019q2-00952
        "dell-r740": ServerParameters(56.0, (49.8, 114.0, 137.0, 159.0, 182.0, 208.0, 240.0, 277.0, 319.0, 376.0, 432.0)),
        # AMD EPYC 7702P, August 2020: res2020q3-01041
        "dell-r6515": ServerParameters(64.0, (54.0, 123.0, 139.0, 150.0, 161.0, 169.0, 181.0, 194.0, 207.0, 218.0, 231.0)),
        # 2 × Intel Xeon Platinum 8380, June 2021: res2021q2-01103
        "hpe-dl380-gen10-plus": ServerParameters(
            80.0, (127.0, 198.0, 226.0, 253.0, 281.0, 314.0, 354.0, 405.0, 464.0, 576.0, 619.0)
        ),
    }
)


def resolve_battery(battery: Battery) -> BatteryParameters:
    """The battery with its preset and the defaults filled in; fields given override the preset.

    Raises:
        SettingsError: the preset is unknown, or there is neither a preset nor `capacity_wh`.
    """
    values = dict(_DEFAULTS)
    if battery.preset is not None:
        if battery.preset not in BATTERIES:
            raise SettingsError(
                "site.battery.preset", f"no battery is called {battery.preset!r}", did_you_mean(battery.preset, BATTERIES)
            )
        values |= BATTERIES[battery.preset]
    for field in ("capacity_wh", *_DEFAULTS):
        given = getattr(battery, field)
        if given is not None:
            values[field] = given
    if "capacity_wh" not in values:
        raise SettingsError(
            "site.battery.capacity_wh",
            "missing",
            "give the nominal capacity in Wh, or preset = " + " or ".join(map(repr, BATTERIES)),
        )
    return BatteryParameters(**values)


def resolve_server(server: Server) -> ServerParameters:
    """The server with its preset filled in; without preset and curve it is the paper's microserver.

    Raises:
        SettingsError: the preset is unknown, is given together with another number of cores or a curve, the curve has fewer than 2
            or more than 21 points or falls, or the server has not the microserver's cores and no curve.
    """
    if server.preset is not None:
        if server.preset not in SERVERS:
            raise SettingsError(
                "site.server.preset", f"no server is called {server.preset!r}", did_you_mean(server.preset, SERVERS)
            )
        preset = SERVERS[server.preset]
        if server.power_curve_w is not None:
            raise SettingsError(
                "site.server.power_curve_w",
                f"given together with preset = {server.preset!r}, which has its own curve",
                "remove one of them",
            )
        if server.cores not in (Server().cores, preset.cores):
            raise SettingsError(
                "site.server.cores", f"is {server.cores:g}, but {server.preset!r} has {preset.cores:g}", "remove one of them"
            )
        return preset
    if server.power_curve_w is None:
        default = SERVERS["microserver"]
        if server.cores != default.cores:
            raise SettingsError(
                "site.server.power_curve_w",
                f"missing for a server of {server.cores:g} cores",
                "give its power from idle to full load in W, or a preset",
            )
        return default
    curve = tuple(server.power_curve_w)
    if not 2 <= len(curve) <= 21:
        raise SettingsError(
            "site.server.power_curve_w",
            f"has {len(curve)} point(s), must have 2 to 21",
            "give the power at evenly spaced loads, idle first",
        )
    for k, (low, high) in enumerate(pairwise(curve)):
        if high < low:
            raise SettingsError(
                f"site.server.power_curve_w[{k + 1}]",
                f"is {high:g} W, less than the {low:g} W before it",
                "list the powers from idle to full load; they must not fall",
            )
    return ServerParameters(server.cores, curve)


def shares_of(app: App) -> AppShares:
    """What `app` holds, all its copies together: `share` unless a resource has its own; power as energy unless given."""

    def one(own: float | None, default: float) -> float:
        return default if own is None else own

    common = one(app.share, 0.0)
    energy = one(app.battery_energy_share, common)
    power = one(app.battery_power_share, energy)
    return AppShares(
        grid=one(app.grid_share, common),
        solar=one(app.solar_share, common),
        battery_energy=energy,
        battery_power=power,
    )
