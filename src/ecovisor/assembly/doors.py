"""Each app's own Unix socket, which comes and goes with the app: who may open the file needs no token."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ecovisor.adapters.platforms.process.platform import ProcessPlatform
from ecovisor.adapters.sockets import socket_path
from ecovisor.api.listening import Unix
from ecovisor.api.server import Server
from ecovisor.ports.live import Platform


class Doors:
    """Implements `ecovisor.live.ecovisor.Doors`.

    Args:
        state_dir: where the sockets lie.
        platform: knows the users that apps' containers run as, once it is open; a socket belongs to its app's user.
    """

    def __init__(self, state_dir: Path, platform: Platform) -> None:
        self._state_dir, self._platform = state_dir, platform
        self.server: Server | None = None
        """Listens on them; None: nobody does."""

    async def open(self, app: str) -> None:
        """Raises `SettingsError`: it cannot be made."""
        if self.server is not None:
            uid = self._platform.user(app) if isinstance(self._platform, ProcessPlatform) else None
            await self.server.listen(Unix(socket_path(self._state_dir, app), app, uid))

    async def close(self, app: str) -> None:
        """Whoever is connected is let go."""
        if self.server is not None:
            await self.server.unlisten(app)

    def environment(self, app: str) -> Mapping[str, str]:
        """What an app's containers are told of the ecovisor."""
        told = {"ECOVISOR_APP": app, "ECOVISOR_SOCKET": str(socket_path(self._state_dir, app))}
        if self.server is not None:
            told["ECOVISOR_URL"] = self.server.addresses[0]
        return told
