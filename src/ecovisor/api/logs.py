"""Logs as JSON lines: time, level, logger, message, and of a request its id, app and tick. Secrets are taken out on the way.

Every token and webhook secret of ours begins with `eco_`, so that it is recognised wherever it turns up: in a message, in an exception, in
somebody else's library. What stands behind `Bearer` goes too, whoever made it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

#: Of the request that is being answered: `request_id`, `app`, `tick`.
request_context: ContextVar[Mapping[str, Any] | None] = ContextVar("request_context", default=None)

_SECRET = re.compile(r"eco_(app|op|hook)_[A-Za-z0-9_-]+")
_BEARER = re.compile(r"(?i)(bearer\s+)(?!eco_)[^\s'\",]+")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@'\"]+@")
_FIELDS = ("request_id", "app", "tick")
_EXTRA = ("peer", "took_ms", "callback", "event")


def redact(text: str) -> str:
    """The text without tokens, webhook secrets, other bearer credentials, and user names in URLs."""
    text = _SECRET.sub(r"eco_\1_***", text)
    text = _BEARER.sub(r"\1***", text)
    return _CREDENTIALS.sub("***@", text)


class JsonLines(logging.Formatter):
    """One JSON object a record, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        context = request_context.get() or {}
        for name in _FIELDS:
            value = getattr(record, name, context.get(name))
            if value is not None:
                line[name] = value
        for name in _EXTRA:
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({name: _safe(value) for name, value in line.items()})


def _safe(value: Any) -> Any:
    return value if isinstance(value, (int, float)) else redact(str(value))


def log_to(stream: TextIO, level: int = logging.INFO) -> logging.Handler:
    """Have everything that is logged in this process written to a stream as JSON lines; returns the handler."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("uvicorn.error").setLevel(max(level, logging.WARNING))  # it announces every listener
    return handler
