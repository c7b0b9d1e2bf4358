"""A web service: what its containers ask for, what it does with what they get, and what it says of itself."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.library.queueing import Workers
from ecovisor.model.series import Series
from ecovisor.physics.server_power import power_at_w
from ecovisor.ports import ContainerInfo, ContainerWorkload
from ecovisor.presets import ServerParameters
from ecovisor.testing import ContainerWorkloadContract
from ecovisor.testing.sites import MICROSERVER, START_S
from ecovisor.workloads.web_service import WebService

SERVER = ServerParameters(16.0, (51.0, 75.0, 84.5, 95.0, 110.0, 120.0, 137.0, 159.0, 187.0, 217.0, 231.0))
TICK_S = 60.0


def trace(*rates_per_s: float, step_s: float = TICK_S) -> Series:
    return Series("requests", "1/s", START_S, step_s, array("d", rates_per_s))


def containers(count: int, *, cap_w: float = math.inf, suspended: int = 0, cores: float = 4.0) -> list[ContainerInfo]:
    return [ContainerInfo(f"c{k}", cores, k >= suspended, 0.0, cap_w) for k in range(count)]


def drive(service: WebService, present: Sequence[ContainerInfo], ticks: int, granted_ratio: float = 1.0) -> list[list[float]]:
    asked = []
    for k in range(ticks):
        asked.append(list(service.demands_w(START_S + k * TICK_S, TICK_S, present)))
        service.run_containers([power_w * granted_ratio for power_w in asked[-1]], TICK_S)
    return asked


class TestWebService(ContainerWorkloadContract):
    def make(self) -> ContainerWorkload:
        return WebService(MICROSERVER, trace(*(200.0 + 150.0 * (k % 7) for k in range(300)), step_s=900.0), service_ms=10.0)


steps = st.lists(
    st.tuples(st.floats(0.0, 6000.0), st.integers(0, 8), st.floats(13.0, 70.0), st.floats(0.0, 1.0)), min_size=1, max_size=15
)


@given(steps=steps, discipline=st.sampled_from(["processor-sharing", "shared-queue"]))
def test_every_request_that_came_was_served_or_turned_away_or_waits(
    steps: list[tuple[float, int, float, float]], discipline: str
) -> None:
    service = WebService(SERVER, trace(*(rate for rate, *_ in steps)), service_ms=10.0, timeout_s=5.0, discipline=discipline)  # type: ignore[arg-type]
    for k, (rate, suspended, cap_w, granted_ratio) in enumerate(steps):
        asked = service.demands_w(START_S + k * TICK_S, TICK_S, containers(8, cap_w=cap_w, suspended=suspended))
        service.run_containers([power_w * granted_ratio for power_w in asked], TICK_S)
        assert service.metrics["requests_per_s"] == rate
        assert service.metrics["queue"] == service.backlog
        assert all(0.0 <= value < math.inf for value in service.metrics.values())
    assert service.arrived == pytest.approx(service.work_done + service.dropped + service.backlog, rel=1e-9, abs=1e-6)
    assert service.arrived == pytest.approx(sum(rate for rate, *_ in steps) * TICK_S)


def test_power_is_that_of_the_utilisation() -> None:
    service = WebService(SERVER, trace(800.0), service_ms=10.0)  # 8 cores' worth on 16: half
    (asked,) = drive(service, containers(4), 1)
    assert asked == pytest.approx([power_at_w(SERVER.power_curve_w, 11, 0.5) / 4.0] * 4)
    assert service.metrics["utilisation_ratio"] == pytest.approx(0.5)


def test_without_requests_workers_idle_and_answer_as_fast_as_they_can() -> None:
    service = WebService(SERVER, trace(0.0), service_ms=10.0, base_ms=3.0)
    (asked,) = drive(service, containers(2, suspended=1), 1)
    assert asked == [0.0, pytest.approx(51.0 / 4.0)]
    assert service.metrics["p95_ms"] == pytest.approx(3.0 + 10.0 * -math.log(0.05), rel=1e-3)
    assert service.metrics["workers"] == 1.0


def test_beyond_the_trace_nothing_arrives() -> None:
    service = WebService(SERVER, trace(100.0), service_ms=10.0)
    drive(service, containers(1), 3)
    assert service.arrived == 100.0 * TICK_S


def test_a_cap_slows_a_worker_down_and_the_fastest_gets_most() -> None:
    capped = [*containers(1), ContainerInfo("slow", 4.0, True, 0.0, 30.0)]
    service = WebService(SERVER, trace(300.0), service_ms=10.0)
    (asked,) = drive(service, capped, 1)
    speed = 0.5  # 30 W of a quarter server are 120 W of the whole: half of full speed
    load = 300.0 / service.model.capacity_per_s([Workers(1, 4.0, 1.0), Workers(1, 4.0, speed)])
    assert asked == pytest.approx([power_at_w(SERVER.power_curve_w, 11, load * s) / 4.0 for s in (1.0, speed)])
    assert service.metrics["p95_ms"] > WebService(SERVER, trace(300.0), service_ms=10.0).model.p95_s(
        [Workers(2, 4.0, 1.0)], 300.0 / 800.0
    )


def test_what_was_not_granted_is_not_served() -> None:
    full, short = (WebService(SERVER, trace(390.0), service_ms=10.0) for _ in range(2))
    drive(full, containers(1), 1)
    drive(short, containers(1), 1, granted_ratio=0.6)
    assert full.backlog == 0.0
    assert short.work_done < full.work_done
    assert short.metrics["p95_ms"] > full.metrics["p95_ms"]


def test_a_backlog_is_carried_on_and_drains() -> None:
    service = WebService(SERVER, trace(600.0, 100.0, 100.0, 100.0), service_ms=10.0, timeout_s=1000.0)
    asked = drive(service, containers(1), 1)
    assert service.backlog == 200.0 * TICK_S
    assert asked[0] == [231.0 / 4.0], "saturated"
    late = []
    for k in range(1, 4):
        service.run_containers(service.demands_w(START_S + k * TICK_S, TICK_S, containers(1)), TICK_S)
        late.append(service.metrics["p95_ms"])
    assert service.backlog == 0.0
    assert late == sorted(late, reverse=True)


def test_where_nothing_runs_everything_is_turned_away() -> None:
    service = WebService(SERVER, trace(100.0), service_ms=10.0, timeout_s=7.0)
    drive(service, containers(3, suspended=3), 1)
    assert (service.dropped, service.metrics["p95_ms"], service.metrics["dropped_per_s"]) == (6000.0, 7000.0, 100.0)


@pytest.mark.parametrize(
    "options", [{"service_ms": 0.0}, {"service_ms": 10.0, "timeout_s": 0.0}, {"service_ms": 10.0, "service_scv": -1.0},
                {"service_ms": 10.0, "base_ms": math.nan}, {"service_ms": 10.0, "discipline": "random"}],
)  # fmt: skip
def test_what_makes_no_service_is_refused(options: dict[str, float | str]) -> None:
    with pytest.raises(ValueError, match="must be"):
        WebService(SERVER, trace(1.0), **options)  # type: ignore[arg-type]
