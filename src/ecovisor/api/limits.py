"""How much of the server one client may take: sizes, rates, numbers and times. The defaults suit one machine with some hundred apps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the REST interface; all durations are wall time."""

    # Sizes
    max_body_bytes: int = 64 * 1024
    """Of a request; the largest sensible one is an app's metrics."""
    max_header_bytes: int = 16 * 1024
    """Of all header lines of a request, its first line included."""
    max_headers: int = 64
    max_url_bytes: int = 4096
    max_points: int = 100_000
    """Values in one answer of the history: a year of 5-minute steps."""

    # Numbers
    max_connections: int = 4096
    """Open at once, on each listener; further ones are answered with 503 and closed."""
    backlog: int = 1024
    """Connections that the kernel holds while the server is busy."""
    max_streams: int = 64
    """Streams of events that one app, or the operator, may have open."""

    # Rates: each principal and each unknown peer has a bucket that fills at the rate up to the burst
    requests_per_s: float = 1000.0
    """Of one app, or the operator. [1/s]"""
    requests_burst: float = 5000.0
    anonymous_per_s: float = 50.0
    """Without a token, by one peer. [1/s]"""
    anonymous_burst: float = 500.0
    failures_per_s: float = 1.0
    """With a wrong token, by one peer. [1/s]"""
    failures_burst: float = 20.0

    # Times
    header_timeout_s: float = 10.0
    """From the first byte of a request, or the start of a connection, to the end of the headers. [s]"""
    body_timeout_s: float = 10.0
    """For the whole body. [s]"""
    keep_alive_s: float = 75.0
    """For which an idle connection stays open; longer than proxies keep theirs. [s]"""
    send_timeout_s: float = 60.0
    """For which a client may leave what was sent to it unread. [s]"""
    answer_timeout_s: float = 30.0
    """For the running system to answer; then 503. [s]"""
    heartbeat_s: float = 15.0
    """Between two signs of life in a stream of events. [s]"""
    stop_timeout_s: float = 5.0
    """For requests under way when the server stops. [s]"""
