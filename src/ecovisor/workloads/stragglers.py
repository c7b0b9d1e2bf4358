"""Stragglers: tasks that take longer than their like, injected at random and the same whatever the policy does.

A draw belongs to its place (seed, step, node, attempt) and to nothing else, so that two policies meet the same stragglers.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1


def chance(*place: int) -> float:
    """A number in [0, 1), uniform, fixed by the integers that say where it is drawn (SplitMix64: Steele et al., OOPSLA 2014). [1]"""
    state = 0
    for part in place:
        state = _mixed((state ^ (part & _MASK)) + 0x9E3779B97F4A7C15)
    return (state >> 11) * 2.0**-53


def _mixed(state: int) -> int:
    state &= _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def slowdown(straggler_ratio: float, worst: float, *place: int) -> float:
    """How many times longer a task takes: 1, but for a part ``straggler_ratio`` of them uniform between 1 and ``worst``. [1]"""
    if chance(*place, 0) >= straggler_ratio:
        return 1.0
    return 1.0 + (worst - 1.0) * chance(*place, 1)
