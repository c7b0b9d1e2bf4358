"""Where the server listens: TCP with or without TLS, Unix sockets that are somebody's own, and a listener for metrics alone.

Makes and removes the sockets. Who comes through a Unix socket is whoever the file's owner and mode let through, so each is made with mode
0600 and given to the app's user.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from ecovisor.model.errors import SettingsError

_LONGEST_PATH = 100  # sun_path holds 108 bytes on Linux, 104 elsewhere


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP port; requests on it need a token."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: a free one; `Server.addresses` has it."""
    certificate: Path | None = None
    """Chain of certificates (PEM); with it, TLS."""
    key: Path | None = None
    """Its key (PEM); None: in the same file."""
    metrics_only: bool = False
    """Serve `/metrics`, `/healthz` and `/readyz`, without a token, and nothing else."""


@dataclass(frozen=True, slots=True)
class Unix:
    """A Unix socket that is an app's own, or the operator's: who may open it needs no token."""

    path: Path
    app: str | None
    """None: the operator."""
    uid: int | None = None
    """Owner of the file; None: the user that the server runs as."""


Listener = Tcp | Unix


def bind(listener: Listener, *, allow_insecure: bool) -> socket.socket:
    """A bound socket.

    Raises:
        SettingsError: the address cannot be had, or lies beyond loopback without TLS and without ``allow_insecure``.
    """
    return _bind_unix(listener) if isinstance(listener, Unix) else _bind_tcp(listener, allow_insecure)


def address_of(listener: Listener, bound: socket.socket) -> str:
    """What a client connects to: ``http://127.0.0.1:7780``, ``unix:/run/…``."""
    if isinstance(listener, Unix):
        return f"unix:{listener.path}"
    host, port = bound.getsockname()[:2]
    scheme = "http" if listener.certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


# -- TCP


def _bind_tcp(listener: Tcp, allow_insecure: bool) -> socket.socket:
    where = f"server: listen {listener.host}:{listener.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            listener.host or None, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise SettingsError(where, f"no such address: {error}", "give an address of this machine, such as 127.0.0.1") from error
    if (
        listener.certificate is None
        and not allow_insecure
        and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
    ):
        raise SettingsError(
            where,
            "lies beyond loopback and has no TLS, so that everybody on the way can read the tokens",
            "give tls_certificate and tls_key, or set allow_insecure = true",
        )
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise SettingsError(where, f"cannot be had: {error.strerror}", "stop what listens there, or choose another port") from error
    return bound


# -- Unix


def _bind_unix(listener: Unix) -> socket.socket:
    path, where = listener.path, f"server: listen unix:{listener.path}"
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise SettingsError(where, f"is longer than {_LONGEST_PATH} bytes", "choose a shorter state_dir")
    _remove_stale(path, where)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        before = os.umask(0o177)  # nobody else may get in between bind and chown
        try:
            bound.bind(str(path))
        finally:
            os.umask(before)
        if listener.uid is not None and listener.uid != os.geteuid():
            os.chown(path, listener.uid, -1)
    except OSError as error:
        bound.close()
        path.unlink(missing_ok=True)
        raise SettingsError(where, f"cannot be made: {error.strerror}", "see that its folder exists and is writable") from error
    return bound


def _remove_stale(path: Path, where: str) -> None:
    """Remove the socket that a server left which did not end in order."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SettingsError(where, f"cannot be looked at: {error.strerror}", "see who owns its folder") from error
    if not stat.S_ISSOCK(mode):
        raise SettingsError(where, "there is a file that is no socket", "move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise SettingsError(where, "somebody listens there already", "stop that server, or choose another state_dir")
