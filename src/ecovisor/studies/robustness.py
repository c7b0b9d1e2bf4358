"""Beyond the paper: where each carbon policy stops paying, over zones, months and forecasts.

Owns the zones, what is summed up and what is claimed; the claims are ours, no paper has the numbers. `robustness_runs` runs the jobs,
`robustness_forecasts` makes the forecasts, `robustness_plot` draws the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.model.series import Series
from ecovisor.studies.findings import Findings, Number, Table
from ecovisor.studies.robustness_claims import claims_of, parameters_of
from ecovisor.studies.robustness_forecasts import (
    CALIFORNIA_2022,
    FORECASTS,
    PERFECT,
    ErrorModel,
    fitted,
    forecasters,
    lengthened,
    modelled_day_ahead,
    transferred_day_ahead,
)
from ecovisor.studies.robustness_reruns import reruns_of
from ecovisor.studies.robustness_results import Results, break_even_cv, titles
from ecovisor.studies.robustness_runs import (
    AGNOSTIC,
    ARBITRAGE,
    CALIFORNIA,
    MONTHS,
    POLICIES,
    TAIL_H,
    WAITING,
    WINDOW_H,
    YEAR,
    Experiment,
    Jobs,
    arrivals_s,
    month_starts_s,
    run_battery,
    run_jobs,
)
from ecovisor.studies.study import Context
from ecovisor.studies.traces import Traces

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Grids of all kinds: sun (California, Spain), wind (Germany, Great Britain, Uruguay), nuclear and water (France, Ontario), coal (Poland,
#: New South Wales, western India), gas (Singapore, the east of the United States). Those that the traces do not have are left out.
ZONES = (CALIFORNIA, "DE", "FR", "GB", "PL", "AU-NSW", "SG", "CA-ON", "UY", "IN-WE", "US-MIDA-PJM", "ES")


@dataclass(frozen=True, slots=True)
class ZoneTraces:
    """A zone's year, lengthened, and its day-ahead forecast."""

    actual: Series
    day_ahead: Series


class Robustness:
    """See the module."""

    name = "robustness"
    title = "Where carbon policies stop paying: zones, months and forecasts"
    source = "ours; the policies are those of Ecovisor (ASPLOS 2023), sections 3.1 and 5.1"

    def run(self, context: Context) -> Findings:
        """Everything but the pictures."""
        known = context.traces.zones()
        zones = [zone for zone in ZONES if zone in known]
        model = error_model(context.traces)
        arrivals = arrivals_s(YEAR, context.seeds, context.seed)
        traces, runs = {}, {}
        for k, zone in enumerate(zones):
            context.progress(f"a year of {zone}", k / (len(zones) + 2))
            traces[zone] = zone_traces(context.traces, zone, model, context.seed)
            runs[zone] = _run_zone(traces[zone], arrivals)
        results = Results.of(runs, {zone: cv_by_month(traces[zone].actual) for zone in zones})
        context.progress("runs with one factor changed", len(zones) / (len(zones) + 2))
        reruns = reruns_of(context, {zone: one.actual for zone, one in traces.items()}, arrivals, results)
        return Findings(
            numbers=_numbers(results),
            claims=claims_of(results),
            parameters=parameters_of(model, context.seeds, modelled=context.traces.modelled),
            tables={"months": results.table(), "zones": _zones_table(traces, results)},
            reruns=reruns,
            origins={
                **{zone: f"{one.actual.quality}: {one.actual.origin}" for zone, one in traces.items()},
                **{f"{zone}, day-ahead": f"{one.day_ahead.quality}: {one.day_ahead.origin}" for zone, one in traces.items()},
            },
            notes=_notes(context.traces, results),
        )

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """Pictures from the tables of the findings alone."""
        from ecovisor.studies.robustness_plot import draw

        return draw(findings)


def error_model(traces: Traces) -> ErrorModel:
    """How day-ahead forecasts err: fitted to California's where it is there."""
    return CALIFORNIA_2022 if traces.modelled else fitted(*traces.carbon_with_day_ahead(YEAR))


def zone_traces(traces: Traces, zone: str, model: ErrorModel, seed: int) -> ZoneTraces:
    """A zone's intensity and day-ahead forecast, long enough for jobs that are under way at the end of the year."""
    year = traces.carbon_year(zone, YEAR)
    if zone == CALIFORNIA and not traces.modelled:
        day_ahead = transferred_day_ahead(year, *traces.carbon_with_day_ahead(YEAR))
    else:
        day_ahead = modelled_day_ahead(year, model, f"{seed}/{zone}")
    return ZoneTraces(lengthened(year, TAIL_H + WINDOW_H), lengthened(day_ahead, TAIL_H + WINDOW_H))


def cv_by_month(year: Series) -> Floats:
    """Coefficient of variation within 48 hours, the policies' window: mean over the windows that begin on the days of each month. [1]"""
    bounds = month_starts_s(YEAR)
    values = np.asarray(year.values)
    found = []
    for start_s, end_s in pairwise(bounds):
        firsts = np.arange(start_s, end_s, 86400.0)
        windows = [values[round((first - year.start_s) / year.step_s) :][:WINDOW_H] for first in firsts]
        found.append(np.mean([window.std() / window.mean() for window in windows]))
    return np.asarray(found)


def _run_zone(traces: ZoneTraces, arrivals: Sequence[Floats]) -> dict[str, tuple[Jobs, tuple[Floats, Floats]]]:
    """Jobs and battery under each forecast; the carbon-agnostic jobs, which no forecast changes, are run once."""
    found: dict[str, tuple[Jobs, tuple[Floats, Floats]]] = {}
    for name, forecaster in forecasters(traces.actual, traces.day_ahead).items():
        policies = (AGNOSTIC, *WAITING) if name == PERFECT else WAITING
        jobs = run_jobs(traces.actual, forecaster, arrivals, policies, Experiment())
        found[name] = jobs, run_battery(traces.actual, forecaster, YEAR)
    return found


def _numbers(results: Results) -> list[Number]:
    numbers = []
    for policy in POLICIES:
        for forecast in FORECASTS:
            saved = results.saved[policy, forecast]
            over_arrivals = np.nanmean(saved, axis=(0, 1))
            numbers.append(
                Number(
                    name=f"{titles(policy)}, {forecast} forecast: carbon saved, mean of all zones and months",
                    unit="%",
                    paper=None,
                    ours=100.0 * float(np.nanmean(saved)),
                    spread=100.0 * float(over_arrivals.std(ddof=1)) if len(over_arrivals) > 1 else None,
                )
            )
            if policy != ARBITRAGE:
                numbers.append(
                    Number(
                        name=f"{titles(policy)}, {forecast} forecast: delay, mean of all zones and months",
                        unit="h",
                        paper=None,
                        ours=float(np.nanmean(results.delay_h[policy, forecast])),
                    )
                )
        numbers.append(
            Number(
                name=f"{titles(policy)}, day-ahead forecast: variation below which it costs carbon",
                unit="%",
                paper=None,
                ours=100.0 * break_even_cv(results, policy, "day-ahead"),
                explanation="where the line through all zones and months crosses zero; standard deviation over mean within 48 h",
            )
        )
    return numbers


def _zones_table(traces: Mapping[str, ZoneTraces], results: Results) -> Table:
    years = [np.asarray(one.actual.values[: 365 * 24]) for one in traces.values()]
    return Table(
        columns={
            "zone": list(traces),
            "mean_g_per_kwh": [float(year.mean()) for year in years],
            "cv_year_ratio": [float(year.std() / year.mean()) for year in years],
            "cv_48h_ratio": [float(results.cv[zone].mean()) for zone in traces],
        }
    )


def _notes(traces: Traces, results: Results) -> list[str]:
    late = {forecast: sum(float(np.isnan(results.saved[policy, forecast]).sum()) for policy in WAITING) for forecast in FORECASTS}
    jobs = len(WAITING) * len(results.zones) * MONTHS * results.arrivals
    told = ", ".join(f"{forecast} {count:.0f}" for forecast, count in late.items())
    notes = [
        f"Of {jobs} jobs under each forecast these were not done when their run ended, and are in no mean: {told}.",
        "A forecast that is too low makes jobs wait for cleaner hours than they would have: it may save more carbon, at the price of time.",
        "The day-ahead forecast is taken as known for the whole window of 48 h; the second day's is published later.",
        "There is no bound beside these figures: these jobs have no deadline, and waiting long enough any of them is as clean as can be.",
    ]
    if traces.modelled:
        notes.append("All series are modelled, for want of data sets, and so are all day-ahead forecasts.")
    else:
        notes.append("Only California's day-ahead error is measured; that of the other zones is drawn from a model fitted to it.")
    return notes
