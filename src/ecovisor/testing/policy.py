"""What every policy must do: see `PolicyContract`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ecovisor.engine.loop import Loop
from ecovisor.ports import AppView, Policy, VirtualEnergy
from ecovisor.testing.sites import APP, START_S, small_site
from ecovisor.workloads.models import BatchJob, ConstantDemand

_TICK_S = 900.0
_DAY = round(86400.0 / _TICK_S)
#: Infinite means "no limit" to these.
_MAY_BE_INFINITE = ("set_container_powercap", "set_battery_max_discharge", "set_app_powercap")
_SETTERS = (
    *_MAY_BE_INFINITE,
    "set_battery_charge_rate",
    "set_carbon_rate",
    "set_carbon_budget",
    "scale_containers",
    "add_container",
    "remove_container",
    "resize_container",
    "suspend_container",
    "resume_container",
)

#: What a policy set: tick, function, arguments.
Setting = tuple[int, str, tuple[object, ...]]


class _Watched:
    """A virtual energy system that notes what is set on it."""

    def __init__(self, energy: VirtualEnergy, settings: list[Setting]) -> None:
        self._energy = energy
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._energy, name)
        if name not in _SETTERS:
            return value

        def set_and_note(*arguments: object, **named: object) -> Any:
            self._settings.append((self._energy.effective_tick, name, (*arguments, *named.values())))
            return value(*arguments, **named)

        return set_and_note


class _Noting:
    """A policy whose settings are noted."""

    def __init__(self, policy: Policy, settings: list[Setting]) -> None:
        self._policy = policy
        self._settings = settings

    def start(self, energy: VirtualEnergy) -> None:
        start: Callable[[VirtualEnergy], None] | None = getattr(self._policy, "start", None)
        if start is not None:
            start(energy)

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        watched: Any = _Watched(energy, self._settings)
        self._policy.tick(watched, app)


class PolicyContract:
    """Inherit, and give `make()`: a new policy, as a scenario would make it for one app.

    The policy drives an app with two containers, half of a battery, of a solar array and of a limited grid connection, for a few
    days: in ordinary days, with an unknown carbon intensity, without a battery, with a job that has been completed, at ticks of a
    minute and of an hour. It never raises, never sets anything but finite values of at least 0 (infinite where that means "no
    limit"), sets the same in the same situation, and shares nothing with another instance of it.
    """

    def make(self) -> Policy:
        """A new policy."""
        raise NotImplementedError("give make()")

    def run(self, days: float = 3.0, *, copies: int = 1, **site: Any) -> list[list[Setting]]:
        """Run the policy on a small site (see `small_site`) and return what each copy set; raises what the policy raises."""
        made: list[list[Setting]] = []

        def make() -> Policy:
            made.append([])
            return _Noting(self.make(), made[-1])

        tick_s = site.pop("tick_s", _TICK_S)
        running = small_site(make, days=days, tick_s=tick_s, copies=copies, **site)
        Loop(running).run(round(days * 86400.0 / tick_s))
        return made[:copies]

    def test_ordinary_days(self) -> None:
        _all_finite(self.run())

    def test_an_unknown_carbon_intensity(self) -> None:
        ticks = 3 * _DAY
        some = [math.nan if _DAY <= k < 2 * _DAY else 200.0 for k in range(ticks)]
        _all_finite(self.run(carbon_intensity_g_per_kwh=some))
        _all_finite(self.run(carbon_intensity_g_per_kwh=[math.nan] * ticks))

    def test_a_grid_without_carbon(self) -> None:
        _all_finite(self.run(carbon_intensity_g_per_kwh=[0.0] * (3 * _DAY)))

    def test_no_battery_and_no_sun(self) -> None:
        _all_finite(self.run(battery=None))
        _all_finite(self.run(battery=None, solar_w=[0.0] * (3 * _DAY)))

    def test_a_completed_job(self) -> None:
        _all_finite(self.run(workload=BatchJob(work_core_h=4.0, start_s=START_S)))

    def test_a_job_that_starts_later(self) -> None:
        _all_finite(self.run(workload=BatchJob(work_core_h=100.0, start_s=START_S + 86400.0)))

    def test_a_workload_without_end(self) -> None:
        _all_finite(self.run(workload=ConstantDemand(demand_w=8.0)))

    def test_a_grid_that_gives_nothing(self) -> None:
        _all_finite(self.run(grid_limit_w=0.0))

    def test_ticks_of_a_minute_and_of_an_hour(self) -> None:
        _all_finite(self.run(0.5, tick_s=60.0))
        _all_finite(self.run(3.0, tick_s=3600.0))

    def test_the_same_situation_the_same_settings(self) -> None:
        assert self.run(2.0) == self.run(2.0), "two runs of the same days differ: is there a clock, or chance without a seed?"

    def test_two_instances_share_nothing(self) -> None:
        first, second = self.run(2.0, copies=2)
        assert first == second, f"two copies of {APP!r} in the same situation set different values: do they share state?"


def _all_finite(made: Sequence[Sequence[Setting]]) -> None:
    for settings in made:
        for tick, name, arguments in settings:
            for value in arguments:
                if isinstance(value, (int, float)):
                    assert value >= 0.0, f"tick {tick}: {name}({value!r}); a setting is at least 0"
                    finite = value < math.inf or name in _MAY_BE_INFINITE
                    assert finite, f"tick {tick}: {name}({value!r}); only a cap or the largest discharge may be infinite"
