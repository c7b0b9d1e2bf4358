"""When processes that may use so much of a core run, and when they are stopped: the arithmetic alone, without a clock or a signal.

Time is cut into periods. In each the processes run until they have used what the limit allows in a period, and are stopped for the
rest. What they used beyond it (a process is stopped a little late, or had children that were seen too late) is taken off the next
periods, so that errors do not add up. `sessions` measures and signals.
"""

from __future__ import annotations

import math

#: Divides a second, so that any tick of whole seconds holds whole periods. [s]
PERIOD_S = 0.1

#: What is aimed at over what is allowed: a processor is left a little late, never early. [1]
AIM_RATIO = 0.98

#: Of what was left over in a period, so much of a period's allowance may be used later. [1]
CARRIED_RATIO = 0.25

#: What was used too much is forgotten beyond the allowance of this time: nothing stands still for long. [s]
LONGEST_DEBT_S = 1.0

#: Processes that become busy are noticed within this time, when their allowance is smaller: if they were busy lately, and if not. [s]
_POLL_S = 0.005
_IDLE_POLL_S = 0.02

#: Busy is what uses more. [cores]
_BUSY_CORES = 0.05

#: How much a kernel may be behind with the CPU time of a process that is running: a tick of its clock, at most. [s]
_STALE_S = 0.01

#: Not worth a signal. [s]
_SLIVER_S = 0.0002

#: What was stopped has come to rest after this time, and what it used is known exactly. If it had to wait for a CPU, so that more than
#: this part of an allowance is left, it goes on. [s, 1]
_SETTLED_S = 0.001
_AGAIN_RATIO = 0.2

#: Periods whose fastest use predicts the next. [1]
_REMEMBERED = 5


class Throttle:
    """Decides for one container.

    Args:
        limit_cores: CPU time over wall time that it may use. [cores]
        cpus: CPUs that it may run on at once. [1]
        phase_ratio: where in a period its periods begin, so that containers do not all start at once. [1]
    """

    __slots__ = (
        "_allowance_s", "_assumed_s", "_ceiling_s", "_cpus", "_last_s", "_more_s", "_phase_ratio", "_ran_s", "_rate_cores", "_rates",
        "_start_s", "_told_s", "_used_at_start_s", "limit_cores", "running",
    )  # fmt: skip

    def __init__(self, limit_cores: float, cpus: int, phase_ratio: float = 0.0) -> None:
        self.running = True
        self.limit_cores = limit_cores
        self._allowance_s = limit_cores * PERIOD_S * AIM_RATIO
        self._more_s = 0.0
        self._cpus = cpus
        self._phase_ratio = phase_ratio
        self._start_s = math.nan
        self._rates: list[float] = []
        self._rate_cores = 1.0
        self._ceiling_s = self._last_s = self._ran_s = 0.0
        self._used_at_start_s = self._assumed_s = self._told_s = 0.0

    def change(self, limit_cores: float) -> None:
        """Set another limit; it governs from the next step on, which is due now."""
        before_s = self._allowance_s
        self.limit_cores = limit_cores
        self._allowance_s = limit_cores * PERIOD_S * AIM_RATIO
        self._more_s += self._allowance_s - before_s

    def begins(self, now_s: float) -> bool:
        """Whether the next step begins a period, so that it should be told an exact `used_s`."""
        return not now_s < self._start_s + PERIOD_S

    def step(self, now_s: float, used_s: float, threads: int) -> tuple[bool, float]:
        """What to do now.

        Args:
            now_s: the present, on any clock that does not jump. [s]
            used_s: CPU time used so far, which may be behind by a tick of the kernel while the processes run. [s]
            threads: of all processes together.

        Returns:
            Whether they run from now on, and when to ask again. [s]
        """
        fastest_cores = float(max(1, min(threads, self._cpus)))
        ran, enough_s = self.running, _SLIVER_S
        if math.isnan(self._start_s):
            self._begin(now_s, used_s, fastest_cores)
        elif now_s >= self._start_s + PERIOD_S:
            self._next_period(now_s, used_s, fastest_cores)
        elif not ran:
            self._assumed_s, enough_s = used_s, _AGAIN_RATIO * self._allowance_s
        else:
            elapsed_s = now_s - self._last_s
            self._ran_s += elapsed_s
            if elapsed_s > 0.0:
                self._rate_cores = max(self._rate_cores, min((used_s - self._told_s) / elapsed_s, fastest_cores))
            self._assumed_s = max(used_s, min(self._assumed_s + self._rate_cores * elapsed_s, used_s + _STALE_S * fastest_cores))
        self._last_s, self._told_s = now_s, used_s
        end_s = self._start_s + PERIOD_S
        if self._more_s != 0.0:  # the limit was changed: what it allows more or less for the rest of this period
            self._ceiling_s += self._more_s * (end_s - now_s) / PERIOD_S
            self._more_s = 0.0
        left_s = self._ceiling_s - self._assumed_s
        self.running = left_s > enough_s
        if not self.running:
            return False, min(now_s + _SETTLED_S, end_s) if ran else end_s
        # No use is faster than one core for each thread; by what was seen lately it takes longer, but not unwatched.
        earliest_s, expected_s = left_s / fastest_cores, left_s / self._rate_cores
        poll_s = _POLL_S if self._rate_cores > _BUSY_CORES else _IDLE_POLL_S
        return True, min(end_s, now_s + max(min(expected_s, max(earliest_s, poll_s)), _SLIVER_S))

    def _begin(self, now_s: float, used_s: float, fastest_cores: float) -> None:
        """The first period, of which a part has passed."""
        self._more_s = 0.0
        self._start_s = now_s - PERIOD_S * self._phase_ratio
        self._ceiling_s = used_s + self._allowance_s * (1.0 - self._phase_ratio)
        self._rate_cores = max(self._rate_cores, fastest_cores)
        self._open(used_s)

    def _next_period(self, now_s: float, used_s: float, fastest_cores: float) -> None:
        """What is allowed until the end of the period that has begun, from what was used until now."""
        if self.running:
            self._ran_s += now_s - self._last_s
        if self._ran_s > 0.0:
            self._rates = [*self._rates, (used_s - self._used_at_start_s) / self._ran_s][-_REMEMBERED:]
            self._rate_cores = min(max(*self._rates, _BUSY_CORES), fastest_cores)
        self._more_s = 0.0
        passed = int((now_s - self._start_s) / PERIOD_S)
        self._start_s += passed * PERIOD_S
        kept_s = min(self._ceiling_s + (passed - 1) * self._allowance_s, used_s + CARRIED_RATIO * self._allowance_s)
        kept_s = max(kept_s, used_s - LONGEST_DEBT_S * self.limit_cores)
        self._ceiling_s = kept_s + self._allowance_s
        self._open(used_s)

    def _open(self, used_s: float) -> None:
        self._used_at_start_s = self._assumed_s = used_s
        self._ran_s = 0.0
