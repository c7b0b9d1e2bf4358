"""Token buckets by name: how often somebody may do something."""

from __future__ import annotations

from collections import OrderedDict


class Throttle:
    """A bucket for each key; each holds up to ``burst`` and fills at ``rate_per_s``.

    Args:
        rate_per_s: of filling. [1/s]
        burst: what a bucket holds at most, and at first.
        keep: buckets that are remembered; the one unused for longest is forgotten first.
    """

    def __init__(self, rate_per_s: float, burst: float, *, keep: int = 10_000) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._keep = keep
        self._buckets: OrderedDict[str, list[float]] = OrderedDict()  # [level, at_s]

    def wait_s(self, key: str, now_s: float) -> float:
        """Take one from the bucket; 0 if there was one, else how long until there is. [s]"""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = [self._burst - 1.0, now_s]
            if len(self._buckets) > self._keep:
                self._buckets.popitem(last=False)
            return 0.0
        self._buckets.move_to_end(key)
        level = bucket[0] + (now_s - bucket[1]) * self._rate_per_s
        if level > self._burst:
            level = self._burst
        bucket[1] = now_s
        if level < 1.0:
            bucket[0] = level
            return (1.0 - level) / self._rate_per_s
        bucket[0] = level - 1.0
        return 0.0
