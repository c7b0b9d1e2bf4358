"""Posts one delivery with aiohttp: to the address that was looked up and checked, within a deadline, and nowhere else.

A name is looked up once for a connection, and the connection goes to an address out of that answer: what the name says a moment later does
not matter. No redirect is followed, no proxy of the environment used, no cookie kept, and of the answer only the status is looked at.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ecovisor.adapters.callbacks.targets import Address, Target, address_of, is_public
from ecovisor.model.errors import Unavailable

Lookup = Callable[[str, int], Awaitable[list[str]]]

_READ_BYTES = 4096
"""Of an answer's body: a short one leaves the connection open for the next delivery."""


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, from the system. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class _Checked(AbstractResolver):
    """Names to addresses, of which all must be public."""

    def __init__(self, lookup: Lookup, public: Callable[[Address], bool]) -> None:
        self._lookup = lookup
        self._public = public

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Raises `OSError` for a name that leads, or also leads, into a private network."""
        results: list[ResolveResult] = []
        for text in await self._lookup(host, port):
            address = ipaddress.ip_address(text.partition("%")[0])
            if not self._public(address):
                raise OSError(errno.EACCES, f"{host} leads to {address}, which is no public address")
            kind = socket.AF_INET6 if address.version == 6 else socket.AF_INET
            flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
            results.append(
                ResolveResult(hostname=host, host=str(address), port=port, family=kind, proto=socket.IPPROTO_TCP, flags=flags)
            )
        if not results:
            raise OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
        return results

    async def close(self) -> None:
        """There is nothing to close."""


class Sender:
    """Posts deliveries; made and closed in one event loop.

    Args:
        deadline_s: for a whole request. [s, wall time]
        connections: open at once.
        tls: context for HTTPS; None: the system's certificates.
        lookup: names to addresses.
        public: which addresses a name may lead to.
    """

    def __init__(
        self,
        *,
        deadline_s: float,
        connections: int,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup = look_up,
        public: Callable[[Address], bool] = is_public,
    ) -> None:
        connector = aiohttp.TCPConnector(
            resolver=_Checked(lookup, public),
            use_dns_cache=False,
            limit=connections,
            ssl=True if tls is None else tls,
            keepalive_timeout=30.0,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=deadline_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_line_size=8190,
            max_field_size=8190,
        )
        self._deadline_s = deadline_s

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def post(self, target: Target, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Post, and return once it was acknowledged with a status of 2xx.

        Raises:
            Unavailable: it was not; the message says why, in a few words.
        """
        where = URL(address_of(url), encoded=True)
        if (where.host, where.port) != (target.host, target.port):
            raise Unavailable(f"{target} is read as {where.host}:{where.port} by the client")
        try:
            async with self._session.post(where, data=body, headers=dict(headers), allow_redirects=False) as answer:
                status = answer.status
                await answer.content.read(_READ_BYTES)
        except TimeoutError:
            raise Unavailable(f"no answer within {self._deadline_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(" ".join(str(error).split())[:200] or type(error).__name__) from error
        if not 200 <= status < 300:
            redirected = " (redirects are not followed)" if 300 <= status < 400 else ""
            raise Unavailable(f"answered {status}{redirected}")
