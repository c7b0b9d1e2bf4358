"""What a client sent becomes values: bodies by their struct, query parameters by their kind. Anything else raises `Rejected`."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive

from ecovisor.api.limits import Limits
from ecovisor.api.problems import Rejected, invalid_body
from ecovisor.model.nearest import did_you_mean
from ecovisor.model.units import duration_s, instant_s

_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,9})?")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_EVENT_ID = re.compile(r"\d{1,15}\.\d{1,9}")
_LAST_S = 253_402_300_800.0
"""End of the year 9999: what ISO 8601 can say. [s since the epoch]"""
_DRAIN = 16
"""Bodies up to this many times the limit are read to their end, so that their sender gets to read the answer."""
CLOSE = (b"connection", b"close")


class Kind(StrEnum):
    """What a query parameter is; the value is what the documentation calls it."""

    INSTANT = "instant"
    DURATION = "duration"
    NAME = "name"
    NAMES = "names"
    EVENT = "event id"


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter."""

    name: str
    kind: Kind
    doc: str
    required: bool = False


def query_values(text: bytes, declared: Sequence[Query]) -> dict[str, Any]:
    """The values of a query string, None for those left out: instants and durations in seconds, names as text.

    Raises:
        Rejected: with 422: an unknown, repeated, missing or unusable parameter.
    """
    values: dict[str, Any] = {query.name: None for query in declared}
    by_name = {query.name: query for query in declared}
    for name, value in _pairs(text):
        query = by_name.get(name)
        if query is None:
            remedy = did_you_mean(name, by_name) if by_name else "this route takes none"
            raise _unusable(name, "unknown query parameter", remedy)
        if values[name] is not None:
            raise _unusable(name, "given more than once", "give it once")
        values[name] = _value(query, value)
    for query in declared:
        if query.required and values[query.name] is None:
            raise _unusable(query.name, "is missing", f"append {query.name}={_EXAMPLES[query.kind]}")
    return values


_EXAMPLES = {
    Kind.INSTANT: "2026-06-01T00:00:00Z, or seconds since the epoch",
    Kind.DURATION: "1h",
    Kind.NAME: "NAME",
    Kind.NAMES: "tick,battery_full",
    Kind.EVENT: "TICK.NUMBER",
}


def _pairs(text: bytes) -> list[tuple[str, str]]:
    if not text:
        return []
    try:
        return parse_qsl(text.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=32)
    except ValueError:  # not ASCII, no valid UTF-8 behind percent signs, no '=', or too many
        raise Rejected(422, "invalid", "the query string cannot be read", remedy="write name=value pairs, joined by '&'") from None


def _value(query: Query, text: str) -> Any:
    try:
        match query.kind:
            case Kind.INSTANT:
                return _instant(text)
            case Kind.DURATION:
                return _duration(text)
            case Kind.NAME:
                return _matching(_NAME, text)
            case Kind.EVENT:
                return event_id(text)
            case Kind.NAMES:
                return frozenset(_matching(_NAME, part) for part in text.split(","))
    except (ValueError, OverflowError) as error:
        raise _unusable(query.name, str(error) or "cannot be read", f"write {_EXAMPLES[query.kind]}") from None


def _instant(text: str) -> float:
    """Epoch seconds, or ISO 8601; the '+' of an offset arrives as a blank if its writer did not quote it."""
    if _NUMBER.fullmatch(text):
        found_s = float(text)
    else:
        if not text.isascii() or len(text) > 40:
            raise ValueError("is no instant")
        found_s = instant_s(re.sub(r" (\d\d:?\d\d)$", r"+\1", text))
    if not 0.0 <= found_s < _LAST_S:
        raise ValueError(f"{text} lies outside the years 1970 to 9999")
    return found_s


def _duration(text: str) -> float:
    if _NUMBER.fullmatch(text):
        found_s = duration_s(float(text))
    else:
        if not text.isascii() or len(text) > 40:
            raise ValueError("is no duration")
        found_s = duration_s(text)
    if found_s > _LAST_S:
        raise ValueError("is too long")
    return found_s


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError("is no name")
    return text


def event_id(text: str) -> str:
    """The id of an event, checked. Raises `ValueError`."""
    if not _EVENT_ID.fullmatch(text):
        raise ValueError("is no id of an event")
    return text


def _unusable(name: str, problem: str, remedy: str) -> Rejected:
    detail = problem if problem.startswith(name) else f"{name}: {problem}"
    return Rejected(422, "invalid", detail, field=name, remedy=remedy)


# -- bodies


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limits: Limits) -> bytes:
    """The whole body of a request.

    Raises:
        Rejected: 413 beyond the limit, whether declared or found; 408 if it does not arrive in time; 400 if it never ends.
    """
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            return await _read(headers, receive, limits)
    except TimeoutError:
        detail = f"the body did not arrive within {limits.body_timeout_s:g} s"
        raise Rejected(408, "slow", detail, bound=limits.body_timeout_s, headers=[CLOSE]) from None


async def _read(headers: Mapping[bytes, bytes], receive: Receive, limits: Limits) -> bytes:
    most = limits.max_body_bytes
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:18]) > most * _DRAIN:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Rejected(400, "truncated", "the body ended before it was complete", headers=[CLOSE])
        part = message.get("body", b"")
        size += len(part)
        if size > most * _DRAIN:
            raise _too_large(most)
        if size <= most:
            parts.append(part)
        if not message.get("more_body", False):
            break
    if size > most:
        raise _too_large(most)
    return b"".join(parts)


def _too_large(most: int) -> Rejected:
    return Rejected(413, "too-large", f"the body is larger than {most} bytes", bound=most, headers=[CLOSE])


def body_value(headers: Mapping[bytes, bytes], body: bytes, request: type[msgspec.Struct]) -> msgspec.Struct:
    """The struct that a body holds.

    Raises:
        Rejected: 415 if it does not say that it is JSON; 400 if it is none; 422 if it is not what the struct takes.
    """
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if body and media != b"application/json":
        shown = media[:80].decode("ascii", "replace") or "missing"
        raise Rejected(415, "media-type", f"content-type is {shown}", field="content-type", remedy="send application/json")
    try:
        return msgspec.json.decode(body, type=request)
    except msgspec.ValidationError as error:
        raise invalid_body(error, request) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        field = _not_a_number(body)
        if field is not None:
            detail = "NaN and Infinity are no JSON, and no quantities"
            raise Rejected(422, "invalid", f"{field}: {detail}" if field else detail, field=field or None) from None
        detail = "the body is empty" if not body else "the body is no JSON: " + _one_line(error)
        raise Rejected(400, "malformed", detail, remedy="send one JSON object") from None


def _one_line(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]


def _not_a_number(body: bytes) -> str | None:
    """The field that holds a bare NaN or Infinity (empty where it has no name), or None if that is not why a body is malformed."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    left: list[tuple[str, Any]] = [("", found)]
    while left:
        place, value = left.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return place
        if isinstance(value, dict):
            left += [(f"{place}.{name}" if place else name, inner) for name, inner in value.items()]
        elif isinstance(value, list):
            left += [(place, inner) for inner in value]
    return None
