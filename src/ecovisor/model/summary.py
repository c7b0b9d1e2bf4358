"""What a run comes to: per app and for the site. Plain data, computed by the engine, printed and stored by others."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """The least carbon that a clairvoyant could have emitted for the same work; see docs/optimum.md."""

    carbon_g: float | None = None
    """A lower bound on import, of all copies; None: there is none, for the `reason`. [g]"""
    ratio: float | None = None
    """Carbon of the run over it; None where it is 0. [1]"""
    reason: str = ""
    """Why there is no bound."""
    work_core_h: float | None = None
    """The work that it is for: what the run did. [core-h]"""
    cores: float | None = None
    """It is for at most so many at once. [cores]"""
    until_s: float | None = None
    """The deadline, if the run met it, or the end of the run. [s since the epoch]"""
    resolution_s: float | None = None
    """Longest step in which it sees time. [s]"""
    gap_g: float | None = None
    """How far the best schedule found is above it. [g]"""
    solver: str = ""
    status: str = ""
    relaxations: list[str] = field(default_factory=list)
    """What was let go of; each can only lower it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSummary:
    """One app over a whole run; energies in Wh, carbon in g."""

    app: str
    count: int = 1
    """Copies of the app; energies, carbon, work and cost are their sums."""
    workload: str
    policy: str
    work_done: float
    """In `work_unit`."""
    work_total: float | None
    """None where the workload has no end."""
    work_unit: str
    """`core-h` for batch jobs, `Wh` (served) otherwise."""
    completed_s: float | None = None
    """Instant of completion, seconds since the epoch; None: not completed, or without end."""
    runtime_s: float | None = None
    """From the workload's start to its completion."""
    deadline_met: bool | None = None
    demand_wh: float
    solar_wh: float
    solar_to_load_wh: float
    solar_to_battery_wh: float
    battery_discharge_wh: float
    grid_to_load_wh: float
    grid_to_battery_wh: float
    unserved_wh: float
    exported_wh: float
    shared_wh: float
    curtailed_wh: float
    received_wh: float
    self_discharge_wh: float
    final_level_wh: float
    carbon_g: float
    """On import."""
    carbon_on_use_g: float
    stored_carbon_g: float
    unknown_carbon_wh: float
    """Imported while the intensity was unknown; in neither carbon figure."""
    battery_cycles: float
    """Equivalent full cycles of the usable share: discharged energy over capacity; 0 without a battery."""
    cost: float | None = None
    """Import at the price signal; None without one."""
    baseline_carbon_g: float | None = None
    """The same app carbon-agnostic; None where no baseline was run."""
    baseline_carbon_on_use_g: float | None = None
    baseline_runtime_s: float | None = None
    optimum: Optimum | None = None
    """None where it was not asked for, and for the site's own app."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSummary:
    """The physical system over a whole run, and how far the sum over apps is from it."""

    solar_collected_wh: float
    solar_used_wh: float
    import_wh: float
    export_wh: float
    battery_charge_wh: float
    battery_discharge_wh: float
    battery_loss_wh: float
    """Conversion and self-discharge, above the empty line."""
    below_line_loss_wh: float
    """Self-discharge of the energy below the empty line, which nothing replaces."""
    initial_level_wh: float
    final_level_wh: float
    """Physical, above the empty line, with the buffer."""
    final_buffer_wh: float
    adjusted_wh: float
    """Corrections to measured levels; 0 in simulation."""
    curtailed_wh: float
    netting_credit_wh: float
    netting_spilled_wh: float
    netting_relief_wh: float
    load_wh: float
    residual_wh: float
    """Largest distance, over all ticks, between Σ virtual levels + buffer and the physical level."""
    balance_residual_wh: float
    """Energy in − energy out − energy stored, of the whole run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A whole run."""

    title: str
    start_s: float
    tick_s: float
    ticks: int
    apps: list[AppSummary]
    """In the scenario's order; `_site` last."""
    site: SiteSummary
    signals: dict[str, str]
    """Signal name → origin and quality, for people."""
    notes: list[str] = field(default_factory=list)
    """Warnings: estimated values, large buffer, what was not met."""
