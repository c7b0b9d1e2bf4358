"""A receiver that verifies takes what the sender signed, once, and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecovisor.adapters.callbacks import SignatureError, verify
from ecovisor.adapters.callbacks.signature import sign

SECRET = "eco_hook_" + "s" * 43
NOW_S = 1_767_225_600.0

bodies = st.binary(max_size=200)
ids = st.from_regex(r"[0-9]{1,6}\.[0-9]{1,3}", fullmatch=True)


@settings(max_examples=40)
@given(body=bodies, event_id=ids, late_s=st.floats(-299, 299))
def test_what_was_signed_is_taken_within_the_tolerance(body: bytes, event_id: str, late_s: float) -> None:
    headers = sign(SECRET, event_id, body, NOW_S)
    shouting = {name.upper(): value for name, value in headers.items()}
    assert verify(SECRET, headers, body, now_s=NOW_S + late_s) == event_id
    assert verify(SECRET, shouting, body, now_s=NOW_S + late_s) == event_id


@settings(max_examples=40)
@given(body=bodies, event_id=ids)
def test_the_signature_is_the_one_that_is_documented(body: bytes, event_id: str) -> None:
    headers = sign(SECRET, event_id, body, NOW_S)
    expected = hmac.new(SECRET.encode(), b"1767225600." + event_id.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers == {"Ecovisor-Event-Id": event_id, "Ecovisor-Signature": f"t=1767225600,v1={expected}"}


@settings(max_examples=40)
@given(
    body=bodies,
    event_id=ids,
    position=st.integers(0, 500),
    bit=st.integers(0, 7),
    part=st.sampled_from(["body", "id", "time", "mac"]),
)
def test_one_changed_bit_is_noticed(body: bytes, event_id: str, position: int, bit: int, part: str) -> None:
    headers = sign(SECRET, event_id, body, NOW_S)
    stamp, mac = headers["Ecovisor-Signature"].split(",")
    if part == "body":
        changed = bytearray(body or b"x")
        changed[position % len(changed)] ^= 1 << bit
        body = bytes(changed) if body else b"x"
    elif part == "id":
        headers["Ecovisor-Event-Id"] += "1"
    elif part == "time":
        headers["Ecovisor-Signature"] = f"t={int(stamp[2:]) + 1},{mac}"
    else:
        digit = mac[3 + position % 64]
        headers["Ecovisor-Signature"] = (
            f"{stamp},{mac[: 3 + position % 64]}{'0' if digit != '0' else '1'}{mac[4 + position % 64 :]}"
        )
    with pytest.raises(SignatureError, match="does not fit"):
        verify(SECRET, headers, body, now_s=NOW_S)


@pytest.mark.parametrize("late_s", [301.0, -301.0, 1e6])
def test_a_delivery_from_long_ago_or_the_future_is_refused(late_s: float) -> None:
    headers = sign(SECRET, "1.0", b"{}", NOW_S)
    with pytest.raises(SignatureError, match="compare the clocks"):
        verify(SECRET, headers, b"{}", now_s=NOW_S + late_s)


UNREADABLE = [
    "",
    "t=1",
    "v1=ab",
    "t=x,v1=ab",
    "t=1,t=2,v1=ab",
    "t=-1,v1=ab",
    "t=9" + "9" * 30 + ",v1=ab",
    "t=\u0663,v1=ab",
    "hello",
    "t=1,v1=\udc80",
]


@pytest.mark.parametrize("signature", UNREADABLE)
def test_a_header_that_cannot_be_read_is_refused(signature: str) -> None:
    with pytest.raises(SignatureError):
        verify(SECRET, {"Ecovisor-Event-Id": "1.0", "Ecovisor-Signature": signature}, b"{}", now_s=NOW_S)


def test_unsigned_and_wrongly_signed_is_refused() -> None:
    with pytest.raises(SignatureError, match="missing"):
        verify(SECRET, {}, b"{}")
    with pytest.raises(SignatureError, match="does not fit"):
        verify("another", sign(SECRET, "1.0", b"{}", NOW_S), b"{}", now_s=NOW_S)


def test_one_of_several_signatures_is_enough() -> None:
    headers = sign(SECRET, "1.0", b"{}", NOW_S)
    headers["Ecovisor-Signature"] += ",v1=" + "0" * 64
    assert verify(SECRET, headers, b"{}", now_s=NOW_S) == "1.0"


def test_a_receiver_needs_nothing_but_the_standard_library() -> None:
    script = "import sys, ecovisor.adapters.callbacks; print([m for m in ('aiohttp', 'msgspec', 'yarl') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"
