"""What a server says is wrong (RFC 9457 problem details), as the exception that the same mistake raises in process."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ecovisor import wire
from ecovisor.model.errors import (
    AuthenticationError,
    EcovisorError,
    Infeasible,
    Refused,
    SettingRefused,
    Unavailable,
    UnknownApp,
)

#: By the problem's type.
_BY_TYPE: Mapping[str, type[EcovisorError]] = {
    "tag:setting-refused": SettingRefused,
    "tag:unknown-container": SettingRefused,
    "tag:infeasible": Infeasible,
    "tag:unknown-app": UnknownApp,
    "tag:refused": Refused,
    "tag:unavailable": Unavailable,
    "tag:store": Unavailable,
}
_LATER = frozenset({408, 429})
_decode = msgspec.json.Decoder(wire.Problem).decode


class Busy(Unavailable):
    """The server says when to come again.

    Args:
        message: one line.
        wanted_s: how long it wants to be left alone. [s]
    """

    def __init__(self, message: str, wanted_s: float) -> None:
        self.wanted_s = wanted_s
        super().__init__(message)


def problem_error(where: str, changes: bool, status: int, headers: Mapping[str, str], body: bytes) -> EcovisorError:
    """The exception for an answer that is no success.

    Args:
        where: the server, for messages about itself.
        changes: whether the request was to change something: a value that cannot be used is then refused, else infeasible.
        status, headers, body: of the answer.
    """
    problem = _problem(body)
    kind = _BY_TYPE.get(problem.type) if problem is not None else None
    if problem is None:
        text = f"{where} answered {status}, and not with what an ecovisor says"
    else:
        text = problem.detail + (f"; {problem.remedy}" if problem.remedy else "")
    if status in {401, 403}:
        remedy = (
            "" if problem is not None and problem.remedy else "; give the app's token, or set ECOVISOR_TOKEN or ECOVISOR_TOKEN_FILE"
        )
        return AuthenticationError(f"{where}: {text}{remedy}")
    if kind is None:
        kind = _by_status(status, changes, known=problem is not None)
    if kind is Unavailable:
        wait = headers.get("retry-after", "")
        return Busy(f"{where}: {text}", float(wait) if wait.isascii() and wait.isdigit() else 0.0)
    return kind(text)


def _problem(body: bytes) -> wire.Problem | None:
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _by_status(status: int, changes: bool, *, known: bool) -> type[EcovisorError]:
    if not known or status in _LATER or status >= 500 or status < 400:
        return Unavailable
    if status in {404, 422}:
        return SettingRefused if changes else Infeasible
    return Refused
