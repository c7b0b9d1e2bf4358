"""How long a client waits, and how it comes back: deadlines, and attempts with growing delays until one works."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from ecovisor.client.exchange import Exchange
from ecovisor.client.problems import Busy
from ecovisor.model.errors import Unavailable

T = TypeVar("T")
INFINITY = float("inf")
logger = logging.getLogger("ecovisor.client")


class Ended(Exception):
    """The app was closed here while something waited."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Durations in wall time; the defaults suit a server of one's own site."""

    timeout_s: float = 10.0
    """For an answer. [s]"""
    silence_s: float = 45.0
    """For a sign of life in the stream of events; three of the server's heart-beats. [s]"""
    first_delay_s: float = 0.2
    """Before the first attempt to come back. [s]"""
    longest_delay_s: float = 5.0
    """Between two attempts, before chance makes it longer. [s]"""
    give_up_s: float = INFINITY
    """Without any contact, until the loss is raised as `Unavailable`; infinite: never. [s]"""

    def delay_s(self, failures: int, chance: float, wanted_s: float = 0.0) -> float:
        """How long to wait after so many failures in a row: doubled each time, and by chance up to half longer. [s]

        Chance keeps the clients of a server that restarts from coming back all at once.

        Args:
            failures: attempts that failed, at least 1.
            chance: in [0, 1).
            wanted_s: the least that the server asked for; heeded up to the longest delay. [s]
        """
        doubled_s = self.first_delay_s * 2.0 ** min(failures - 1, 60)
        return min(max(doubled_s, wanted_s), self.longest_delay_s) * (1.0 + 0.5 * chance)


async def persist(
    exchange: Exchange, patience: Patience, attempt: Callable[[], Awaitable[T]], wanted_s: Callable[[], float] = lambda: 0.0
) -> T:
    """Try until it works.

    Args:
        exchange: the server; its transport waits between attempts.
        patience: how long.
        attempt: what is tried; only `Unavailable` is worth another attempt, anything else comes out.
        wanted_s: how long the server wants its clients to wait. [s]

    Raises:
        Ended: the app was closed.
        Unavailable: without any contact for longer than patience has.
    """
    failures, lost_s = 0, 0.0
    while True:
        if exchange.closed:
            raise Ended
        try:
            result = await attempt()
        except Exception as error:
            if exchange.closed:
                raise Ended from None
            if not isinstance(error, Unavailable):
                raise
            now_s = exchange.transport.monotonic_s()
            lost_s = now_s if failures == 0 else lost_s
            if now_s - lost_s >= patience.give_up_s:
                raise
            failures += 1
            wanted = error.wanted_s if isinstance(error, Busy) else wanted_s()
            delay_s = patience.delay_s(failures, random.random(), wanted)
            logger.log(logging.WARNING if failures == 1 else logging.DEBUG, "%s; again in %.1f s", error, delay_s)
            await exchange.transport.sleep(delay_s)
        else:
            if failures:
                logger.info("back after %.1f s", exchange.transport.monotonic_s() - lost_s)
            return result
