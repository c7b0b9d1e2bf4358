"""A web service: requests by a trace, a load balancer, and containers that serve them as fast as their power lets them.

Every running container is a worker. The load balancer gives each a part of the requests in proportion to its speed, so all are equally
loaded. A worker that is busy for a part of its cores' full speed draws the power of that utilisation; under a power cap its cores run
at the speed that the cap allows (``containers.effective_cores``). How long requests take is in ``queueing``; who decides on workers
and caps is a policy, which sees `metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ecovisor.library.queueing import Discipline, ResponseModel, Workers
from ecovisor.model.series import Series
from ecovisor.physics.server_power import power_at_w
from ecovisor.ports import ContainerInfo
from ecovisor.presets import ServerParameters
from ecovisor.workloads.containers import effective_cores
from ecovisor.workloads.queueing import service_tick

#: A grant within this part of what was asked for is all of it.
_ROUNDING_RATIO = 1e-9


class WebService:
    """Serves requests; a `ports.ContainerWorkload`.

    Args:
        server: the site's server: its cores and power.
        rate: requests that arrive. [1/s]
        service_ms: mean time that a request takes on an idle core at full speed. [ms]
        service_scv: squared coefficient of variation of that time; 1: exponential. [1]
        base_ms: time that every request takes besides. [ms]
        timeout_s: a request that would wait longer for a worker is turned away. [s]
        discipline: `processor-sharing` or `shared-queue`; see `library.queueing`.

    Attributes:
        metrics: of the tick that ended: `p95_ms` and `mean_ms` of the response time (the time-out where nothing ran; what a request would
            have seen where none came), `requests_per_s` that arrived, `queue` of requests that wait, `dropped_per_s`, `workers` that
            ran, and `utilisation_ratio` of their capacity.
        work_done: requests served since the start.

    Raises:
        ValueError: a time or the variation is out of bounds.
    """

    def __init__(
        self,
        server: ServerParameters,
        rate: Series,
        service_ms: float,
        service_scv: float = 1.0,
        base_ms: float = 0.0,
        timeout_s: float = 10.0,
        discipline: Discipline = "processor-sharing",
    ) -> None:
        for name, value, least in (("service_ms", service_ms, 1e-6), ("service_scv", service_scv, 0.0), ("base_ms", base_ms, 0.0)):
            if not value >= least:
                raise ValueError(f"{name} is {value!r}, must be {'above' if least else 'at least'} 0")
        if not timeout_s > 0.0:
            raise ValueError(f"timeout_s is {timeout_s!r}, must be above 0")
        if discipline not in ("processor-sharing", "shared-queue"):
            raise ValueError(f"discipline is {discipline!r}, must be 'processor-sharing' or 'shared-queue'")
        self.model = ResponseModel(
            service_s=service_ms / 1000.0, service_scv=service_scv, base_s=base_ms / 1000.0, discipline=discipline
        )
        self.timeout_s = timeout_s
        self.work_done = 0.0
        self.work_total = 0.0
        self.arrived = 0.0
        """Requests since the start."""
        self.dropped = 0.0
        """Requests turned away since the start."""
        self.backlog = 0.0
        """Requests that wait."""
        self.metrics: Mapping[str, float] = {}
        self._server = server
        self._rate = rate
        self._rate_per_s = 0.0
        self._cores: list[float] = []
        self._speeds: list[float] = []
        self._asked_w: list[float] = []

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> Sequence[float]:
        """See `ports.ContainerWorkload`: each worker's power at the load that all have in common."""
        self._rate_per_s = self._arrivals_per_s(now_s)
        speeds: dict[tuple[float, float], float] = {}
        limits = [(one.cores if one.running else 0.0, one.cap_w) for one in containers]
        for pair in limits:
            if pair not in speeds:
                speeds[pair] = self._speed_ratio(*pair)
        self._cores = [cores for cores, _ in limits]
        self._speeds = [speeds[pair] for pair in limits]
        capacity_per_s = self.model.capacity_per_s(self._workers())
        offered_per_s = self._rate_per_s + self.backlog / tick_s
        busy_ratio = min(1.0, offered_per_s / capacity_per_s) if capacity_per_s > 0.0 else 0.0
        curve_w = self._server.power_curve_w
        powers_w = {
            (cores, cap_w): min(cap_w, cores / self._server.cores * power_at_w(curve_w, len(curve_w), busy_ratio * speed))
            for (cores, cap_w), speed in speeds.items()
        }
        self._asked_w = [powers_w[pair] for pair in limits]
        return self._asked_w

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        """See `ports.ContainerWorkload`: where less was granted than asked for, workers were as fast as that allowed."""
        for k, (granted_w, asked_w) in enumerate(zip(served_w, self._asked_w, strict=True)):
            if granted_w < asked_w * (1.0 - _ROUNDING_RATIO):
                self._speeds[k] = min(self._speeds[k], self._speed_ratio(self._cores[k], granted_w))
        workers = self._workers()
        tick = service_tick(self.model, workers, self.backlog, self._rate_per_s, self.timeout_s, tick_s)
        self.arrived += self._rate_per_s * tick_s
        self.work_done += tick.served
        self.dropped += tick.dropped
        self.backlog = tick.backlog
        capacity = self.model.capacity_per_s(workers) * tick_s
        self.metrics = {
            "p95_ms": tick.p95_s * 1000.0,
            "mean_ms": tick.mean_s * 1000.0,
            "requests_per_s": self._rate_per_s,
            "queue": tick.backlog,
            "dropped_per_s": tick.dropped / tick_s,
            "workers": float(sum(cores > 0.0 for cores in self._cores)),
            "utilisation_ratio": tick.served / capacity if capacity > 0.0 else 0.0,
        }

    def _arrivals_per_s(self, now_s: float) -> float:
        rate = self._rate
        k = int((now_s - rate.start_s) / rate.step_s + 1e-6)
        return rate.values[k] if 0 <= k < len(rate.values) else 0.0

    def _speed_ratio(self, cores: float, power_w: float) -> float:
        if cores <= 0.0:
            return 0.0
        curve_w = self._server.power_curve_w
        return effective_cores(curve_w, len(curve_w), self._server.cores, cores, power_w) / cores

    def _workers(self) -> list[Workers]:
        """The running containers, those that are alike together."""
        alike: dict[tuple[float, float], int] = {}
        for pair in zip(self._cores, self._speeds, strict=True):
            if pair[0] > 0.0 and pair[1] > 0.0:
                alike[pair] = alike.get(pair, 0) + 1
        return [Workers(number, cores, speed) for (cores, speed), number in alike.items()]
