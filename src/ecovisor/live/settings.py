"""What the driver of a live site is told by its configuration, resolved to numbers; `assembly` makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ecovisor.live.grants import Efficiencies
from ecovisor.ports.live import Command
from ecovisor.presets import AppShares


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveApp:
    """What concerns the driver of an app."""

    name: str
    shares: AppShares
    remote: bool
    """It drives itself, over REST: in lockstep its answer is waited for."""
    real: bool
    """Its containers are real."""
    webhook_allow: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """What concerns the driver of a site."""

    name: str
    timezone: str
    tick_s: float
    """[s, site time]"""
    gap_after_s: float
    """A tick that would take longer is a gap. [s, site time]"""
    max_age_s: float
    """Of the last good value of a source. [s, wall time]"""
    enforce_budgets: bool
    lockstep: bool
    export_limit_w: float
    """[W]"""
    below_line_wh: float
    """Energy in the battery below the operator's empty line. [Wh]"""
    efficiencies: Efficiencies
    has_battery: bool
    keep_ticks_s: float
    """How long every tick stays in the ledger. [s, site time]"""
    commands: Mapping[str, Command] = field(default_factory=dict)
    apps: Sequence[LiveApp] = ()

    @property
    def hours_h(self) -> float:
        """Length of a tick. [h]"""
        return self.tick_s / 3600.0
