"""What server and keeper say to each other: JSON objects behind their length, over a Unix socket.

A request has a number ``n`` and what to ``do``; its answer has the same ``n`` and one of ``ok``, ``refused``, ``unavailable``. An
infinite limit is null.
"""

from __future__ import annotations

import json
import math
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Changes whenever an older keeper would not understand a newer server, or the other way round.
PROTOCOL = 1

LENGTH = struct.Struct(">I")

Message = dict[str, Any]


def framed(message: Message) -> bytes:
    """A message as it travels."""
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    return LENGTH.pack(len(body)) + body


class Unframing:
    """Finds messages in what arrives in pieces."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[Message]:
        """Messages that are complete with ``data``."""
        self._pending += data
        found = []
        while len(self._pending) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._pending)[0]
            if len(self._pending) < end:
                break
            found.append(json.loads(self._pending[LENGTH.size : end]))
            self._pending = self._pending[end:]
        return found


def cores_out(cores: float) -> float | None:
    """A limit as it travels."""
    return None if math.isinf(cores) else cores


def cores_in(cores: float | None) -> float:
    """A limit that has travelled."""
    return math.inf if cores is None else float(cores)


@contextmanager
def short_path(folder: Path, name: str) -> Iterator[str]:
    """A path for a Unix socket in ``folder`` that fits the 107 bytes that an address may have, however deep the folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def peer_pid(connection: socket.socket) -> int:
    """Process at the other end of a connected Unix socket."""
    pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid
