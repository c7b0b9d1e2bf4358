"""Policies for web services: as few workers as the objective needs, as many as can be paid for, and never more carbon than there is."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecovisor.engine.loop import Loop
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.library.queueing import Discipline, Workers
from ecovisor.model.series import Series
from ecovisor.policies.carbon_rate_workers import CarbonRateWorkers, workers_within
from ecovisor.policies.dynamic_carbon_budget import DynamicCarbonBudget
from ecovisor.policies.latency_workers import LatencyWorkers
from ecovisor.policies.service_level import ServiceLevel
from ecovisor.ports import Policy
from ecovisor.presets import AppShares, BatteryParameters, ServerParameters
from ecovisor.testing import MemorySink, PolicyContract
from ecovisor.workloads.web_service import WebService

SERVER = ServerParameters(16.0, (51.0, 75.0, 84.5, 95.0, 110.0, 120.0, 137.0, 159.0, 187.0, 217.0, 231.0))
WORKER_W = 231.0 / 4.0
START_S, TICK_S = 1_590_969_600.0, 300.0


class TestDynamicCarbonBudget(PolicyContract):
    def make(self) -> Policy:
        return DynamicCarbonBudget(200.0, 86400.0, slo_p95_ms=60.0, service_ms=10.0, worker_w=5.0)


class TestCarbonRateWorkers(PolicyContract):
    def make(self) -> Policy:
        return CarbonRateWorkers(2.0, worker_w=5.0)


class TestLatencyWorkers(PolicyContract):
    def make(self) -> Policy:
        return LatencyWorkers(slo_p95_ms=60.0, service_ms=10.0)


def run(
    policy: Callable[[], Policy],
    carbon: list[float],
    requests: list[float],
    *,
    solar_w: list[float] | None = None,
    battery: BatteryParameters | None = None,
    containers: int = 8,
) -> tuple[MemorySink, WebService, list[dict[str, float]]]:
    """A service under a policy, a value a tick; its tables, itself, and its metrics by the tick."""
    sink, seen = MemorySink(), []
    service = WebService(SERVER, Series("requests", "1/s", START_S, TICK_S, array("d", requests)), service_ms=10.0)
    kept = service.run_containers

    def watched(served_w: list[float], tick_s: float) -> None:
        kept(served_w, tick_s)
        seen.append(dict(service.metrics))

    service.run_containers = watched  # type: ignore[assignment,method-assign]
    solar = array("d", solar_w or [0.0] * len(carbon))
    site = Site(
        PhysicalSite(server=SERVER, battery=battery, solar_peak_w=max(solar)),
        Signals(solar_w=solar, carbon_intensity_g_per_kwh=array("d", carbon), forecasters={}),
        start_s=START_S,
        tick_s=TICK_S,
        sink=sink,
        compiled=False,
    )
    site.join(
        AppSpec(
            name="web",
            shares=AppShares(1.0, 1.0, 1.0, 1.0),
            workload=lambda: service,
            policy=policy,
            containers=containers,
            cores=4.0,
        )
    )
    site.begin()
    Loop(site).run(len(carbon))
    return sink, service, seen


ticks = st.lists(st.tuples(st.one_of(st.floats(0.0, 500.0), st.just(math.nan)), st.floats(0.0, 4000.0)), min_size=2, max_size=25)


@settings(max_examples=40, deadline=None)
@given(ticks=ticks, budget_g=st.floats(0.1, 100.0), horizon_ticks=st.integers(1, 40))
def test_a_budget_is_never_exceeded_as_a_whole_nor_before_it_has_accrued(
    ticks: list[tuple[float, float]], budget_g: float, horizon_ticks: int
) -> None:
    def policy() -> Policy:
        return DynamicCarbonBudget(budget_g, horizon_ticks * TICK_S, slo_p95_ms=60.0, service_ms=10.0, worker_w=WORKER_W)

    sink, _, _ = run(policy, [c for c, _ in ticks], [r for _, r in ticks])
    emitted_g = 0.0
    for k, carbon_g in enumerate(sink.column("flows", "carbon_g", "web")):
        emitted_g += 0.0 if carbon_g is None or math.isnan(carbon_g) else carbon_g
        assert emitted_g <= budget_g * min(1.0, (k + 1) / horizon_ticks) * (1.0 + 1e-9)
    unknown = [w for (c, _), w in zip(ticks, sink.column("flows", "grid_to_load_w", "web"), strict=True) if math.isnan(c)]
    assert not any(unknown), "an unknown intensity is never clean"


@settings(max_examples=40, deadline=None)
@given(ticks=ticks, rate_g_per_h=st.floats(0.0, 200.0), at_full_power=st.booleans())
def test_a_carbon_rate_is_never_exceeded(ticks: list[tuple[float, float]], rate_g_per_h: float, at_full_power: bool) -> None:
    sink, _, _ = run(
        lambda: CarbonRateWorkers(rate_g_per_h, WORKER_W, at_full_power=at_full_power), [c for c, _ in ticks], [r for _, r in ticks]
    )
    for carbon_g in sink.column("flows", "carbon_g", "web"):
        assert carbon_g is None or math.isnan(carbon_g) or carbon_g <= rate_g_per_h * TICK_S / 3600.0 * (1.0 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(
    requests=st.lists(st.floats(0.0, 2500.0), min_size=3, max_size=25),
    sun=st.lists(st.floats(0.0, 400.0), min_size=25, max_size=25),
    initial=st.floats(0.0, 1.0),
)
def test_on_sun_and_battery_alone_nothing_is_imported(requests: list[float], sun: list[float], initial: float) -> None:
    battery = BatteryParameters(1440.0, 0.3, 0.25, 1.0, 0.95, 0.95, 0.0, initial)
    sink, _, _ = run(
        lambda: LatencyWorkers(60.0, 10.0, WORKER_W),
        [100.0] * len(requests),
        requests,
        solar_w=sun[: len(requests)],
        battery=battery,
    )
    assert max(sink.column("flows", "grid_to_load_w", "web")) <= 1e-9


def rising(ticks: int) -> list[float]:
    return [1000.0 + 60.0 * k for k in range(ticks)]


def test_with_credit_enough_the_objective_is_met_and_hardly_a_worker_is_idle() -> None:
    _, _, seen = run(
        lambda: DynamicCarbonBudget(1e5, 3600.0, slo_p95_ms=60.0, service_ms=10.0, worker_w=WORKER_W), [200.0] * 20, rising(20)
    )
    level = ServiceLevel(60.0, 10.0)
    for tick in seen[1:]:
        assert tick["p95_ms"] <= 60.0
        assert tick["workers"] <= level.workers(tick["requests_per_s"] * 1.2, 4.0) + 1


def test_credit_pays_for_more_than_the_rate_when_carbon_and_load_are_high() -> None:
    carbon, requests = [50.0] * 20 + [300.0] * 5, [300.0] * 20 + [2400.0] * 5
    rate_g_per_h = 60.0  # 200 W at 300 g/kWh: three workers of eight
    budget = run(
        lambda: DynamicCarbonBudget(rate_g_per_h * 25 / 12, 25 * TICK_S, slo_p95_ms=60.0, service_ms=10.0, worker_w=WORKER_W),
        carbon,
        requests,
    )
    rate = run(lambda: CarbonRateWorkers(rate_g_per_h, WORKER_W), carbon, requests)
    assert budget[2][-1]["p95_ms"] <= 60.0 < rate[2][-1]["p95_ms"]
    carbon_g = [sum(sink.column("flows", "carbon_g", "web")) for sink, _, _ in (budget, rate)]
    assert max(budget[0].column("flows", "carbon_g", "web")) > rate_g_per_h / 12
    assert carbon_g[0] < rate_g_per_h * 25 / 12


def test_the_budget_goes_on_where_the_policy_is_started_again() -> None:
    made: list[DynamicCarbonBudget] = []

    def policy() -> Policy:
        made.append(DynamicCarbonBudget(10.0, 10 * TICK_S, 60.0, 10.0, WORKER_W, start_s=START_S))
        return made[-1]

    class Again:
        """Starts its policy anew in the middle."""

        def __init__(self) -> None:
            self.inner, self.ticks = policy(), 0

        def start(self, energy: object) -> None:
            self.inner.start(energy)  # type: ignore[attr-defined]

        def tick(self, energy: object, app: object) -> None:
            self.ticks += 1
            if self.ticks == 6:
                self.inner = policy()
                self.inner.start(energy)  # type: ignore[attr-defined]
            self.inner.tick(energy, app)  # type: ignore[arg-type]

    sink, _, _ = run(Again, [400.0] * 15, [3000.0] * 15)
    total_g = sum(sink.column("flows", "carbon_g", "web"))
    assert 9.0 < total_g <= 10.0 * (1.0 + 1e-9)
    assert len(made) == 2


# -- decisions


@given(rate=st.floats(1.0, 50_000.0), slo=st.floats(35.0, 200.0), cores=st.sampled_from([1.0, 2.0, 4.0]),
       discipline=st.sampled_from(["processor-sharing", "shared-queue"]))  # fmt: skip
@settings(deadline=None)
def test_the_workers_are_the_least_that_meet_the_objective(rate: float, slo: float, cores: float, discipline: Discipline) -> None:
    level = ServiceLevel(slo, 10.0, discipline=discipline)
    count = level.workers(rate, cores)

    def p95_ms(workers: int) -> float:
        group = [Workers(workers, cores, 1.0)]
        load = rate / level.model.capacity_per_s(group)
        return math.inf if load > 0.98 else level.model.p95_s(group, load) * 1000.0

    assert p95_ms(count) <= slo * (1 + 1e-4)
    assert count == 1 or p95_ms(count - 1) > slo * (1 - 1e-3)


def test_what_is_expected_is_what_came_and_what_it_rose_by_and_what_waits() -> None:
    level = ServiceLevel(60.0, 10.0, headroom_ratio=0.1)
    assert math.isnan(level.expected_per_s({}, 60.0))
    assert level.expected_per_s({"requests_per_s": 100.0}, 60.0) == pytest.approx(110.0)
    assert level.expected_per_s({"requests_per_s": 120.0, "queue": 60.0}, 60.0) == pytest.approx(155.0)
    assert level.expected_per_s({"requests_per_s": 90.0}, 60.0) == pytest.approx(99.0)


def test_as_many_workers_as_the_cap_allows_at_what_they_draw() -> None:
    assert workers_within(400.0, 10, 200.0, 500.0, 50.0) == 20
    assert workers_within(400.0, 10, 500.0, 500.0, 50.0) == 8, (
        "held back, and the new cap carries no more than eight at what they drew"
    )
    assert workers_within(500.0, 12, 500.0, 500.0, 50.0) == 11, "held back: one is taken out"
    assert workers_within(500.0, 10, 500.0, 500.0, 50.0) == 10, "down to what runs at full power"


def test_an_objective_that_nobody_can_meet_is_refused() -> None:
    with pytest.raises(ValueError, match="even an idle worker takes 30 ms"):
        ServiceLevel(25.0, 10.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DynamicCarbonBudget(0.0, 3600.0, 60.0, 10.0, 50.0),
        lambda: DynamicCarbonBudget(10.0, math.inf, 60.0, 10.0, 50.0),
        lambda: DynamicCarbonBudget(10.0, 3600.0, 60.0, 10.0, 50.0, least_workers=-1),
        lambda: CarbonRateWorkers(-1.0, 50.0),
        lambda: CarbonRateWorkers(math.nan, 50.0),
        lambda: LatencyWorkers(60.0, 10.0, worker_w=0.0),
        lambda: LatencyWorkers(60.0, 10.0, reserve_ratio=1.5),
        lambda: ServiceLevel(60.0, 0.0),
    ],
)
def test_what_makes_no_policy_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="give|must be"):
        make()
