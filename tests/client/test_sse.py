"""The parser of server-sent events: what it finds does not depend on where the stream is cut, and is what another parser finds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from httpx_sse._decoders import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.client.sse import LONGEST, Message, Parser
from ecovisor.model.errors import Unavailable

FIELDS = st.sampled_from(["data", "event", "id", "retry", "", "other", "data "])
VALUES = st.text(alphabet=st.characters(blacklist_characters="\r\n\ufeff", blacklist_categories=["Cs"]), max_size=12)
LINES = st.one_of(
    st.just(""),
    st.builds("{}:{}".format, FIELDS, VALUES),
    st.builds("{}: {}".format, FIELDS, VALUES),
    st.builds(":{}".format, VALUES),
    st.sampled_from(["data", "id", "event: tick", "id: 7.0", "retry: 2500", "retry: soon", "retry: ²"]),
)
ENDS = st.sampled_from(["\n", "\r", "\r\n"])


def fed(parser: Parser, stream: bytes, cuts: list[int]) -> list[Message]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [message for a, b in pairwise(edges) for message in parser.feed(stream[a:b])]


def by_the_other(lines: list[str]) -> list[Message]:
    decoder, found = SSEDecoder(), []
    for line in lines:
        event = decoder.decode(line)
        if event is not None and event.data:
            found.append(Message(event.id, event.event, event.data))
    return found


@given(st.lists(st.tuples(LINES, ENDS), max_size=30), st.lists(st.integers(0, 1000), max_size=8))
def test_messages_are_those_of_another_parser_wherever_the_stream_is_cut(lines: list[tuple[str, str]], cuts: list[int]) -> None:
    # A blank line after CR is written as CR, so that CR LF is never made of two ends.
    stream = "".join(line + ("\r\n" if not line and end == "\n" else end) for line, end in lines).encode()
    text = stream.decode().replace("\r\n", "\n").replace("\r", "\n")
    found = [message for message in fed(Parser(), stream, cuts) if message.data]
    assert found == by_the_other(text.split("\n")[:-1])


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_message_is_told_as_soon_as_its_blank_line_is_there(end: bytes) -> None:
    parser = Parser()
    assert parser.feed(end.join([b"id: 1.0", b"data: a", b"data: b", b""])) == []
    assert parser.feed(end) == [Message("1.0", "message", "a\nb")]


def test_a_byte_order_mark_and_comments_are_nothing() -> None:
    assert Parser().feed(b"\xef\xbb\xbf: hello\n\ndata: x\n\n") == [Message("", "message", "x")]


def test_the_server_may_say_how_long_to_wait() -> None:
    parser = Parser()
    parser.feed(b"retry: 2500\n\n")
    assert parser.retry_s == 2.5
    parser.feed(b"retry: soon\n")
    assert parser.retry_s == 2.5


@pytest.mark.parametrize("garbage", [b"x" * (LONGEST + 1), (b"data:" + b"y" * 1000 + b"\n") * (LONGEST // 1000 + 1)])
def test_a_stream_without_an_end_is_no_stream(garbage: bytes) -> None:
    with pytest.raises(Unavailable, match="more than"):
        Parser().feed(garbage)
