"""What section 5.1 of the Ecovisor paper says of its policies, asserted: each sentence has to hold over the ten starts and over the year.

A claim is decided by means over starts, as the paper's bars are; its evidence says in how many starts it holds by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.studies.findings import Claim
from ecovisor.studies.wait_and_scale import (
    AGNOSTIC,
    APPLICATIONS,
    SEARCH,
    SUSPEND_RESUME,
    TRAINING,
    Application,
    Outcomes,
    scaled,
    title_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TEXT, _TAKEAWAY = "section 5.1.2", "section 5.1.2, Key Takeaway"
SEARCH_EMITS_LESS = "Wait&Scale 3× emits less than suspend-resume"
BETTER_TRADE = "at its best scale factor Wait&Scale trades carbon for run time better than suspend-resume, by carbon × run time"
#: Carbon within this part of another's is comparable to it: the paper calls 14.94 % an increase.
COMPARABLE_RATIO = 0.1
#: What counts as the same run time.
SAME_RATIO = 0.01
#: Standard deviation over mean from which on a run time is called volatile.
VOLATILE_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class Sets:
    """An application's outcomes from the random starts, and from those of the whole year."""

    random: Outcomes
    year: Outcomes


def claims_of(sets: Mapping[str, Sets]) -> list[Claim]:
    """All claims of figure 4, in the paper's order."""
    training, search = sets[TRAINING.name], sets[SEARCH.name]
    found = []
    for application in APPLICATIONS:
        others = [policy for policy in application.policies if policy != AGNOSTIC]
        runtime_h = sets[application.name].year.runtime_h
        mean_h = {policy: float(np.nanmean(runtime_h[policy])) for policy in others}
        fastest = min(mean_h, key=mean_h.__getitem__)
        found += [
            _less(application, sets, "run time", AGNOSTIC, fastest, "carbon-agnostic has the lowest run time of all policies"),
            _less(application, sets, "carbon", SUSPEND_RESUME, AGNOSTIC, "suspend-resume emits less than carbon-agnostic"),
            _volatile(application, sets[application.name]),
        ]
    found += [
        _less(TRAINING, sets, "run time", scaled(2), SUSPEND_RESUME, "Wait&Scale 2× is done sooner than suspend-resume"),
        _less(
            TRAINING, sets, "carbon", scaled(2), SUSPEND_RESUME,
            f"Wait&Scale 2× emits no more than suspend-resume or comparably (within {100 * COMPARABLE_RATIO:.0f} %)", COMPARABLE_RATIO,
        ),
        _less(TRAINING, sets, "carbon", scaled(2), scaled(3), "Wait&Scale 3× emits more than 2×"),
        _pays(TRAINING, training, pays=False),
        _less(SEARCH, sets, "run time", scaled(2), SUSPEND_RESUME, "Wait&Scale 2× is done sooner than suspend-resume"),
        _less(SEARCH, sets, "carbon", scaled(2), AGNOSTIC, "Wait&Scale 2× emits less than carbon-agnostic"),
        _less(SEARCH, sets, "carbon", scaled(3), SUSPEND_RESUME, SEARCH_EMITS_LESS),
        _pays(SEARCH, search, pays=True),
        _less(SEARCH, sets, "run time", scaled(3), scaled(2), "Wait&Scale 3× is done sooner than 2×"),
        _less(SEARCH, sets, "carbon", scaled(3), scaled(4), "Wait&Scale 4× emits more than 3×"),
        _same_run_time(search),
        _best_differs(sets),
        *(_better_than_system(application, sets[application.name]) for application in APPLICATIONS),
    ]  # fmt: skip
    return found


def best_factor(application: Application, outcomes: Outcomes) -> float:
    """The scale factor of Wait&Scale with the least product of mean carbon and mean run time."""
    return min(application.factors, key=lambda factor: product_gh(outcomes, scaled(factor)))


def product_gh(outcomes: Outcomes, policy: str) -> float:
    """Mean carbon times mean run time: less of it is a better trade of one for the other. [g h]"""
    return float(np.nanmean(outcomes.carbon_g[policy]) * np.nanmean(outcomes.runtime_h[policy]))


def _less(
    application: Application, sets: Mapping[str, Sets], measure: str, low: str, high: str, text: str, allowed_ratio: float = 0.0
) -> Claim:
    """One policy's carbon or run time is below another's, or above it by no more than a part of it."""
    held, told = [], []
    for label, outcomes in _both(sets[application.name]):
        values, unit = (outcomes.carbon_g, "g") if measure == "carbon" else (outcomes.runtime_h, "h")
        first, second = float(np.nanmean(values[low])), float(np.nanmean(values[high]))
        held.append(first <= second * (1.0 + allowed_ratio) if allowed_ratio else first < second)
        each = values[low] <= values[high] * (1.0 + allowed_ratio) if allowed_ratio else values[low] < values[high]
        told.append(
            f"{label} {title_of(low)} {first:.4g} {unit}, {title_of(high)} {second:.4g} {unit}, so in {each.sum()} of {len(each)}"
        )
    return Claim(text=f"{application.title}: {text}", held=all(held), evidence="; ".join(told), source=_TEXT)


def _volatile(application: Application, sets: Sets) -> Claim:
    held, told = [], []
    for label, outcomes in _both(sets):
        parts = {}
        for policy in (SUSPEND_RESUME, *map(scaled, application.factors)):
            values = outcomes.runtime_h[policy]
            parts[policy] = float(np.nanstd(values, ddof=1) / np.nanmean(values))
        held.append(parts[SUSPEND_RESUME] > VOLATILE_RATIO)
        told.append(f"{label} " + ", ".join(f"{title_of(policy)} {100 * part:.0f} %" for policy, part in parts.items()))
    text = (
        f"{application.title}: the run time under suspend-resume is volatile "
        f"(standard deviation over {100 * VOLATILE_RATIO:.0f} % of the mean)"
    )
    return Claim(text=text, held=all(held), evidence="; ".join(told), source=_TEXT)


def _pays(application: Application, sets: Sets, *, pays: bool) -> Claim:
    """Whether the step from 2× to 3× shortens the run time by a larger part than it adds carbon."""
    held, told = [], []
    for label, outcomes in _both(sets):
        carbon = _change(outcomes.carbon_g, scaled(3), scaled(2))
        runtime = _change(outcomes.runtime_h, scaled(3), scaled(2))
        held.append((carbon < -runtime) is pays)
        told.append(f"{label} carbon {100 * carbon:+.1f} %, run time {100 * runtime:+.1f} %".replace("-", "−"))
    what = (
        "the run time shrinks by a larger part than carbon grows"
        if pays
        else "carbon grows by a larger part than the run time shrinks"
    )
    return Claim(text=f"{application.title}: from 2× to 3× {what}", held=all(held), evidence="; ".join(told), source=_TEXT)


def _same_run_time(sets: Sets) -> Claim:
    changes = [(label, _change(outcomes.runtime_h, scaled(4), scaled(3))) for label, outcomes in _both(sets)]
    return Claim(
        text=f"{SEARCH.title}: Wait&Scale 4× takes as long as 3× (within {100 * SAME_RATIO:.0f} %)",
        held=all(abs(change) <= SAME_RATIO for _, change in changes),
        evidence="; ".join(f"{label} {100 * change:+.2f} %" for label, change in changes),
        source=_TEXT,
    )


def _best_differs(sets: Mapping[str, Sets]) -> Claim:
    held, told = [], []
    for pick in ("random", "year"):
        best = {one.title: best_factor(one, getattr(sets[one.name], pick)) for one in APPLICATIONS}
        held.append(len(set(best.values())) > 1)
        told.append(f"{_LABELS[pick]} " + ", ".join(f"{title} {factor:g}×" for title, factor in best.items()))
    return Claim(
        text="The two applications have different best scale factors of Wait&Scale, by carbon × run time",
        held=all(held),
        evidence="; ".join(told),
        source=_TAKEAWAY,
    )


def _better_than_system(application: Application, sets: Sets) -> Claim:
    held, told = [], []
    for label, outcomes in _both(sets):
        best = scaled(best_factor(application, outcomes))
        ours, system = product_gh(outcomes, best), product_gh(outcomes, SUSPEND_RESUME)
        held.append(ours < system)
        told.append(f"{label} {title_of(best)} {_plain(ours)} g·h, suspend-resume {_plain(system)} g·h")
    return Claim(
        text=f"{application.title}: {BETTER_TRADE}",
        held=all(held),
        evidence="; ".join(told),
        source=_TAKEAWAY,
    )


_LABELS = {"random": "random starts:", "year": "whole year:"}


def _both(sets: Sets) -> list[tuple[str, Outcomes]]:
    return [(_LABELS["random"], sets.random), (_LABELS["year"], sets.year)]


def _change(values: Mapping[str, Floats], policy: str, against: str) -> float:
    return float(np.nanmean(values[policy]) / np.nanmean(values[against])) - 1.0


def _plain(value: float) -> str:
    """Four digits, never with an exponent."""
    return f"{float(f'{value:.4g}'):,.12g}"
