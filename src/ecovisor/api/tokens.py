"""Who somebody is: tokens of 256 random bits, one for each app and one for the operator, of which only the SHA-256 is kept.

A presented token is hashed and its hash looked up in a dictionary. The time that takes depends on the hash, which nobody can steer
towards a stored one bit by bit, so it tells nothing about stored tokens: constant time by construction, and one access whatever their
number. The registry holds one record for each principal, so that a rotation is one durable write.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ecovisor.api.backend import Registry

OPERATOR = "_operator"
_KIND = "tokens"
_BYTES = 32


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose request it is."""

    app: str | None
    """None: the operator."""
    name: str
    """The app, or `_operator`; the key of its limits and its name in logs."""
    expires_s: float | None = None
    """Wall time; None: does not expire. [s since the epoch]"""
    digest: bytes = b""
    """Of its token; empty for somebody who came through a socket of their own."""


def principal_of(app: str | None) -> Principal:
    """Who comes through a socket that is an app's own, or the operator's (None)."""
    return Principal(app, OPERATOR if app is None else app)


class _Stored(msgspec.Struct, frozen=True):
    sha256: bytes
    expires_s: float | None = None


class Tokens:
    """All tokens, in memory and in the registry.

    `find` is quick; everything else waits for the disk and is called off the event loop, one call at a time.

    Args:
        registry: where hashes are kept.
        wall_s: wall time. [s since the epoch]
    """

    def __init__(self, registry: Registry, wall_s: Callable[[], float]) -> None:
        self._registry = registry
        self._wall_s = wall_s
        self._by_digest: dict[bytes, Principal] = {}

    def load(self) -> None:
        """Read what the registry holds. Raises `StoreError`."""
        found: dict[bytes, Principal] = {}
        for name, record in self._registry.items(_KIND):
            for stored in msgspec.json.decode(record, type=list[_Stored]):
                found[stored.sha256] = _principal(name, stored)
        self._by_digest = found

    def find(self, token: bytes) -> Principal | None:
        """Whose token it is; None: nobody's, or no longer valid."""
        found = self._by_digest.get(hashlib.sha256(token).digest())
        if found is None or (found.expires_s is not None and self._wall_s() >= found.expires_s):
            return None
        return found

    def holds(self, principal: Principal) -> bool:
        """Whether somebody who was found earlier may still go on: streams ask this again and again."""
        if not principal.digest:
            return True
        known = self._by_digest.get(principal.digest)
        return known is not None and (known.expires_s is None or self._wall_s() < known.expires_s)

    def known(self, app: str | None) -> bool:
        """Whether an app, or the operator (None), has a token."""
        return any(principal.app == app for principal in self._by_digest.values())

    def issue(self, app: str | None, *, lifetime_s: float | None = None, grace_s: float = 0.0) -> str:
        """Make a new token; earlier ones end at once, or after ``grace_s``.

        Args:
            app: whose it is; None: the operator's.
            lifetime_s: until it expires; None: never. [s, wall time]
            grace_s: for which the token before goes on. [s, wall time]

        Returns:
            The token; it is not kept.

        Raises:
            StoreError: it could not be stored; earlier tokens stay as they were.
        """
        name = OPERATOR if app is None else app
        token = f"eco_{'op' if app is None else 'app'}_{secrets.token_urlsafe(_BYTES)}"
        now_s = self._wall_s()
        stored = [_Stored(hashlib.sha256(token.encode()).digest(), None if lifetime_s is None else now_s + lifetime_s)]
        if grace_s > 0.0:
            ends_s = now_s + grace_s
            stored += [
                _Stored(one.digest, ends_s if one.expires_s is None else min(one.expires_s, ends_s))
                for one in self._by_digest.values()
                if one.name == name and (one.expires_s is None or one.expires_s > now_s)
            ]
        self._registry.put(_KIND, name, msgspec.json.encode(stored))
        self._replace(name, stored)
        return token

    def revoke(self, app: str | None) -> None:
        """End all tokens of an app, or of the operator (None). Raises `StoreError`."""
        name = OPERATOR if app is None else app
        self._registry.delete(_KIND, name)
        self._replace(name, [])

    def _replace(self, name: str, stored: list[_Stored]) -> None:
        kept = {digest: one for digest, one in self._by_digest.items() if one.name != name}
        kept.update((one.sha256, _principal(name, one)) for one in stored)
        self._by_digest = kept


def _principal(name: str, stored: _Stored) -> Principal:
    return Principal(None if name == OPERATOR else name, name, stored.expires_s, stored.sha256)
