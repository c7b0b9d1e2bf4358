"""A live site in a thread of the test: the real driver, REST interface, ledger and sockets; lockstep, so that no clock matters."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from ecovisor.adapters.scenario_files import load_scenario
from ecovisor.assembly.live import LiveSite, open_site

T = TypeVar("T")


class Served:
    """Serves a site file until the `with` block ends."""

    def __init__(self, file: Path, overrides: list[str] | None = None) -> None:
        self._file, self._overrides = file, overrides or []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None
        self.site: LiveSite
        self.loop: asyncio.AbstractEventLoop

    def _run(self) -> None:
        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            try:
                scenario, folder = load_scenario(str(self._file), self._overrides)
                self.site = await open_site(scenario, folder)
            except BaseException as error:
                self._failure = error
                return
            finally:
                self._ready.set()
            try:
                await self.site.run()
            except BaseException as error:
                self._failure = error
            finally:
                await self.site.close()

        asyncio.run(main())

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.loop.call_soon_threadsafe(self.site.stop)
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run something in the site's event loop."""
        return asyncio.run_coroutine_threadsafe(make(), self.loop).result(30.0)

    def wait_for_tick(self, tick: int) -> None:
        """Until it has been published."""
        self.call(lambda: self.site.ecovisor.wait_published(tick - 1))

    def socket(self, app: str | None) -> str:
        """An app's own."""
        return str(self.site.socket_of(app))
