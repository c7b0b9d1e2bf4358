"""What the policies of the robustness study are told of the carbon intensity to come: all of it, the day-ahead forecast, or the past.

Owns the error of the day-ahead forecast: California's own where the data are there, and for other zones one drawn from a model that is
fitted to California's. `robustness_runs` gives the forecasters to the policies.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.library.forecasts import ColumnForecaster, DayBeforeForecaster, PerfectForecaster, PersistenceForecaster
from ecovisor.model.series import Quality, Series
from ecovisor.ports import Forecaster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PERFECT, DAY_AHEAD, DAY_BEFORE, PERSISTENCE = "perfect", "day-ahead", "day-before", "persistence"
FORECASTS = (PERFECT, DAY_AHEAD, DAY_BEFORE, PERSISTENCE)
#: No forecast makes intensity less than this part of the lowest seen. [1]
_FLOOR_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """How a day-ahead forecast departs from what comes.

    It keeps ``slope`` of a departure from the mean, and adds an error of ``spread`` times the series' standard deviation that lasts from
    hour to hour with ``memory``:

        forecast(t) = mean + slope · (actual(t) − mean) + spread · sd · noise(t),   noise(t) = memory · noise(t−1) + √(1 − memory²) · ε(t)
    """

    slope: float
    spread: float
    memory: float

    def __str__(self) -> str:
        return f"slope {self.slope:.2f}, error {self.spread:.2f} of the series' sd, memory {self.memory:.2f} an hour"


#: Fitted to `carboncast_CISO_2019_2022_hourly_with_forecast`, 2022, by `fitted`; for where the data are not there.
CALIFORNIA_2022 = ErrorModel(slope=0.70, spread=0.34, memory=0.89)


def fitted(actual: Series, forecast: Series) -> ErrorModel:
    """The model's parameters for a series and its forecast, by least squares."""
    seen, told = (np.asarray(one.values, dtype=np.float64) for one in (actual, forecast))
    slope = float(np.cov(seen, told)[0, 1] / np.var(seen, ddof=1))
    rest = (told - told.mean()) - slope * (seen - seen.mean())
    return ErrorModel(slope, float(rest.std() / seen.std()), float(np.corrcoef(rest[1:], rest[:-1])[0, 1]))


def modelled_day_ahead(actual: Series, model: ErrorModel, seed: str) -> Series:
    """A day-ahead forecast of a series whose own is not known."""
    seen = np.asarray(actual.values, dtype=np.float64)
    random = np.random.default_rng(list(seed.encode()))
    draws = random.standard_normal(len(seen))
    noise = np.empty(len(seen))
    last = draws[0]
    fresh = np.sqrt(1.0 - model.memory**2)
    for k, draw in enumerate(draws):
        last = model.memory * last + fresh * draw
        noise[k] = last
    told = seen.mean() + model.slope * (seen - seen.mean()) + model.spread * seen.std() * noise
    return _forecast_of(actual, told, f"day-ahead forecast, modelled: {model}, seed {seed}")


def transferred_day_ahead(actual: Series, seen: Series, told: Series) -> Series:
    """A day-ahead forecast with the error that another series of the same grid and hours really had, in units of each one's sd."""
    spread = float(np.std(actual.values) / np.std(seen.values))
    error = (np.asarray(told.values) - np.asarray(seen.values)) * spread
    return _forecast_of(
        actual, np.asarray(actual.values) + error, f"day-ahead forecast: the error of {told.origin}, times {spread:.2f}"
    )


def forecasters(actual: Series, day_ahead: Series) -> Mapping[str, Forecaster]:
    """What answers `forecast()`, by name. The day-ahead forecast is taken as known for the whole window of 48 hours."""
    return {
        PERFECT: PerfectForecaster(actual),
        DAY_AHEAD: ColumnForecaster(day_ahead),
        DAY_BEFORE: DayBeforeForecaster(actual),
        PERSISTENCE: PersistenceForecaster(actual),
    }


def lengthened(year: Series, hours: int) -> Series:
    """A year followed by its own first hours, for jobs that are under way when it ends."""
    return replace(
        year,
        values=array("d", [*year.values, *year.values[:hours]]),
        origin=f"{year.origin}; its first {hours} h again after its end",
    )


def _forecast_of(actual: Series, values: Floats, what: str) -> Series:
    floor = _FLOOR_RATIO * min(actual.values)
    told = array("d", np.maximum(values, floor))
    return replace(actual, values=told, quality=Quality.FORECAST, origin=f"{what}; of {actual.origin}")
