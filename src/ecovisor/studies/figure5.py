"""Figure 5 of the Ecovisor paper: both applications of figure 4 at once on one site, each at its best scale factor; power over time.

Owns the one run that is shown and what has to hold in it, tick by tick. Applications, thresholds and the lengths of jobs are those of
figure 4 (`wait_and_scale`, `wait_and_scale_lengths`); `figure5_plot` draws the table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ecovisor.adapters.stores.in_memory import InMemoryTables
from ecovisor.assembly.simulation import simulate
from ecovisor.model.series import Series
from ecovisor.model.units import iso_utc
from ecovisor.settings import App, Policy, Run, Scenario, Server, Site
from ecovisor.studies.findings import Claim, Findings, Number, Parameter, Table
from ecovisor.studies.study import Context
from ecovisor.studies.wait_and_scale import (
    APPLICATIONS,
    DAY_S,
    HOUR_S,
    SEARCH,
    SERVER,
    TRAINING,
    YEAR_EVERY_S,
    Application,
    apps_of,
    even_starts_s,
    random_starts_s,
    repeated,
    scaled,
    threshold_g_per_kwh,
)
from ecovisor.studies.wait_and_scale_lengths import fit, scan

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Found by figure 4: the factor of each application with the least carbon × run time.
BEST = {TRAINING.name: 2.0, SEARCH.name: 3.0}
#: Both tenants have work for so many hours of running at their best scale. [h]
_LEAST_RUNNING_H = 20.0
#: One idle microserver, on which the ecovisor runs.
BASE_W = 1.35
_TICK_S = 300.0
_SOURCE = "section 5.1.3"
#: Sums over apps differ from the site's by rounding alone.
ROUNDING_W = 1e-9


@dataclass(frozen=True, slots=True)
class _Run:
    """What came of a site in memory, one value a tick until both jobs are done."""

    time_s: Floats
    power_w: Mapping[str, Floats]
    """By app, and `_site`: imported. [W]"""
    import_w: Floats
    """The site's. [W]"""
    intensity_g_per_kwh: Floats
    carbon_g: Mapping[str, float]
    """By app. [g]"""
    completed_s: Mapping[str, float]


class Figure5:
    """See the module."""

    name = "fig5"
    title = "Training and search on one site, each waiting for clean power and scaling up in its own way"
    source = "Ecovisor (ASPLOS 2023), Figure 5, section 5.1.3"

    def run(self, context: Context) -> Findings:
        """See `study.Study`."""
        year = context.traces.carbon_year()
        context.progress("how long the jobs are", 0.0)
        every = even_starts_s(year, YEAR_EVERY_S)
        lengths_h = {one.name: fit(one, year, every, context.seed)[0].job_h for one in APPLICATIONS}
        searches = math.ceil(_LEAST_RUNNING_H / _running_h(SEARCH, lengths_h))
        trainings = max(1, round(searches * _running_h(SEARCH, lengths_h) / _running_h(TRAINING, lengths_h)))
        start_s = _typical_start_s(year, lengths_h[SEARCH.name], context)
        apps = [
            _app(TRAINING, trainings * lengths_h[TRAINING.name], start_s, year),
            _app(SEARCH, searches * lengths_h[SEARCH.name], start_s, year),
        ]
        work_h = np.array([searches * lengths_h[SEARCH.name]])
        longest_h = 2.0 * float(scan(SEARCH, year, np.array([start_s]), work_h).runtime_h[0, 0])
        context.progress("both on one site", 0.4)
        both = _simulate(apps, year, start_s, longest_h)
        alone = {}
        for k, app in enumerate(apps):
            context.progress(f"{app.name} alone", 0.6 + 0.2 * k)
            alone[app.name] = _simulate([app], year, start_s, longest_h).carbon_g[app.name]
        thresholds = {SEARCH.name: threshold_g_per_kwh(SEARCH, year, start_s)}
        return Findings(
            numbers=_numbers(both),
            claims=_claims(both, alone, thresholds),
            parameters=_parameters(lengths_h, (trainings, searches), start_s, context),
            tables={"power": _table(both, thresholds[SEARCH.name])},
            origins={"carbon": f"{year.quality}: {year.origin}"},
            notes=[
                "One run, from the random start of figure 4 whose BLAST run is the median; no number of it is in the paper.",
                f"So that both are there for days, one tenant runs {trainings} trainings of {lengths_h[TRAINING.name]:.2f} h on end, its "
                f"threshold taken anew every 48 h, and the other does {searches} × {lengths_h[SEARCH.name]:.1f} h of search.",
            ],
        )

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """See `study.Study`."""
        from ecovisor.studies.figure5_plot import draw

        return draw(findings)


def _running_h(application: Application, lengths_h: Mapping[str, float]) -> float:
    return lengths_h[application.name] / application.speed_up(BEST[application.name])


def _typical_start_s(year: Series, job_h: float, context: Context) -> float:
    """Of figure 4's random starts the one whose search takes the median time. [s since the epoch]"""
    starts = random_starts_s(year, max(context.seeds, 2), context.seed)
    took = scan(SEARCH, year, starts, np.array([job_h]), BEST[SEARCH.name]).runtime_h[:, 0]
    return float(starts[np.argsort(took)[len(took) // 2]])


def _app(application: Application, job_h: float, start_s: float, year: Series) -> App:
    policy = scaled(BEST[application.name])
    app = next(one for one in apps_of(application, job_h, start_s, year, "") if one.name.endswith(policy))
    refreshed: Policy = app.policy if application.window_h is None else msgspec.structs.replace(app.policy, refresh="48h")
    return msgspec.structs.replace(app, name=application.name, policy=refreshed)


def _simulate(apps: list[App], year: Series, start_s: float, longest_h: float) -> _Run:
    begin_s = start_s // HOUR_S * HOUR_S
    hours = round((start_s - begin_s) / HOUR_S + longest_h) + 1
    years = int((begin_s + hours * HOUR_S + 3 * DAY_S - year.start_s) // (year.end_s - year.start_s)) + 1
    scenario = Scenario(
        schema=1,
        site=Site(server=Server(preset=SERVER), overhead_w=BASE_W),
        apps=apps,
        run=Run(start=iso_utc(begin_s), duration=f"{hours}h", tick=f"{_TICK_S:.0f}s", baseline=False),
    )
    tables = InMemoryTables()
    summary = simulate(scenario, Path(), series={"carbon": repeated(year, years)}, sink=tables).summary
    completed_s = {app.app: app.completed_s or begin_s + hours * HOUR_S for app in summary.apps if app.app != "_site"}
    time_s = tables.site["time"]
    kept = time_s < max(completed_s.values()) + 6 * HOUR_S
    flows = {app.app: tables.of("flows", app=app.app) for app in summary.apps}
    return _Run(
        time_s=time_s[kept],
        power_w={name: one["grid_to_load_w"][kept] for name, one in flows.items()},
        import_w=tables.site["import_w"][kept],
        intensity_g_per_kwh=flows["_site"]["carbon_intensity_g_per_kwh"][kept],
        carbon_g={name: float(one["carbon_g"][kept].sum()) for name, one in flows.items()},
        completed_s=completed_s,
    )


# -- what has to hold


def _claims(both: _Run, alone: Mapping[str, float], thresholds: Mapping[str, float]) -> list[Claim]:
    training, search = both.power_w[TRAINING.name], both.power_w[SEARCH.name]
    residual_w = float(np.abs(sum(both.power_w.values()) - both.import_w).max())
    open_ticks = both.time_s < min(both.completed_s.values())
    only = [float(np.mean((one > 0.0) & (other <= 0.0))) for one, other in ((training, search), (search, training))]
    apart = {name: abs(both.carbon_g[name] - alone[name]) for name in alone}
    above = both.intensity_g_per_kwh[search > 0.0]
    least_w, most_w = float(both.import_w.min()), float(both.import_w.max())
    quiet = float(np.mean(both.import_w <= BASE_W + ROUNDING_W))
    return [
        Claim(
            text="Each application uses a different power, at times of its own",
            held=abs(training.max() - search.max()) > 1.0 and max(only) > 0.0,
            evidence=f"at most {training.max():.3g} W for training, {search.max():.3g} W for BLAST; training runs alone in "
            f"{100 * only[0]:.0f} % of the ticks, BLAST in {100 * only[1]:.0f} %; while both have work, they run at the same time in "
            f"{100 * float(np.mean((training > 0.0) & (search > 0.0) & open_ticks)):.0f} %",
            source=_SOURCE,
        ),
        Claim(
            text="In every tick the applications and the base power of the ecovisor add up to the site's import",
            held=residual_w <= ROUNDING_W,
            evidence=f"largest difference {residual_w:.1e} W in {len(both.time_s)} ticks",
            source=_SOURCE,
        ),
        Claim(
            text="The system-wide power has a small base, which is all that is left while both wait",
            held=abs(least_w - BASE_W) <= ROUNDING_W and most_w > 10.0 * BASE_W,
            evidence=f"from {least_w:.3g} W, in {100 * quiet:.0f} % of the ticks, to {most_w:.3g} W",
            source=_SOURCE,
        ),
        Claim(
            text="BLAST runs only at or below its own threshold",
            held=bool(above.max() <= thresholds[SEARCH.name]),
            evidence=f"at most {above.max():.1f} g/kWh while it runs, threshold {thresholds[SEARCH.name]:.1f} g/kWh",
            source="section 5.1.1",
        ),
        Claim(
            text="Neither is touched by the other: each emits what it would emit alone",
            held=max(apart.values()) <= 1e-9,
            evidence=", ".join(f"{name} {both.carbon_g[name]:.4g} g, alone {alone[name]:.4g} g" for name in alone),
            source=_SOURCE,
        ),
    ]


def _numbers(both: _Run) -> list[Number]:
    base_g = both.carbon_g["_site"]
    hours = {one.name: float(np.mean(both.power_w[one.name] > 0.0)) for one in APPLICATIONS}
    return [
        *(
            Number(
                name=f"{one.title}, Wait&Scale {BEST[one.name]:g}×: largest power",
                unit="W",
                paper=None,
                ours=float(both.power_w[one.name].max()),
            )
            for one in APPLICATIONS
        ),
        *(
            Number(name=f"{one.title}: part of the time in which it runs", unit="%", paper=None, ours=100.0 * hours[one.name])
            for one in APPLICATIONS
        ),
        Number(
            name="Base power of the ecovisor: part of the site's carbon",
            unit="%",
            paper=None,
            ours=100.0 * base_g / sum(both.carbon_g.values()),
        ),
    ]


def _parameters(lengths_h: Mapping[str, float], jobs: tuple[int, int], start_s: float, context: Context) -> list[Parameter]:
    rows = [
        ("scale factors", "training 2×, BLAST 3×", "paper", "section 5.1.2: the best of each; figure 4 finds the same"),
        (
            "base power",
            f"{BASE_W:g} W",
            "assumed",
            "'a small amount': an idle microserver of section 4, on which the ecovisor runs",
        ),
        (
            "arrival",
            f"{iso_utc(start_s)}, both at once",
            "assumed",
            f"the median of figure 4's random starts (seed {context.seed})",
        ),
        (
            "job length, BLAST",
            f"{jobs[1]} of {lengths_h[SEARCH.name]:.1f} h on 8 cores",
            "fitted",
            "in figure 4, to 5.1× when suspended",
        ),
        (
            "training",
            f"{jobs[0]} jobs of {lengths_h[TRAINING.name]:.2f} h on end",
            "assumed",
            "one job would be over within the hour; its length is fitted in figure 4, to 7.4× under suspend-resume",
        ),
        (
            "threshold, training",
            "30th percentile of 48 h, taken anew every 48 h",
            "paper",
            "section 5.1.1; anew for the later jobs",
        ),
        ("threshold, BLAST", "33rd percentile of the year", "paper", "section 5.1.1"),
    ]
    return [Parameter(name=name, value=value, kind=kind, source=source) for name, value, kind, source in rows]  # type: ignore[arg-type]


def _table(both: _Run, blast_threshold_g_per_kwh: float) -> Table:
    return Table(
        columns={
            "time_s": [float(one) for one in both.time_s],
            "training_w": [float(one) for one in both.power_w[TRAINING.name]],
            "blast_w": [float(one) for one in both.power_w[SEARCH.name]],
            "base_w": [float(one) for one in both.power_w["_site"]],
            "import_w": [float(one) for one in both.import_w],
            "carbon_intensity_g_per_kwh": [float(one) for one in both.intensity_g_per_kwh],
            "blast_threshold_g_per_kwh": [blast_threshold_g_per_kwh] * len(both.time_s),
        }
    )
