"""What explains the differences from the paper: the study again with one factor changed, from every fifth start of the year.

Each factor is one that the paper leaves open or that this simulation treats otherwise: the length of the jobs, the threshold's window,
what carbon intensity counts and how finely, what workers draw while they wait for each other, what servers draw while a job is suspended.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.model.series import Series
from ecovisor.studies.findings import Rerun
from ecovisor.studies.traces import Traces
from ecovisor.studies.wait_and_scale import (
    HOUR_S,
    SEARCH,
    SUSPEND_RESUME,
    TRAINING,
    YEAR_EVERY_S,
    Application,
    Outcomes,
    even_starts_s,
    run_starts,
    scaled,
    with_idle_while_waiting,
)
from ecovisor.studies.wait_and_scale_claims import BETTER_TRADE, SEARCH_EMITS_LESS, product_gh
from ecovisor.studies.wait_and_scale_lengths import Fit, longest_h
from ecovisor.studies.wait_and_scale_numbers import Quantity, quantity
from ecovisor.workloads.training import Training

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TICK_S, _EVERY = 900.0, 5
#: A training job with which Wait&Scale's run times come out as the paper's. [h]
SHORT_WAIT_H = 4.0
_TRADE = "Carbon × run time of Wait&Scale 2× against that of suspend-resume."


@dataclass(frozen=True, slots=True)
class Base:
    """What the reruns change one thing of."""

    year: Series
    fits: Mapping[str, Sequence[Fit]]
    """By application, the length that the study runs first."""
    whole: Mapping[str, Outcomes]
    """By application, from all starts of the year."""
    random: Mapping[str, Outcomes]
    """By application, from the random starts."""

    def job_h(self, application: Application) -> float:
        """The length that the study runs. [h]"""
        return self.fits[application.name][0].job_h

    def sparse(self, application: Application) -> Outcomes:
        """From the starts that are rerun."""
        return self.whole[application.name].only(slice(None, None, _EVERY))


def reruns_of(base: Base, traces: Traces, progress: Callable[[str, float], None]) -> list[Rerun]:
    """All reruns of figure 4."""
    steps: list[tuple[str, Callable[[], list[Rerun]]]] = [
        ("a longer training job", lambda: _longer_training(base)),
        ("the other lengths with the paper's factor", lambda: _other_lengths(base)),
        ("training that polls", lambda: _polling(base)),
        ("the threshold's window", lambda: _windows(base)),
        ("direct emissions", lambda: _direct(base, traces)),
        ("steps of 5 minutes", lambda: _five_minutes(base, traces)),
        ("servers that stay on", lambda: _idle(base)),
        ("other sets of ten starts", lambda: _sets(base)),
    ]
    found: list[Rerun] = []
    for k, (what, rerun) in enumerate(steps):
        progress(what, k / len(steps))
        found += rerun()
    return found


def _run(application: Application, job_h: float, year: Series, starts_s: Floats, tick_s: float = _TICK_S) -> Outcomes:
    longest = longest_h(application, year, starts_s, job_h)
    return run_starts(application, job_h, year, starts_s, tick_s=tick_s, longest_h=longest + 1.0)


def _compared(what: Quantity, changed: str, before: Outcomes, after: Outcomes, conclusion: str) -> Rerun:
    return Rerun(
        name=what.name, changed=changed, before=what.mean(before), after=what.mean(after), unit=what.unit, conclusion=conclusion
    )


def _longer_training(base: Base) -> list[Rerun]:
    before = base.sparse(TRAINING)
    after = _run(TRAINING, SHORT_WAIT_H, base.year, before.starts_s)
    changed = f"job of {SHORT_WAIT_H:g} h instead of {base.job_h(TRAINING):.2f} h"
    told = (
        "A longer job waits no longer, so more of its time is running, which Wait&Scale shortens; but suspend-resume is then far from its "
        "7.4×: in means over the year no one length gives both."
    )
    trade = Rerun(
        name=f"{TRAINING.title}: {BETTER_TRADE}",
        changed=changed,
        before=_trade_percent(before),
        after=_trade_percent(after),
        unit="%",
        conclusion=told,
    )
    return [
        _compared(quantity(TRAINING, "run time", scaled(2)), changed, before, after, told),
        _compared(quantity(TRAINING, "run time", scaled(3)), changed, before, after, told),
        _compared(quantity(TRAINING, "run time", SUSPEND_RESUME), changed, before, after, told),
        _compared(quantity(TRAINING, "carbon", SUSPEND_RESUME), changed, before, after, told),
        trade,
    ]


def _trade_percent(outcomes: Outcomes) -> float:
    return 100.0 * (product_gh(outcomes, scaled(2)) / product_gh(outcomes, SUSPEND_RESUME) - 1.0)


def _other_lengths(base: Base) -> list[Rerun]:
    """A long job that has the paper's mean because some wait for months; from the whole hour before, in ticks of an hour."""
    before, found = base.sparse(TRAINING), []
    for fit in base.fits[TRAINING.name][1:2]:
        after = _run(TRAINING, fit.job_h, base.year, np.asarray(before.starts_s // HOUR_S * HOUR_S), HOUR_S)
        changed = f"job of {fit.job_h:.0f} h, whose mean factor is 7.4 as well, instead of {base.job_h(TRAINING):.2f} h"
        told = (
            f"It gives 7.4× in {100 * fit.nearness:.0f} % of sets of ten starts, against "
            f"{100 * base.fits[TRAINING.name][0].nearness:.0f} %: its mean is made by the few jobs that wait for months."
        )
        found += [
            _compared(quantity(TRAINING, measure, policy), changed, before, after, told)
            for measure, policy in (("run time", scaled(2)), ("run time", scaled(3)), ("carbon", SUSPEND_RESUME))
        ]
    return found


def _polling(base: Base) -> list[Rerun]:
    before = base.sparse(TRAINING)
    polling = replace(TRAINING, workload=Training(idle_when_waiting=False))
    after = _run(polling, base.job_h(TRAINING), base.year, before.starts_s)
    changed = "workers draw full power while they exchange gradients, instead of idle power"
    told = "The paper does not say what its workers drew while they waited; with polling, 2× pays for its synchronisation in full."
    return [_compared(quantity(TRAINING, "carbon", policy), changed, before, after, told) for policy in (scaled(3), scaled(2))]


def _windows(base: Base) -> list[Rerun]:
    """Of BLAST's from the whole hour before, in ticks of an hour."""
    before = base.sparse(TRAINING)
    day = _run(replace(TRAINING, window_h=24.0), base.job_h(TRAINING), base.year, before.starts_s)
    found = [
        _compared(
            quantity(TRAINING, "run time", SUSPEND_RESUME), "threshold from the 24 h after arrival instead of 48 h", before, day,
            "The window matters little to a job of an hour.",
        )
    ]  # fmt: skip
    before = base.sparse(SEARCH)
    local = replace(SEARCH, window_h=48.0)
    after = _run(local, base.job_h(SEARCH), base.year, np.asarray(before.starts_s // HOUR_S * HOUR_S), HOUR_S)
    changed = "threshold from the 48 h after arrival instead of the year"
    told = (
        "A threshold of its own time spares a job the seasons without any clean hour, and Wait&Scale gains most by that; the same work is "
        "then done in less clean hours."
    )
    found += [
        _compared(quantity(SEARCH, measure, policy), changed, before, after, told)
        for measure, policy in (("run time", scaled(2)), ("run time", scaled(3)), ("carbon", SUSPEND_RESUME))
    ]
    return found


def _direct(base: Base, traces: Traces) -> list[Rerun]:
    if traces.modelled:
        return []
    year = traces.carbon_year_direct()
    found = []
    for application in (TRAINING, SEARCH):
        before = base.sparse(application)
        after = _run(application, base.job_h(application), year, before.starts_s)
        found.append(
            _compared(
                quantity(application, "carbon", SUSPEND_RESUME), "direct emissions instead of life-cycle", before, after,
                "Direct emissions swing more with the sun, so waiting saves more.",
            )
        )  # fmt: skip
    return found


def _five_minutes(base: Base, traces: Traces) -> list[Rerun]:
    """Fine steps are published for 2021 alone, so they are compared with their own hourly means."""
    if traces.modelled:
        return []
    fine = traces.carbon_5min_2021()
    means = np.asarray(fine.values).reshape(-1, round(HOUR_S / fine.step_s)).mean(axis=1)
    hourly = replace(fine, step_s=HOUR_S, values=array("d", means))
    starts_s = even_starts_s(fine, _EVERY * YEAR_EVERY_S)
    before, after = (_run(TRAINING, base.job_h(TRAINING), year, starts_s, fine.step_s) for year in (hourly, fine))
    changed = "California 2021 (direct) in steps of 5 minutes instead of hourly"
    told = "Within the hour there is little to gain."
    return [
        _compared(quantity(TRAINING, measure, SUSPEND_RESUME), changed, before, after, told) for measure in ("carbon", "run time")
    ]


def _idle(base: Base) -> list[Rerun]:
    changed = "the base servers' 1.35 W while a job waits counted, instead of nothing"
    told = (
        "Then being done sooner saves carbon, and as long as waiting draws nothing it cannot; but then suspend-resume would save nothing, "
        "so the paper cannot have counted it."
    )
    found = []
    for application, policy in ((SEARCH, scaled(3)), (SEARCH, SUSPEND_RESUME), (TRAINING, SUSPEND_RESUME)):
        before = base.sparse(application)
        after = with_idle_while_waiting(application, before, base.year)
        found.append(_compared(quantity(application, "carbon", policy), changed, before, after, told))
    return [*found, replace(found[0], name=f"{SEARCH.title}: {SEARCH_EMITS_LESS}")]


def _sets(base: Base) -> list[Rerun]:
    """How far the ten starts themselves may lie from the year: the edge that is nearer the paper's number."""
    found = []
    for one in (quantity(SEARCH, "run time", scaled(2)), quantity(SEARCH, "carbon", SUSPEND_RESUME)):
        whole = base.whole[one.application.name]
        low, _, high = one.in_sets_of_ten(whole, 0)
        assert one.paper is not None, "chosen among those that the paper states"
        edge, name = min((low, "5th"), (high, "95th"), key=lambda pair: abs(pair[0] - (one.paper or 0.0)))
        found.append(
            Rerun(
                name=one.name,
                changed=f"ten starts at the {name} percentile of all sets of ten, instead of all starts",
                before=one.mean(whole),
                after=edge,
                unit=one.unit,
                conclusion="Nine in ten sets of ten starts lie between the 5th and the 95th percentile.",
            )
        )
    trade = Rerun(
        name=f"{TRAINING.title}: {BETTER_TRADE}",
        changed="all starts of the year instead of the random ones",
        before=_trade_percent(base.random[TRAINING.name]),
        after=_trade_percent(base.whole[TRAINING.name]),
        unit="%",
        conclusion=_TRADE,
    )
    return [*found, trade]
