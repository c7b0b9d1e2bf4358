"""Runs what a page shows: the commands of its `console` blocks, in order, in one shell, and holds what they print against the page.

A command begins with `$ `; lines that begin with `> ` go on with it. What follows is what it prints, both streams. A line `…` stands for
any lines, `…` within a line for any text. Figures may differ from those of the page, and with them the width of columns: a number
stands for any number, a run of blanks or rules for any other.

A command that only looks (`cat`, `ecovisor status`, …) is given again until it prints what the page says, as a reader would look again.
"""

from __future__ import annotations

import os
import re
import secrets
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

ANY = "…"
#: For a command to end, and for one that looks to see what the page says. [s]
DEADLINE_S = 90.0
_AGAIN_S = 0.5
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LOOKS = re.compile(r"(cat|tail|ls|curl) |ecovisor (status|top|doctor|check|data|apps (list|logs))\b")
_NUMBER = re.compile(r"[-−]?\d[\d.,]*(e[-+]?\d+)?")


@dataclass(frozen=True)
class Step:
    """A command and what the page says that it prints."""

    command: str
    expected: Sequence[str]
    line: int
    """Of the page."""


def steps(page: Path) -> Iterator[Step]:
    """All commands of a page, in order."""
    text = page.read_text("utf-8")
    for block in _BLOCK.finditer(text):
        number = text.count("\n", 0, block.start(1))
        command: list[str] = []
        printed: list[str] = []
        begun = 0
        for line in block[1].splitlines():
            number += 1
            if line.startswith("$ "):
                if command:
                    yield Step("\n".join(command), tuple(printed), begun)
                command, printed, begun = [line[2:]], [], number
            elif line.startswith("> ") or line == ">":
                if printed or not command:
                    raise ValueError(f"{page.name}:{number}: nothing to go on with")
                command.append(line[2:])
            elif command:
                printed.append(line)
            else:
                raise ValueError(f"{page.name}:{number}: output before the first command")
        if command:
            yield Step("\n".join(command), tuple(printed), begun)


def agrees(expected: Sequence[str], printed: Sequence[str]) -> bool:
    """Whether lines are what the page says, by the rules above."""
    shown, found = [line for line in expected if line.strip()], [line for line in printed if line.strip()]
    parts = [r"(?:[^\n]*\n)*?" if line.strip() == ANY else _pattern(line) + r"\n" for line in shown]
    return re.fullmatch("".join(parts), "".join(f"{_plain(line)}\n" for line in found)) is not None


def _plain(line: str) -> str:
    """A line without what may differ."""
    line = _NUMBER.sub("0", line.strip())
    line = re.sub(r"[█▓░▏▎▍▌▋▊▉·]{2,}", "█", line)
    return re.sub(r"─+", "─", re.sub(r"\s+", " ", line))


def _pattern(line: str) -> str:
    return r"[^\n]*".join(re.escape(part) for part in _plain(line).split(ANY))


@dataclass
class Shell:
    """A shell in a folder, as somebody sits at it. A context manager: at the end, what it left in the background is ended.

    Attributes:
        folder: where it starts.
        environment: all that it has.
        replace: texts of the page that are others here (a port that is taken), by the page's.
    """

    folder: Path
    environment: Mapping[str, str]
    replace: Mapping[str, str] = field(default_factory=dict)
    record: list[str] = field(default_factory=list)
    """All that was seen, for people."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["/bin/bash", "--noprofile", "--norc"],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        if process.poll() is None:
            process.stdin.write(b"kill $(jobs -p) 2>/dev/null; wait; exit\n")
            process.stdin.close()
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()
        if not process.stdin.closed:
            process.stdin.close()

    def run(self, page: Path) -> None:
        """All steps of a page.

        Raises:
            AssertionError: one does not print what the page says, or does not end.
        """
        for step in steps(page):
            self.step(step, page.name)

    def step(self, step: Step, page: str) -> None:
        """One of them; see `run`."""
        command, expected = self._here(step.command), [self._here(line) for line in step.expected]
        until_s = time.monotonic() + DEADLINE_S
        while True:
            printed = self.give(command)
            if agrees(expected, printed):
                self.record += [f"$ {command}", *printed]
                return
            if not _LOOKS.match(command) or time.monotonic() > until_s:
                told = "\n".join(["", f"$ {command}", *printed, "", "and the page has:", *expected])
                raise AssertionError(f"{page}:{step.line}: prints something else{told}")
            time.sleep(_AGAIN_S)

    def give(self, command: str) -> list[str]:
        """What a command prints."""
        mark = f"end-{secrets.token_hex(8)}"
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\necho; echo {mark}\n".encode())
        self._process.stdin.flush()
        text = self._read_until(mark.encode(), command)
        return text.decode("utf-8", "replace").removesuffix("\n").splitlines()

    def _read_until(self, mark: bytes, command: str) -> bytes:
        assert self._process.stdout is not None
        seen, until_s = b"", time.monotonic() + DEADLINE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while mark + b"\n" not in seen:
                if not selector.select(max(until_s - time.monotonic(), 0.0)):
                    raise AssertionError(f"$ {command}\ndoes not end; so far it printed:\n{seen.decode('utf-8', 'replace')}")
                part = os.read(self._process.stdout.fileno(), 1 << 16)
                if not part:
                    raise AssertionError(f"$ {command}\nended the shell:\n{seen.decode('utf-8', 'replace')}")
                seen += part
        return seen.partition(mark)[0]

    def _here(self, text: str) -> str:
        for page, here in self.replace.items():
            text = text.replace(page, here)
        return text
