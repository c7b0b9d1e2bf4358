"""What a running site must remember to go on after it has been killed: a checkpoint of its numbers, and each app's settings.

The numbers (levels, stored carbon, sums, progress) are saved with every tick; an app's settings (containers, caps, budgets, rates) whenever
it changes them. Limits and shares are not saved: they follow from the settings that the site starts with again.
"""

from __future__ import annotations

from array import array

import msgspec

from ecovisor.engine import columns
from ecovisor.engine.saved_settings import AppSettings
from ecovisor.engine.site import Site
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.model.errors import StoreError

#: Columns of an app that outlive the process.
KEPT = (
    "battery_level_wh",
    "stored_carbon_g",
    "buffer_wh",
    "demand_w",
    "unserved_w",
    "overdraw_w",
    "solar_to_load_w",
    "solar_to_battery_w",
    "grid_to_load_w",
    "grid_to_battery_w",
    "battery_discharge_w",
    "received_w",
    "carbon_g",
    "charge_rate_w",
    "max_discharge_w",
    "scale_ratio",
    "app_cap_w",
    *columns.TOTALS,
    "work_total",
    "work_done",
    "work_saved",
    "checkpoint_age_s",
    "restart_left_s",
    "running",
    "completed_s",
    "end_s",
)

#: Fields of the site that outlive the process.
SITE_KEPT = (
    "tick",
    "above_line_wh",
    "below_line_wh",
    "buffer_wh",
    "physical_level_wh",
    "residual_wh",
    *(name for name in columns.SITE if "_total_" in name),
)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A site at a tick boundary."""

    apps: list[str]
    """In the order of their numbers, `_site` last."""
    columns: list[str]
    values: bytes
    """Column after column of 64-bit floats, a value for each app."""
    site: dict[str, float]
    end_s: float
    """Start of the coming tick. [s since the epoch]"""


def save(site: Site) -> bytes:
    """A site's checkpoint, between two ticks."""
    values = array("d")
    for name in KEPT:
        values.extend(site.everyone(name))
    tick = site.memory.get("tick")
    checkpoint = Checkpoint(
        apps=site.app_names,
        columns=list(KEPT),
        values=values.tobytes(),
        site={name: site.memory.get(name) for name in SITE_KEPT},
        end_s=site.start_s + tick * site.tick_s,
    )
    return msgspec.msgpack.encode(checkpoint)


def restore(site: Site, saved: bytes) -> Checkpoint:
    """Give a site whose apps have joined, and that has not run, what it had.

    Energy of apps that are no longer there goes to `_site`; apps that are new start with an empty battery.

    Raises:
        StoreError: the checkpoint cannot be read.
    """
    try:
        checkpoint = msgspec.msgpack.decode(saved, type=Checkpoint)
    except msgspec.MsgspecError as error:
        raise StoreError(f"checkpoint: {error}; restore a backup, or start with a new state directory") from error
    values = array("d")
    values.frombytes(checkpoint.values)
    count = len(checkpoint.apps)
    number = {name: k for k, name in enumerate(checkpoint.apps)}
    known = [name for name in checkpoint.columns if name in KEPT]
    own = site.app_count
    for index, name in enumerate(site.app_names):
        if name in number:
            for row, column in enumerate(checkpoint.columns):
                if column in known:
                    site.set(index, column, values[row * count + number[name]])
        else:
            site.set(index, "battery_level_wh", 0.0)
    gone = [k for name, k in number.items() if name not in set(site.app_names)]
    for column in ("battery_level_wh", "stored_carbon_g", "buffer_wh"):
        row = checkpoint.columns.index(column)
        added = sum(values[row * count + k] for k in gone)
        site.set(own, column, site.get(own, column) + added)
    for field, value in checkpoint.site.items():
        if field in SITE_KEPT:
            site.memory.set(field, value)
    site.resume(checkpoint.end_s)
    return checkpoint


def settings_of(energy: VirtualEnergySystem) -> bytes:
    """What an app has set."""
    return msgspec.msgpack.encode(energy.saved_settings())


def restore_settings(energy: VirtualEnergySystem, saved: bytes) -> None:
    """Give an app what it had set.

    Raises:
        StoreError: the settings cannot be read.
    """
    try:
        settings = msgspec.msgpack.decode(saved, type=AppSettings)
    except msgspec.MsgspecError as error:
        raise StoreError(f"settings of app {energy.name}: {error}; restore a backup") from error
    energy.restore_settings(settings)
