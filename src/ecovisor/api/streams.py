"""Which streams are open: how many somebody may have, and the end of all of them when the server stops."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from ecovisor.api.problems import Rejected
from ecovisor.api.tokens import Principal


class Streams:
    """The open streams of an interface.

    Args:
        most: that one principal may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @cached_property
    def closing(self) -> asyncio.Future[None]:
        """Done once all streams are to end; belongs to the running loop."""
        return asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """Have all streams end soon."""
        if not self.closing.done():
            self.closing.set_result(None)

    @contextmanager
    def opened(self, principal: Principal | None) -> Iterator[None]:
        """Count a stream while it is open. Raises `Rejected` with 429 beyond the limit."""
        name = "" if principal is None else principal.name
        if self._open[name] >= self._most:
            raise Rejected(
                429,
                "streams",
                f"{self._most} streams are open already",
                bound=self._most,
                remedy="close one",
                headers=[(b"retry-after", b"5")],
            )
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]
