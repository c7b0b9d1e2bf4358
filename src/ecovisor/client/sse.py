"""Server-sent events out of bytes (HTML standard, section 9.2.6): pure, fed with chunks as they come, cut anywhere.

What the messages mean is the business of `following`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ecovisor.model.errors import Unavailable

#: Longest line, and most data of one message, that is taken from a server. [bytes, characters]
LONGEST = 1 << 20
_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Message:
    """One event of the stream."""

    id: str
    """Of this message, or the last one that had any: what to go on from after a break."""
    event: str
    data: str


class Parser:
    """Collects chunks of a stream into messages."""

    def __init__(self) -> None:
        self.retry_s: float | None = None
        """How long the server wants its readers to wait before they come again. [s]"""
        self._rest = b""
        self._after_cr = False
        self._first = True
        self._id = ""
        self._event = ""
        self._data: list[str] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that end in a chunk.

        Raises:
            Unavailable: a line or message without end; this is no stream of events.
        """
        if self._after_cr and chunk.startswith(b"\n"):
            chunk, self._after_cr = chunk[1:], False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        messages = []
        for line in lines:
            text = line.decode("utf-8", "replace")
            if self._first:
                text, self._first = text.removeprefix("\ufeff"), False
            message = self._line(text)
            if message is not None:
                messages.append(message)
        if len(self._rest) > LONGEST or self._length > LONGEST:
            raise Unavailable(f"the stream of events has a message of more than {LONGEST} bytes")
        return messages

    def _line(self, line: str) -> Message | None:
        if not line:
            return self._end()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._length += len(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_s = int(value) / 1000.0
        return None

    def _end(self) -> Message | None:
        message = Message(self._id, self._event or "message", "\n".join(self._data)) if self._data else None
        self._event, self._data, self._length = "", [], 0
        return message
