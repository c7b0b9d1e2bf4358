"""The snapshot that getters answer from, and what has been set since: pure state, no network.

Within a tick's callback it stands still, so that a policy sees one moment. Elsewhere it may be used for a tenth of a tick, at most a
second, before the server is asked whether there is a newer one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ecovisor import wire

_LONGEST_USE_S = 1.0


class Held:
    """What is known of the app.

    Args:
        snapshot: the first one.
        etag: its tag.
        now_s: when it came. [s, monotonic]
    """

    def __init__(self, snapshot: wire.Snapshot, etag: str, now_s: float) -> None:
        self.standing_still = False
        self.snapshot = snapshot
        self.answers: list[wire.SettingAnswer] = []
        """To the settings made since the tick's first snapshot."""
        self.take(snapshot, etag, now_s)

    def take(self, snapshot: wire.Snapshot, etag: str, now_s: float) -> None:
        """A newer snapshot; everything set before is in it."""
        if snapshot.tick != self.snapshot.tick:
            self.answers = []
        self.snapshot = snapshot
        self.etag = etag
        self.containers: Sequence[wire.ContainerView] | None = snapshot.containers
        """None: changed since, and to be asked for when needed."""
        self.idle_power_w: float | None = snapshot.load.idle_power_w
        """None: changed since. [W]"""
        self.effective_tick = snapshot.effective_tick
        self.confirmed(now_s)

    def confirmed(self, now_s: float) -> None:
        """It is still the newest."""
        wall_tick_s = self.snapshot.tick_s / self.snapshot.compression if self.snapshot.compression > 0.0 else _LONGEST_USE_S
        self._use_until_s = now_s + min(wall_tick_s / 10.0, _LONGEST_USE_S)

    def usable(self, now_s: float) -> bool:
        """Whether getters may answer from it without asking the server."""
        return self.standing_still or now_s < self._use_until_s

    def answered(self, answer: wire.SettingAnswer, *, containers: bool, idle: bool) -> None:
        """A setting was accepted.

        Args:
            answer: the server's.
            containers: it may have changed containers or their caps.
            idle: it may have changed what the containers draw without load.
        """
        self.answers.append(answer)
        self.effective_tick = max(self.effective_tick, answer.effective_tick)
        if containers:
            self.containers = None
        if idle:
            self.idle_power_w = None
