"""A policy drives a live app: the same object, called at the same moments, as in a simulation.

Owns those moments: `start` before the first tick, `start` again where a built-in policy takes its thresholds anew, `tick` at every tick.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ecovisor.client.blocking import App
from ecovisor.model.errors import PolicyError, Unavailable
from ecovisor.policies.battery_arbitrage import BatteryArbitrage
from ecovisor.policies.static_carbon_rate import StaticCarbonRate
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.wait_and_scale import WaitAndScale
from ecovisor.ports import Policy

_BUILT_IN = (BatteryArbitrage, StaticCarbonRate, SuspendResume, WaitAndScale)
#: Told after every tick what the policy raised, if it did.
After = Callable[[App, PolicyError | None], None]


def drive(app: App, policy: Policy, *, ticks: int | None = None, keep_going: bool = False, after: After | None = None) -> int:
    """Let a policy drive an app, beginning with the present tick.

    Args:
        app: connected.
        policy: has ``tick(energy, app)``; may have ``start(energy)``, which is called once, of built-in policies again after their
            ``refresh_s``.
        ticks: how many to drive; None: until the app is closed.
        keep_going: go on at the next tick when the policy has raised.
        after: called after every tick.

    Returns:
        How many ticks were driven.

    Raises:
        PolicyError: the policy raised, and is not to be kept going; names the tick.
    """
    turn = _Turn(policy, keep_going, after)
    return app.run(ticks, callback=lambda _, __: turn.take(app))


class _Turn:
    def __init__(self, policy: Policy, keep_going: bool, after: After | None) -> None:
        self._policy = policy
        self._start: Callable[[Any], None] | None = getattr(policy, "start", None)
        self._refresh_s: float | None = policy.refresh_s if isinstance(policy, _BUILT_IN) else None
        self._keep_going = keep_going
        self._after = after
        self._next_start: float = 0.0
        self._started = False

    def take(self, app: App) -> None:
        failed: PolicyError | None = None
        try:
            self._begin(app)
            self._policy.tick(app, app)
        except Unavailable:
            raise
        except Exception as error:
            now = app.snapshot
            failed = PolicyError(app.name, now.tick, now.time, error)
            if not self._keep_going:
                raise failed from error
        if self._after is not None:
            self._after(app, failed)

    def _begin(self, energy: App) -> None:
        """Call `start`, before the first tick and whenever the policy wants its thresholds taken anew."""
        tick = energy.snapshot.tick
        due = self._started and self._refresh_s is not None and tick >= self._next_start
        if self._start is not None and (due or not self._started):
            self._start(energy)
            self._next_start = tick + max(1, round((self._refresh_s or 0.0) / energy.tick_s))
        self._started = True
