"""Traces of the carbon budget study, as they are and moved against each other, and what is assumed beyond the paper.

`carbon_budgets` runs the experiment on them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ecovisor.model.series import Series
from ecovisor.studies.carbon_budgets import APPLICATIONS, HOURS_H, RATE_MG_PER_S, Application, Setting
from ecovisor.studies.findings import Parameter
from ecovisor.studies.traces import Traces


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What one run stands on."""

    carbon: Series
    """48 hours. [g/kWh]"""
    requests: Mapping[str, Series]
    """By application. [1/s]"""


def mean(series: Series) -> float:
    """Mean value over its whole length, in its unit."""
    return math.fsum(series.values) / len(series.values)


def published(traces: Traces, setting: Setting, applications: Sequence[Application] = APPLICATIONS) -> Inputs:
    """The authors' own 48 hours of carbon intensity, and the requests beside them. [g/kWh, 1/s]"""
    carbon = traces.carbon_48h()
    return Inputs(carbon=carbon, requests=_requests(traces, setting, applications, mean(carbon)))


def shifted(inputs: Inputs, count: int, seed: int) -> list[Inputs]:
    """The same with each application's requests begun at a random minute, and their end put before their beginning."""
    chance = random.Random(f"carbon-budgets/shifts/{seed}")

    def moved(series: Series) -> Series:
        k = chance.randrange(len(series.values))
        return replace(series, values=series.values[k:] + series.values[:k])

    return [replace(inputs, requests={name: moved(one) for name, one in inputs.requests.items()}) for _ in range(count)]


def over_a_year(traces: Traces, setting: Setting, count: int, seed: int) -> list[Inputs]:
    """Stretches of 48 hours of California in 2020, one at a random hour of each of ``count`` parts of the year.

    The applications are the same all year: their requests are scaled to the year's mean intensity.
    """
    year = traces.carbon_year()
    requests = _requests(traces, setting, APPLICATIONS, mean(year))
    hours = len(year.values) - int(HOURS_H)
    chance = random.Random(f"carbon-budgets/year/{seed}")
    stretches = []
    for part in range(count):
        first = min(int((part + chance.random()) * hours / count), hours)
        start_s = year.start_s + first * year.step_s
        carbon = replace(year, start_s=start_s, values=year.values[first : first + int(HOURS_H)])
        stretches.append(Inputs(carbon=carbon, requests={name: replace(one, start_s=start_s) for name, one in requests.items()}))
    return stretches


def _requests(
    traces: Traces, setting: Setting, applications: Sequence[Application], intensity_g_per_kwh: float
) -> dict[str, Series]:
    return {
        app.name: traces.requests_48h(app.trace, setting.mean_per_s(app.load_ratio, intensity_g_per_kwh)) for app in applications
    }


def parameters(setting: Setting, inputs: Inputs) -> list[Parameter]:
    """Everything that a run depends on, with its source."""
    rates = ", ".join(f"{mean(inputs.requests[app.name]):,.0f}/s" for app in APPLICATIONS)
    loads = ", ".join(f"{app.load_ratio:g}" for app in APPLICATIONS)
    return [
        Parameter(
            name="carbon rate limit", value=f"{RATE_MG_PER_S:g} mg/s for each application", kind="paper", source="section 5.2.1"
        ),
        Parameter(
            name="carbon budget",
            value=f"{setting.budget_g:,.0f} g for each application: the limit over 48 h",
            kind="paper",
            source="section 5.2.1",
        ),
        Parameter(
            name="objectives", value="60 ms and 70 ms for the 95th percentile of latency", kind="paper", source="section 5.2.1"
        ),
        Parameter(
            name="request traces",
            value="48 h of two of Wikimedia's sites, hourly",
            kind="assumed",
            source="the paper says only that the patterns are real and cover 48 hours",
        ),
        Parameter(
            name="mean request rates",
            value=f"{rates}: {loads} of what the workers serve that the limit pays for at the mean intensity",
            kind="fitted",
            source="to the paper's differences in carbon of −22.8 % and −23.4 %, in steps of 0.05; the paper gives no rates",
        ),
        Parameter(
            name="containers",
            value=f"up to {setting.most_workers} for each application",
            kind="fitted",
            source="with them, at these loads, the static policy falls short in the last third alone, as in the paper's figure 6; a rerun "
            "has 64, which is half of the paper's cluster",
        ),
        Parameter(
            name="container size",
            value=f"{setting.worker_cores:g} cores of a server's {setting.server.cores:g}",
            kind="assumed",
            source="coarse enough to count in figure 7, fine enough to follow the load",
        ),
        Parameter(
            name="server power",
            value=f"{setting.server.power_curve_w[0]:g} W idle to {setting.server.power_curve_w[-1]:g} W, SPECpower curve",
            kind="assumed",
            source="Dell PowerEdge R720, 16 cores, SPECpower_ssj2008 of March 2012; none is published for the paper's R430",
        ),
        Parameter(
            name="service time",
            value=f"{setting.service_ms:g} ms mean, exponential, on an idle core",
            kind="assumed",
            source="an idle container then has a 95th percentile of 30 ms, half of the tighter objective",
        ),
        Parameter(
            name="time-out",
            value=f"{setting.timeout_s:g} s: what would wait longer is turned away",
            kind="assumed",
            source="a usual setting of load balancers; it decides how late requests get in an overload, not whether they are late",
        ),
        Parameter(
            name="headroom",
            value=f"{setting.headroom_ratio:.0%} over the requests expected",
            kind="fitted",
            source="to the sentence that the dynamic policy is never late: it sees the load of the tick that ended; with 5 %, tried first, "
            "it was late in 15 of 70 runs on the modelled requests, which vary by the minute, and in none on the published",
        ),
        Parameter(
            name="tick", value=f"{setting.tick_s / 60.0:g} min", kind="assumed", source="the step of the authors' carbon trace"
        ),
    ]
