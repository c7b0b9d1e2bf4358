"""Two web applications on a carbon budget, under two policies (Ecovisor paper, section 5.2): how they are run.

Owns the experiment; `carbon_budgets_inputs` has its traces and says what is assumed, `carbon_budgets_numbers` what to compare over many
runs, `figure6` and `figure7` what of it is shown and claimed. The applications share a site, as in the paper: both policies of both are
run together.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ecovisor.adapters.stores.in_memory import InMemoryTables
from ecovisor.engine.loop import Loop
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.library.queueing import Discipline
from ecovisor.model.series import Series
from ecovisor.policies.carbon_rate_workers import CarbonRateWorkers
from ecovisor.policies.dynamic_carbon_budget import DynamicCarbonBudget
from ecovisor.policies.static_carbon_rate import StaticCarbonRate
from ecovisor.ports import Policy
from ecovisor.presets import AppShares, ServerParameters
from ecovisor.workloads.web_service import WebService

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STATIC, DYNAMIC = "static-carbon-rate", "dynamic-carbon-budget"
POLICIES = (STATIC, DYNAMIC)
#: The paper's limit. [mg/s]
RATE_MG_PER_S = 20.0
HOURS_H = 48.0
#: SPECpower_ssj2008 of a Dell PowerEdge R720, 2 × Xeon E5-2670, result power_ssj2008-20120306-00435: none is published for the R430.
SERVER = ServerParameters(16.0, (51.0, 75.0, 84.5, 95.0, 110.0, 120.0, 137.0, 159.0, 187.0, 217.0, 231.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One of the two web applications."""

    name: str
    title: str
    slo_p95_ms: float
    trace: int
    """Which of `Traces.requests_48h`."""
    load_ratio: float
    """Mean requests over what the workers serve that the rate limit pays for at full power and the mean carbon intensity. [1]"""


#: Loads fitted to the paper's difference in carbon, in steps of 0.05; see `carbon_budgets_inputs.parameters`.
APPLICATIONS = (
    Application(name="web-1", title="web application 1", slo_p95_ms=60.0, trace=0, load_ratio=0.5),
    Application(name="web-2", title="web application 2", slo_p95_ms=70.0, trace=1, load_ratio=0.55),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the paper does not say, the same for both applications; a rerun changes one of them."""

    rate_mg_per_s: float = RATE_MG_PER_S
    server: ServerParameters = SERVER
    worker_cores: float = 4.0
    most_workers: int = 20
    """Containers of each application."""
    service_ms: float = 10.0
    """Mean time of a request on an idle core. [ms]"""
    discipline: Discipline = "processor-sharing"
    headroom_ratio: float = 0.1
    """Of the dynamic policy. [1]"""
    timeout_s: float = 10.0
    """A request that would wait longer is turned away. [s]"""
    tick_s: float = 180.0
    static_plan: Literal["as-seen", "at-full-power", "power-cap"] = "as-seen"
    """How many workers the static policy runs: as many as the limit allows at the power that they are seen to draw, at full power, or all
    of them, which a power cap then holds to the limit."""

    @property
    def rate_g_per_h(self) -> float:
        """The limit. [g/h]"""
        return self.rate_mg_per_s * 3.6

    @property
    def budget_g(self) -> float:
        """What the limit comes to in the whole time. [g]"""
        return self.rate_g_per_h * HOURS_H

    @property
    def worker_w(self) -> float:
        """Power of a worker at full load. [W]"""
        return self.worker_cores / self.server.cores * self.server.power_curve_w[-1]

    def mean_per_s(self, load_ratio: float, mean_intensity_g_per_kwh: float) -> float:
        """Mean request rate at a load; see `Application.load_ratio`. [1/s]"""
        workers = self.rate_g_per_h / mean_intensity_g_per_kwh * 1000.0 / self.worker_w
        return load_ratio * workers * self.worker_cores / (self.service_ms / 1000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One application under one policy: columns by the tick, and what they come to."""

    hours_h: Floats
    p95_ms: Floats
    workers: Floats
    requests_per_s: Floats
    intensity_g_per_kwh: Floats
    power_w: Floats
    carbon_mg_per_s: Floats
    dropped_ratio: float
    """Part of the requests that was turned away. [1]"""
    carbon_g: float
    budget_g: float
    slo_p95_ms: float

    @property
    def late(self) -> NDArray[np.bool_]:
        """Ticks in which the objective was missed."""
        return self.p95_ms > self.slo_p95_ms * (1.0 + 1e-9)

    @property
    def late_h(self) -> float:
        """Time in which the objective was missed. [h]"""
        return float(self.late.sum() * (self.hours_h[1] - self.hours_h[0]))


class _Watched(WebService):
    """Remembers its metrics, tick by tick."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.seen: list[Mapping[str, float]] = []

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        super().run_containers(served_w, tick_s)
        self.seen.append(self.metrics)


def run(
    applications: Sequence[Application], carbon: Series, requests: Mapping[str, Series], setting: Setting
) -> dict[tuple[str, str], Outcome]:
    """All applications under both policies over the 48 hours from the carbon series' start, by application and policy.

    Args:
        applications: at least one.
        carbon: intensity, of at least 48 hours. [g/kWh]
        requests: by application; from the same instant. [1/s]
        setting: everything else.
    """
    count = round(HOURS_H * 3600.0 / setting.tick_s)
    signals = Signals(
        solar_w=array("d", [0.0]) * count,
        carbon_intensity_g_per_kwh=carbon.on_ticks(carbon.start_s, setting.tick_s, count, mean=True),
        price_per_kwh=None,
        traces={},
        forecasters={},
    )
    tables = InMemoryTables()
    site = Site(
        PhysicalSite(server=setting.server), signals, start_s=carbon.start_s, tick_s=setting.tick_s, sink=tables, compiled=False
    )
    services: dict[tuple[str, str], _Watched] = {}
    for app in applications:
        rate = replace(
            requests[app.name],
            step_s=setting.tick_s,
            values=requests[app.name].on_ticks(carbon.start_s, setting.tick_s, count, mean=True),
        )
        for policy in POLICIES:
            services[app.name, policy] = _Watched(
                setting.server, rate, setting.service_ms, timeout_s=setting.timeout_s, discipline=setting.discipline
            )
            site.join(_spec(app, policy, services[app.name, policy], setting))
    site.begin()
    Loop(site).run(count)
    return {
        (app.name, policy): _outcome(app, tables.of("flows", app=f"{app.name}-under-{policy}"), services[app.name, policy], setting)
        for app in applications
        for policy in POLICIES
    }


def _spec(app: Application, policy: str, service: WebService, setting: Setting) -> AppSpec:
    def static() -> Policy:
        if setting.static_plan == "power-cap":
            return StaticCarbonRate(setting.rate_g_per_h)
        return CarbonRateWorkers(setting.rate_g_per_h, setting.worker_w, at_full_power=setting.static_plan == "at-full-power")

    makers: dict[str, Callable[[], Policy]] = {
        STATIC: static,
        DYNAMIC: lambda: DynamicCarbonBudget(
            setting.budget_g,
            HOURS_H * 3600.0,
            app.slo_p95_ms,
            setting.service_ms,
            setting.worker_w,
            discipline=setting.discipline,
            headroom_ratio=setting.headroom_ratio,
        ),
    }
    return AppSpec(
        name=f"{app.name}-under-{policy}",
        shares=AppShares(0.0, 0.0, 0.0, 0.0),
        workload=lambda: service,
        policy=makers[policy],
        containers=setting.most_workers,
        cores=setting.worker_cores,
        workload_name="web-service",
        policy_name=policy,
    )


def _outcome(app: Application, flows: Mapping[str, Floats], service: _Watched, setting: Setting) -> Outcome:
    def seen(metric: str) -> Floats:
        return np.array([metrics[metric] for metrics in service.seen])

    return Outcome(
        hours_h=np.arange(len(service.seen), dtype=np.float64) * setting.tick_s / 3600.0,
        p95_ms=seen("p95_ms"),
        workers=seen("workers"),
        requests_per_s=seen("requests_per_s"),
        intensity_g_per_kwh=flows["carbon_intensity_g_per_kwh"],
        power_w=flows["demand_w"] - flows["unserved_w"],
        carbon_mg_per_s=flows["carbon_g"] * 1000.0 / setting.tick_s,
        dropped_ratio=service.dropped / service.arrived,
        carbon_g=float(flows["carbon_g"].sum()),
        budget_g=setting.budget_g,
        slo_p95_ms=app.slo_p95_ms,
    )
