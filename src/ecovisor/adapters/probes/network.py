"""Probes of addresses: can a server listen there, and is it allowed to beyond this machine."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
from pathlib import Path

from ecovisor.adapters.probes import Finding, State


def probe_listen(address: str, field: str = "server.listen") -> Finding:
    """Whether a server could listen at ``host:port``: really binds, for an instant."""
    subject = f"address {field.rpartition('.')[2]}"
    host, _, port = address.rpartition(":")
    remedy = f"choose another, for example {field} = 127.0.0.1:0 (any free port)"
    try:
        if not 0 <= int(port) <= 65535:
            raise ValueError(port)
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen()
    except ValueError:
        problem = f"{address!r} is no host:port"
    except OSError as error:
        problem = f"{address} {_why(error)}"
    else:
        return Finding(subject, State.OK, f"{address} is free")
    return Finding(subject, State.MISSING, problem, "serve cannot start", remedy, blocks_serve=True)


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is in use by another process"
    if error.errno == errno.EACCES:
        return "may not be opened by this user"
    return f"cannot be opened ({error.strerror or error})"


def probe_protection(address: str, certificate: Path | None, key: Path | None, *, allow_insecure: bool) -> Finding:
    """Whether what travels to and from an address is protected: really loads the certificate."""
    subject = "protection"
    if certificate is not None and key is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            problem = f"{certificate} with {key}: {error.strerror or error}"
            remedy = "name a certificate chain and its key, both PEM"
            return Finding(subject, State.MISSING, problem, "serve cannot start", remedy, blocks_serve=True)
        return Finding(subject, State.OK, f"TLS with {certificate}")
    if is_loopback(address.rpartition(":")[0].strip("[]")):
        return Finding(subject, State.OK, "only this machine can reach it")
    if allow_insecure:
        follows = "everybody on the way can read the tokens"
        return Finding(subject, State.LIMITED, f"{address} without TLS", follows, "give tls_certificate and tls_key")
    remedy = "give tls_certificate and tls_key, listen on 127.0.0.1, or set allow_insecure = true"
    return Finding(
        subject, State.MISSING, f"{address} is beyond this machine, without TLS", "serve refuses", remedy, blocks_serve=True
    )


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
