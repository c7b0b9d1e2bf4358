"""From a request to who sent it: the listener's own identity, or the bearer token; and how often they may."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping

from starlette.types import Scope

from ecovisor.api.limits import Limits
from ecovisor.api.problems import Headers, Rejected
from ecovisor.api.routes import Who
from ecovisor.api.throttle import Throttle
from ecovisor.api.tokens import Principal, Tokens

#: Key of the listener's identity in the state of its connections.
PRINCIPAL = "principal"
_SCHEME = b"bearer "
_REALM = (b"www-authenticate", b'Bearer realm="ecovisor"')
_INVALID = (b"www-authenticate", b'Bearer realm="ecovisor", error="invalid_token"')


class Identity:
    """Finds principals and holds them to their rates.

    Args:
        tokens: all that are valid.
        limits: rates of principals, of peers without a token, and of wrong tokens.
        monotonic_s: the clock of the rates. [s]
    """

    def __init__(self, tokens: Tokens, limits: Limits, monotonic_s: Callable[[], float]) -> None:
        self._tokens = tokens
        self._monotonic_s = monotonic_s
        self._requests = Throttle(limits.requests_per_s, limits.requests_burst)
        self._anonymous = Throttle(limits.anonymous_per_s, limits.anonymous_burst)
        self._failures = Throttle(limits.failures_per_s, limits.failures_burst)

    def quick(self, scope: Scope) -> tuple[Principal | None, bytes | None]:
        """The principal, if that is plain, and `If-None-Match`: for reads that come often."""
        principal: Principal | None = scope["state"].get(PRINCIPAL) if "state" in scope else None
        if_none_match = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if principal is None and value[:7].lower() == _SCHEME:
                    principal = self._tokens.find(value[7:])
            elif name == b"if-none-match":
                if_none_match = value
        return principal, if_none_match

    def wait_s(self, principal: Principal) -> float:
        """Count a request; 0 if it may be answered, else how long to wait. [s]"""
        return self._requests.wait_s(principal.name, self._monotonic_s())

    def admit(self, who: Who, scope: Scope, headers: Mapping[bytes, bytes]) -> Principal | None:
        """Who asks, if they may; None for anybody on a route that is open to all.

        Raises:
            Rejected: 401 without a valid token, 403 for an app on the operator's route, 429 for too many requests.
        """
        principal = self._principal(who, scope, headers)
        if principal is None:
            self._take(self._anonymous, _peer(scope))
            return None
        self._take(self._requests, principal.name)
        if who is Who.OPERATOR and principal.app is not None:
            raise Rejected(403, "forbidden", "this is the operator's", remedy="use the operator's token")
        return principal

    def _principal(self, who: Who, scope: Scope, headers: Mapping[bytes, bytes]) -> Principal | None:
        own: Principal | None = scope.get("state", {}).get(PRINCIPAL)
        if own is not None:
            return own
        presented = headers.get(b"authorization")
        if presented is None:
            if who is Who.ANYONE:
                return None
            self._take(self._anonymous, _peer(scope))
            raise Rejected(
                401,
                "token-missing",
                "no token",
                field="authorization",
                remedy="send 'Authorization: Bearer TOKEN'",
                headers=[_REALM],
            )
        found = self._tokens.find(presented[7:]) if presented[:7].lower() == _SCHEME else None
        if found is None:
            # Valid tokens are looked up first, so that one who guesses beside others on the same address does not lock them out.
            self._take(self._failures, _peer(scope), (_INVALID,))
            raise Rejected(
                401,
                "token-invalid",
                "this token is wrong, expired or replaced",
                field="authorization",
                remedy="ask the operator for a new one",
                headers=[_INVALID],
            )
        return found

    def _take(self, throttle: Throttle, key: str, headers: Headers = ()) -> None:
        wait_s = throttle.wait_s(key, self._monotonic_s())
        if wait_s > 0.0:
            after = math.ceil(wait_s)
            raise Rejected(
                429,
                "too-many",
                "too many requests",
                remedy=f"wait {after} s",
                headers=[(b"retry-after", b"%d" % after), *headers],
            )


def _peer(scope: Scope) -> str:
    """The address that a rate is kept for: one IPv4 address, or the /64 that one IPv6 host has to itself."""
    client = scope.get("client")
    if not client:
        return "socket"
    host: str = client[0]
    if ":" not in host:
        return host
    try:
        return str(ipaddress.IPv6Network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host
