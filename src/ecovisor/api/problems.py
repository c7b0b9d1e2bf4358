"""What went wrong, told as RFC 9457 problem details: one line, the field, the bound and the remedy, and nothing of our insides.

Rejected          the interface itself says no: unknown path, wrong method, body or query that cannot be used, no token
EcovisorError     the running system says no; its errors have a status each
anything else     500; the log has it, the answer has only the request's id
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException

from ecovisor import wire
from ecovisor.model.errors import (
    EcovisorError,
    Infeasible,
    InputError,
    Refused,
    SettingRefused,
    StoreError,
    Unavailable,
    UnknownApp,
)
from ecovisor.model.nearest import did_you_mean

logger = logging.getLogger("ecovisor.api")

Headers = Sequence[tuple[bytes, bytes]]
_RETRY = ((b"retry-after", b"1"),)


class Rejected(Exception):
    """A request that the interface refuses by itself.

    Args:
        status: of the answer.
        kind: what a program can switch on (`unknown-container`); with `tag:` before it, it is the problem's type.
        detail: one line for people.
        field: field, parameter or header at fault.
        bound: the bound that was broken.
        remedy: what to do about it.
        headers: added to the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        field: str | None = None,
        bound: float | None = None,
        remedy: str | None = None,
        headers: Headers = (),
    ) -> None:
        self.status = status
        self.headers = headers
        self.problem = wire.Problem(
            type=f"tag:{kind}",
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            field=field,
            bound=bound,
            remedy=remedy,
        )
        super().__init__(detail)


#: Errors of the running system: (class, status, kind). The first that fits.
_OURS: tuple[tuple[type[EcovisorError], int, str], ...] = (
    (SettingRefused, 422, "setting-refused"),
    (Infeasible, 422, "infeasible"),
    (InputError, 422, "input"),
    (UnknownApp, 404, "unknown-app"),
    (Refused, 409, "refused"),
    (Unavailable, 503, "unavailable"),
    (StoreError, 503, "store"),
)


def problem_of(error: Exception, request_id: str, *, operator: bool = False) -> tuple[wire.Problem, Headers]:
    """The problem that an exception is answered with, and headers for it.

    Args:
        error: what was raised.
        request_id: of the request; it leads to the log's line.
        operator: the operator is told why something is unavailable; others only that it is.
    """
    if isinstance(error, Rejected):
        return msgspec.structs.replace(error.problem, request_id=request_id), error.headers
    if isinstance(error, HTTPException):
        title = HTTPStatus(error.status_code).phrase
        problem = wire.Problem(
            type="about:blank", title=title, status=error.status_code, detail=error.detail or title, request_id=request_id
        )
        return problem, [(name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items()]
    for kind, status, name in _OURS:
        if isinstance(error, kind):
            return _of_ours(error, status, name, request_id, operator), _RETRY if status == 503 else ()
    logger.error("unexpected %s", type(error).__name__, exc_info=error)
    problem = wire.Problem(
        type="tag:internal",
        title=HTTPStatus(500).phrase,
        status=500,
        detail="this should not have happened",
        remedy="tell the operator the request_id: the server's log has the cause",
        request_id=request_id,
    )
    return problem, ()


def _of_ours(error: Exception, status: int, kind: str, request_id: str, operator: bool) -> wire.Problem:
    detail, remedy = str(error), None
    if isinstance(error, InputError):
        detail, remedy = f"{error.where}: {error.problem}", error.remedy or None
    if status == 503:
        logger.warning("%s: %s", kind, error)
        if not operator:
            detail = "the ledger cannot be used now" if kind == "store" else "a part of the site does not answer now"
        remedy = "try again; the operator's log has the reason"
    return wire.Problem(
        type=f"tag:{kind}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        bound=getattr(error, "bound", None),
        remedy=remedy,
        request_id=request_id,
    )


# -- bodies

_PLACE = re.compile(r" - at (?:`key` in )?`\$\.?(?P<place>[^`]*)`$")
_BOUND = re.compile(r"^Expected `\w+` (?:>=|>|<=|<) (?P<bound>-?[\d.e+-]+)")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]*)`")


def invalid_body(error: msgspec.ValidationError, request: type[msgspec.Struct]) -> Rejected:
    """A body that is JSON and not what the route wants: the field and the bound, out of msgspec's message."""
    text = str(error)
    place = _PLACE.search(text)
    field = place["place"] if place is not None else None
    detail = _PLACE.sub("", text)
    remedy = None
    named = _UNKNOWN.match(detail) or _MISSING.match(detail)
    if named is not None:
        field = f"{field}.{named['field']}" if field else named["field"]
        if _UNKNOWN.match(detail) and place is None:
            remedy = did_you_mean(named["field"], request.__struct_fields__)
    bound = _BOUND.match(detail)
    return Rejected(
        422,
        "invalid",
        f"{field}: {detail}" if field else detail,
        field=field,
        bound=float(bound["bound"]) if bound is not None else None,
        remedy=remedy,
    )
