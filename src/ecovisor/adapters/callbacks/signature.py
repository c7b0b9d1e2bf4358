"""The signature of a delivery: HMAC-SHA256 over time, event id and body, so that none of them can be changed, or sent again much later.

Ecovisor-Event-Id: 1711.0
Ecovisor-Signature: t=1767225600,v1=5257a869…
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping

from ecovisor.model.errors import EcovisorError

EVENT_ID = "Ecovisor-Event-Id"
SIGNATURE = "Ecovisor-Signature"


class SignatureError(EcovisorError, ValueError):
    """A delivery that its secret did not sign, or not lately."""


def sign(secret: str, event_id: str, body: bytes, wall_s: float) -> dict[str, str]:
    """The headers of a delivery made at ``wall_s``. [s since the epoch]"""
    stamp = str(int(wall_s))
    return {EVENT_ID: event_id, SIGNATURE: f"t={stamp},v1={_digest(secret, stamp, event_id, body)}"}


def verify(secret: str, headers: Mapping[str, str], body: bytes, tolerance_s: float = 300.0, *, now_s: float | None = None) -> str:
    """Check a delivery, as its receiver.

    A delivery may come twice; remember the ids that were dealt with.

    Args:
        secret: told when the callback was registered.
        headers: of the request, by name in any case.
        body: as it was received, byte for byte.
        tolerance_s: how far the sender's clock, and the way here, may be off. [s]
        now_s: wall time; None: the system's. [s since the epoch]

    Returns:
        The event's id.

    Raises:
        SignatureError: it is not signed, not with this secret, or too long ago.
    """
    by_name = {name.lower(): value for name, value in headers.items()}
    event_id, signed = by_name.get(EVENT_ID.lower()), by_name.get(SIGNATURE.lower())
    if event_id is None or signed is None:
        raise SignatureError(f"the headers {EVENT_ID} and {SIGNATURE} are missing; only signed deliveries have them")
    parts = [part.strip().partition("=") for part in signed.split(",")]
    stamps = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"]
    if len(stamps) != 1 or not given or not (stamps[0].isascii() and stamps[0].isdecimal() and len(stamps[0]) <= 12):
        raise SignatureError(f"{SIGNATURE} cannot be read; it is 't=SECONDS,v1=HEX'")
    expected = _digest(secret, stamps[0], event_id, body).encode()
    if not any([hmac.compare_digest(expected, one.encode("utf-8", "replace")) for one in given]):  # noqa: C419  (all are compared)
        raise SignatureError(f"{SIGNATURE} does not fit secret, event id and body")
    off_s = abs((time.time() if now_s is None else now_s) - int(stamps[0]))
    if off_s > tolerance_s:
        raise SignatureError(f"signed {off_s:.0f} s ago or ahead, more than {tolerance_s:g} s; compare the clocks")
    return event_id


def _digest(secret: str, stamp: str, event_id: str, body: bytes) -> str:
    signed = f"{stamp}.{event_id}.".encode("utf-8", "replace") + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
