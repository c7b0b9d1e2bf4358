"""An app's settings in a form that outlives the process; `virtual_energy_system` gives and takes them, `checkpoint` encodes them."""

from __future__ import annotations

import msgspec


class ContainerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A container as its app wants it."""

    id: str
    cores: float
    cap_w: float | None
    running: bool
    command: str


class AppSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an app has set, and what a later checkpoint does not hold."""

    tick: int
    """The coming tick when it was set: a checkpoint from after that tick knows better what the battery's settings have become."""
    containers: list[ContainerSettings]
    made: int
    """Containers made so far, for names."""
    rates_g_per_h: dict[str, float]
    budget_g: float | None
    spent_before_g: float
    budget_since_s: float
    charge_rate_w: float
    max_discharge_w: float | None
    scale_ratio: float
    app_cap_w: float | None
