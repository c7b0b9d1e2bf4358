"""The keeper's event loop: descriptors, and timers that are exact to a fraction of a millisecond."""

from __future__ import annotations

import heapq
import itertools
import select
import sys
import time
import traceback
from collections.abc import Callable

Callback = Callable[[], None]


class Timer:
    """Something to be done later, once."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Not any more."""
        self.callback = None


class Loop:
    """One thread, no waiting but here."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._serial = itertools.count()
        self.running = True

    @staticmethod
    def now_s() -> float:
        """A clock that never jumps. [s]"""
        return time.monotonic()

    def watch(self, descriptor: int, callback: Callback, *, writing: bool = False) -> None:
        """Call when there is something to read, or that its other end was closed; with ``writing`` also when there is room to write."""
        events = select.EPOLLIN | (select.EPOLLOUT if writing else 0)
        if descriptor in self._callbacks:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Before it is closed."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def at(self, when_s: float, callback: Callback) -> Timer:
        """Call at an instant of `now_s`."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (when_s, next(self._serial), timer))
        return timer

    def after(self, delay_s: float, callback: Callback) -> Timer:
        """Call after a time."""
        return self.at(self.now_s() + delay_s, callback)

    def run(self) -> None:
        """Until `running` is false."""
        while self.running:
            while self._timers and self._timers[0][2].callback is None:
                heapq.heappop(self._timers)
            wait_s = max(0.0, self._timers[0][0] - self.now_s()) if self._timers else None
            ready = select.select([self._epoll], [], [], wait_s)[0]  # epoll itself counts in milliseconds
            self._due()
            for descriptor, _ in self._epoll.poll(0) if ready else ():
                if callback := self._callbacks.get(descriptor):
                    self._call(callback)

    def _due(self) -> None:
        while self.running and self._timers and self._timers[0][0] <= self.now_s():
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                self._call(callback)

    @staticmethod
    def _call(callback: Callback) -> None:
        try:
            callback()
        except Exception:  # one container's trouble must not end the keeper of all
            traceback.print_exc(file=sys.stderr)

    def close(self) -> None:
        """Let go of the kernel's side."""
        self._epoll.close()
