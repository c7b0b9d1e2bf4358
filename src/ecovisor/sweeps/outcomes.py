"""What becomes of one combination: its figures or its error, as one line of JSON.

Owns the form in which outcomes come from other processes, lie in the journal and go into the table: always this one, so that a sweep's
table does not depend on where its combinations ran. `running` makes them, `journal` keeps them, `table` lays them out.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec

from ecovisor.model.summary import AppSummary, RunSummary, SiteSummary


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One combination that was run, or could not be."""

    index: int
    """Of the combination."""
    settings: tuple[str, ...]
    """`key=value`, one for each axis: what identifies the combination."""
    elapsed_s: float
    """How long it took where it ran. [s]"""
    error: str | None = None
    """Why there are no figures, in one line."""
    seed: int | None = None
    start_s: float | None = None
    tick_s: float | None = None
    ticks: int | None = None
    apps: tuple[dict[str, Any], ...] = ()
    """`AppSummary` of each, `_site` last."""
    site: dict[str, Any] = msgspec.field(default_factory=dict)
    """`SiteSummary`."""
    notes: tuple[str, ...] = ()
    """What people should know of the run."""


APP_COLUMNS = tuple(field.name for field in fields(AppSummary) if field.name not in ("app", "optimum"))
SITE_COLUMNS = tuple(field.name for field in fields(SiteSummary) if field.name not in APP_COLUMNS)


def outcome_of(summary: RunSummary, index: int, settings: tuple[str, ...], seed: int, elapsed_s: float) -> Outcome:
    """The outcome of a run."""
    return Outcome(
        index=index,
        settings=settings,
        elapsed_s=elapsed_s,
        seed=seed,
        start_s=summary.start_s,
        tick_s=summary.tick_s,
        ticks=summary.ticks,
        apps=tuple(msgspec.to_builtins(app) for app in summary.apps),
        site=msgspec.to_builtins(summary.site),
        notes=tuple(summary.notes),
    )


def encoded(outcome: Outcome) -> bytes:
    """One line without its end; NaN and infinity become null."""
    return msgspec.json.encode(outcome)


def decoded(line: bytes) -> Outcome:
    """Raises `msgspec.MsgspecError`: it is none, or part of one."""
    return msgspec.json.decode(line, type=Outcome)
