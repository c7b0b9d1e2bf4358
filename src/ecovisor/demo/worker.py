"""A worker that counts its own work: units of hashing, as fast as it is allowed to, told once a second on its output and to the ecovisor.

What it says of itself comes from its own loop and clock, not from anybody's meter. Standard library only, so that it starts quickly even
under a small cap.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import time

#: Rounds of SHA-256 in a unit of work: about 5 ms of a core.
_ROUNDS = 10_000
_EVERY_S = 1.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("ecovisor", timeout=1.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def work_unit(seed: int) -> bytes:
    """One unit of work."""
    return hashlib.pbkdf2_hmac("sha256", b"ecovisor", seed.to_bytes(8, "big"), _ROUNDS)


def tell(units: int, units_per_s: float) -> None:
    """Say it, and tell the ecovisor if there is one."""
    print(json.dumps({"units": units, "units_per_s": round(units_per_s, 3)}), flush=True)
    path = os.environ.get("ECOVISOR_SOCKET")
    if path is None:
        return
    connection = _UnixConnection(path)
    try:
        body = json.dumps({"metrics": {"units_per_s": units_per_s}, "work_done": units})
        connection.request("PUT", "/v1/app/metrics", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):  # it will be told the next time
        pass
    finally:
        connection.close()


def main() -> None:
    """Work until somebody ends it."""
    units = told_units = 0
    told_s = time.monotonic()
    while True:
        work_unit(units)
        units += 1
        elapsed_s = time.monotonic() - told_s
        if elapsed_s >= _EVERY_S:
            tell(units, (units - told_units) / elapsed_s)
            told_units, told_s = units, told_s + elapsed_s


if __name__ == "__main__":
    main()
