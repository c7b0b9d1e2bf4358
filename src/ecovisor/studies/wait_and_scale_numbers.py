"""What of the outcomes is held beside the paper's numbers: one quantity each, from the mean over starts, as its bars show it.

The paper's percentages are those of means over ten runs, so a quantity is a ratio of two means; the spread is that of the ratio of each
start by itself. `figure4` says what explains a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecovisor.studies.wait_and_scale import AGNOSTIC, SEARCH, SUSPEND_RESUME, TRAINING, Application, Outcomes, scaled, title_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SETS = 4000


@dataclass(frozen=True, slots=True)
class Quantity:
    """One policy's carbon or run time against another's."""

    application: Application
    measure: Literal["carbon", "run time"]
    policy: str
    against: str
    spelled: Literal["reduction", "change", "factor"]
    """Reduction and change in per cent, factor in times."""
    paper: float | None

    @property
    def name(self) -> str:
        """As a row's heading."""
        what = "carbon reduction" if self.spelled == "reduction" else self.measure
        other = "" if self.against == AGNOSTIC and self.spelled == "reduction" else f" against {title_of(self.against)}"
        return f"{self.application.title}, {title_of(self.policy)}: {what}{other}"

    @property
    def unit(self) -> str:
        """``%`` or ``×``."""
        return "×" if self.spelled == "factor" else "%"

    def of(self, ratio: Floats | float) -> Floats:
        """The quantity from the ratio of the two policies."""
        if self.spelled == "factor":
            return np.asarray(ratio)
        return np.asarray(100.0 * (1.0 - np.asarray(ratio)) if self.spelled == "reduction" else 100.0 * (np.asarray(ratio) - 1.0))

    def mean(self, outcomes: Outcomes) -> float:
        """From the means over all starts."""
        top, bottom = self._values(outcomes)
        return float(self.of(float(np.mean(top) / np.mean(bottom))))

    def spread(self, outcomes: Outcomes) -> float:
        """Standard deviation over starts, each by itself."""
        top, bottom = self._values(outcomes)
        return float(np.std(self.of(top / bottom), ddof=1))

    def bound(self, least_g: Mapping[str, Floats], outcomes: Outcomes) -> float | None:
        """With the least carbon that a clairvoyant schedule could have emitted in place of the policy's; None for run times."""
        if self.measure != "carbon":
            return None
        return float(self.of(float(np.mean(least_g[self.policy]) / np.mean(self._values(outcomes)[1]))))

    def in_sets_of_ten(self, outcomes: Outcomes, seed: int) -> tuple[float, float, float]:
        """5th percentile, median and 95th percentile of what ten random starts give."""
        top, bottom = self._values(outcomes)
        chosen = np.random.default_rng(seed).integers(0, len(top), (_SETS, 10))
        low, middle, high = np.percentile(self.of(top[chosen].mean(axis=1) / bottom[chosen].mean(axis=1)), (5, 50, 95))
        return float(low), float(middle), float(high)

    def _values(self, outcomes: Outcomes) -> tuple[Floats, Floats]:
        values = outcomes.carbon_g if self.measure == "carbon" else outcomes.runtime_h
        done = np.isfinite(values[self.policy]) & np.isfinite(values[self.against])
        return values[self.policy][done], values[self.against][done]


#: All that section 5.1.2 states, and between them what it only describes.
QUANTITIES = (
    Quantity(TRAINING, "carbon", SUSPEND_RESUME, AGNOSTIC, "reduction", 24.5),
    Quantity(TRAINING, "run time", SUSPEND_RESUME, AGNOSTIC, "factor", 7.4),
    Quantity(TRAINING, "carbon", scaled(2), AGNOSTIC, "reduction", None),
    Quantity(TRAINING, "run time", scaled(2), AGNOSTIC, "factor", 2.58),
    Quantity(TRAINING, "carbon", scaled(3), scaled(2), "change", 14.94),
    Quantity(TRAINING, "run time", scaled(3), scaled(2), "change", -12.3),
    Quantity(SEARCH, "carbon", SUSPEND_RESUME, AGNOSTIC, "reduction", 25.01),
    Quantity(SEARCH, "run time", SUSPEND_RESUME, AGNOSTIC, "factor", 5.1),
    Quantity(SEARCH, "carbon", scaled(2), AGNOSTIC, "reduction", 30.1),
    Quantity(SEARCH, "run time", scaled(2), SUSPEND_RESUME, "change", -78.15),
    Quantity(SEARCH, "carbon", scaled(3), SUSPEND_RESUME, "change", -50.05),
    Quantity(SEARCH, "run time", scaled(3), SUSPEND_RESUME, "change", -83.4),
    Quantity(SEARCH, "carbon", scaled(4), scaled(3), "change", None),
    Quantity(SEARCH, "run time", scaled(4), scaled(3), "change", 0.0),
)


def quantity(application: Application, measure: str, policy: str) -> Quantity:
    """The one of `QUANTITIES` with these."""
    return next(one for one in QUANTITIES if (one.application.name, one.measure, one.policy) == (application.name, measure, policy))
