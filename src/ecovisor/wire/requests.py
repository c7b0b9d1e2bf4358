"""What clients send. Unknown fields are refused; a field that is left out is not changed."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

Watts = Annotated[float, Meta(ge=0.0)]
Grams = Annotated[float, Meta(ge=0.0)]
Ratio = Annotated[float, Meta(ge=0.0, le=1.0)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$(?!\n)")]
Cores = Annotated[float, Meta(gt=0.0)]


class _Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, frozen=True):
    """Base of all requests."""


class ChangeBattery(_Request, kw_only=True, frozen=True):
    """``PATCH /v1/battery``."""

    charge_rate_w: Watts | UnsetType = UNSET
    """Charge at this rate until full, the grid adding what excess solar does not give. [W]"""
    max_discharge_w: Watts | UnsetType | None = UNSET
    """Largest power that the battery gives to the load; null: as much as the limit allows. [W]"""


class AddContainer(_Request, kw_only=True, frozen=True):
    """``POST /v1/containers``."""

    cores: Cores = 1.0
    """Cores of the container. [cores]"""
    command: Name | None = None
    """Name of one of the commands that the operator allows this app; null: the first."""


class ChangeContainer(_Request, kw_only=True, frozen=True):
    """``PATCH /v1/containers/{id}``."""

    cap_w: Watts | UnsetType | None = UNSET
    """Power cap; null: none. [W]"""
    cores: Cores | UnsetType = UNSET
    """[cores]"""
    running: bool | UnsetType = UNSET
    """False suspends, true resumes."""


class ScaleApp(_Request, kw_only=True, frozen=True):
    """``PATCH /v1/app``."""

    scale_ratio: Annotated[float, Meta(ge=0.0)] | UnsetType = UNSET
    """Run all containers on this many times their cores; 0 suspends them all. [1]"""
    cap_w: Watts | UnsetType | None = UNSET
    """Power cap of the app as a whole; null: none. [W]"""


class SetBudget(_Request, kw_only=True, frozen=True):
    """``PUT /v1/carbon/budget``."""

    budget_g: Grams | None
    """What the app may emit from now on; null ends the budget. [g]"""


class SetRate(_Request, kw_only=True, frozen=True):
    """``PUT /v1/carbon/rate?container=ID``."""

    carbon_rate_g_per_h: Grams | None
    """Largest rate of emission; null ends it. [g/h]"""


class AppMetrics(_Request, kw_only=True, frozen=True):
    """``PUT /v1/app/metrics``: what the app says of itself; its policy sees it."""

    metrics: dict[Name, float] = msgspec.field(default_factory=dict)
    """By name (`queue`, `p95_ms`, …)."""
    work_done: Annotated[float, Meta(ge=0.0)] | None = None
    """Work done so far, in a unit of the app's own."""
    work_total: Annotated[float, Meta(ge=0.0)] | None = None
    """All of it; null or 0: no end."""


class TickDone(_Request, kw_only=True, frozen=True):
    """``PUT /v1/app/tick``: in lockstep, this app has set what it wants for a tick, which may now begin."""

    tick: Annotated[int, Meta(ge=0)]
    """The effective tick of the settings."""


class AddCallback(_Request, kw_only=True, frozen=True):
    """``POST /v1/callbacks``: have events sent to a URL (the paper's registration of `tick()`)."""

    url: Annotated[str, Meta(max_length=2048)]
    """Where to; only targets that the operator allows this app."""
    events: list[str] = msgspec.field(default_factory=lambda: ["tick"])
    """Kinds of event: `tick`, `solar_change`, `carbon_change`, `battery_full`, `battery_empty`, …"""
    threshold_ratio: Annotated[float, Meta(ge=0.0)] = 0.1
    """For changes: tell those beyond this part of the last told value. [1]"""


class ChangeShares(_Request, kw_only=True, frozen=True):
    """``PUT /v1/admin/shares``: shares of one or several apps, changed at one tick boundary."""

    shares: dict[Name, Shares]
    """By app."""


class Shares(_Request, kw_only=True, frozen=True):
    """Shares of one app. [0..1 each]"""

    grid: Ratio
    """[1]"""
    solar: Ratio
    """[1]"""
    battery_energy: Ratio
    """[1]"""
    battery_power: Ratio
    """[1]"""


class AddApp(_Request, kw_only=True, frozen=True):
    """``POST /v1/admin/apps``: an app joins at the next tick."""

    name: Name
    shares: Shares
    commands: list[Name] = msgspec.field(default_factory=list)
    """Which of the site's commands its containers may run; the first is started. Empty: no containers of its own yet."""
    containers: Annotated[int, Meta(ge=0, le=10_000)] = 1
    """Containers at the start."""
    cores: Cores = 1.0
    """Of each. [cores]"""
    webhook_allow: list[str] = msgspec.field(default_factory=list)
    """`https://host[:port]` targets that it may register for callbacks."""


class SetSun(_Request, kw_only=True, frozen=True):
    """``PUT /v1/admin/sun``: scale the emulated sun, for demonstrations."""

    sun_ratio: Annotated[float, Meta(ge=0.0)]
    """0: night; 1: as it is. [1]"""
