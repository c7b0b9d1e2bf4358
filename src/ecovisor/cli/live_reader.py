"""Reading a running site's state for the terminal: one snapshot after the other.

Owns deadlines, and errors in words; where the site is and who asks says ``connection``. The operator's token (or socket) gives the whole
site, an app's its own part; ``live_tables`` shows either.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from ecovisor import wire
from ecovisor.cli.connection import locate
from ecovisor.model.errors import AuthenticationError, SettingsError, Unavailable

if TYPE_CHECKING:
    import httpx

#: For an answer, wall time. [s]
DEADLINE_S = 3.0

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Seen:
    """A snapshot, and how old it was when it was read."""

    snapshot: wire.SiteSnapshot | wire.Snapshot
    age_s: float
    """By the server's own clock where it says what time it is. [s, wall time]"""

    @property
    def overdue_s(self) -> float:
        """How long there has been no new tick beyond what is usual; 0 or less while there is nothing to remark. [s, wall time]"""
        return self.age_s - usual_wait_s(self.snapshot)


def usual_wait_s(snapshot: wire.SiteSnapshot | wire.Snapshot) -> float:
    """Longest wall time between two ticks that is not worth a remark. [s]"""
    return 3.0 * snapshot.tick_s / snapshot.compression + 5.0


class SiteReader:
    """Asks one server for snapshots; whether for the site's or an app's shows at the first answer.

    Args:
        url, token_file, unix, ca_file, state: what the command line said; see `connection.locate`.
        transport: instead of a network, for tests.
        wall_s: wall time. [s since the epoch]

    Raises:
        SettingsError: two places are named, or a file cannot be read.
    """

    def __init__(
        self,
        url: str | None,
        token_file: Path | None,
        unix: Path | None,
        ca_file: Path | None = None,
        state: Path | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        import httpx

        address = locate(url, token_file, unix, state, ca_file)
        target = address.target
        self.where = str(target)
        self._wall_s = wall_s
        self._path: str | None = None
        self._etag = ""
        headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
        self._client = httpx.Client(
            base_url=target.url,
            headers=headers,
            timeout=DEADLINE_S,
            trust_env=False,
            transport=transport or httpx.HTTPTransport(verify=_trusted(target.url, target.ca_file), uds=target.socket_path),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def read(self) -> Seen | None:
        """The newest snapshot; None if it is still the one that was read last.

        Raises:
            Unavailable: no answer, or none that can be understood.
            AuthenticationError: no token, or one that is not accepted.
        """
        path = self._path or "/v1/admin/site"
        answer = self._ask(path)
        if self._path is None and answer.status_code == 403:
            path = "/v1/energy"
            answer = self._ask(path)
        if answer.status_code in {401, 403}:
            remedy = (
                "give --token-file or set ECOVISOR_TOKEN" if "authorization" not in self._client.headers else "ask for a new one"
            )
            raise AuthenticationError(f"{self.where} does not accept the token; {remedy}")
        if answer.status_code == 304:
            return None
        if answer.status_code != 200:
            raise Unavailable(f"{self.where} answers {answer.status_code}: {_detail(answer)}")
        kind: type[wire.SiteSnapshot | wire.Snapshot] = wire.Snapshot if path == "/v1/energy" else wire.SiteSnapshot
        snapshot = self._decoded(answer, kind)
        self._path, self._etag = path, answer.headers.get("etag", "")
        now_s = _date(answer) or self._wall_s()
        return Seen(snapshot, max(now_s - datetime.fromisoformat(snapshot.wall_time).timestamp(), 0.0))

    def readiness(self) -> wire.Health:
        """Whether the server does all that it should, and why not; the reasons are for the operator.

        Raises:
            Unavailable: no answer, or none that can be understood.
        """
        answer = self._ask("/readyz")
        if answer.status_code not in {200, 503}:
            raise Unavailable(f"{self.where} answers {answer.status_code}: {_detail(answer)}")
        return self._decoded(answer, wire.Health)

    def _ask(self, path: str) -> httpx.Response:
        import httpx

        try:
            return self._client.get(path, headers={"If-None-Match": self._etag} if self._etag else {})
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unavailable(
                f"{self.where} cannot be reached: {error or 'no answer'}; is 'ecovisor serve' running there?"
            ) from None
        except httpx.TimeoutException:
            raise Unavailable(f"{self.where} did not answer within {DEADLINE_S:g} s") from None
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.where} broke the connection: {str(error) or type(error).__name__}") from None

    def _decoded(self, answer: httpx.Response, kind: type[_Answer]) -> _Answer:
        import msgspec

        try:
            return msgspec.json.decode(answer.content, type=kind)
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise Unavailable(f"{self.where} answers, but not as an ecovisor does; is the address right?") from None


def _trusted(url: str, ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return url.startswith("https:")  # without TLS there is nothing to verify, and certificates take time to read
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SettingsError(f"--ca-file {ca_file}", f"cannot be used: {error.strerror or error}", "name a PEM file") from None


def _date(answer: httpx.Response) -> float | None:
    """What time it is at the server, to a second."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None


def _detail(answer: httpx.Response) -> str:
    import msgspec

    try:
        return msgspec.json.decode(answer.content, type=wire.Problem).detail
    except msgspec.MsgspecError:
        return answer.reason_phrase
