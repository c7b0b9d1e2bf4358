"""Which streams are open: how many somebody may have, and the end of somebody's, or of all, when there is reason to."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from ecovisor.api.problems import Rejected
from ecovisor.api.tokens import Principal


class Streams:
    """The open streams of an interface.

    Args:
        most: that one principal may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._closed = False

    @property
    def count(self) -> int:
        """How many are open."""
        return sum(len(ends) for ends in self._open.values())

    def close_all(self) -> None:
        """Have all streams end soon, and those that are still to be opened at once."""
        self._closed = True
        for name in list(self._open):
            self.close(name)

    def close(self, name: str) -> None:
        """Have a principal's streams end soon: its token was replaced, or it has left."""
        for end in self._open.get(name, ()):
            if not end.done():
                end.set_result(None)

    @contextmanager
    def opened(self, principal: Principal | None) -> Iterator[asyncio.Future[None]]:
        """A stream is open; yields what is done once it has to end.

        Raises:
            Rejected: 429 beyond the limit.
        """
        name = "" if principal is None else principal.name
        if len(self._open.get(name, ())) >= self._most:
            raise Rejected(
                429,
                "streams",
                f"{self._most} streams are open already",
                bound=self._most,
                remedy="close one",
                headers=[(b"retry-after", b"5")],
            )
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed:
            end.set_result(None)
        self._open[name].add(end)
        try:
            yield end
        finally:
            self._open[name].discard(end)
            if not self._open[name]:
                del self._open[name]
