"""Keeps the output that pages quote current: README.md, docs/optimum.md and the READMEs of the examples.

A quote is a fenced block of language `console`: a line `$ COMMAND`, then parts of what the command prints, parted by lines `…`. A part
is found again by the first word of its first line and its number of lines. Commands run in the page's folder; `ecovisor` and
`python` are this environment's. With `--check` nothing is written, and the exit status is 1 if a page is out of date. Pages whose
commands need ECOVISOR_DATA are left alone where it is not set.

    python scripts/quoted_output.py            rewrite all
    python scripts/quoted_output.py --check README.md
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SKIP = "…"
_ECOVISOR = "import sys; from ecovisor.cli import run; sys.exit(run(sys.argv[1:]))"
_QUOTE = re.compile(r"```console\n\$ (?P<command>(?:[^\n]*\\\n)*[^\n]*)\n(?P<quoted>.*?)```", re.DOTALL)


def pages() -> list[Path]:
    """All pages that may quote."""
    return [
        ROOT / "README.md",
        ROOT / "docs" / "optimum.md",
        ROOT / "docs" / "studies.md",
        *sorted((ROOT / "examples").glob("*/README.md")),
    ]


def needs_data(page: Path) -> bool:
    """Whether the page's commands need the published series."""
    return "ECOVISOR_DATA" in page.read_text("utf-8")


def current(page: Path) -> str:
    """The page with what its commands print now."""

    def quote(match: re.Match[str]) -> str:
        output = run(match["command"], page.parent)
        return f"```console\n$ {match['command']}\n{excerpt(match['quoted'], output, page)}```"

    return _QUOTE.sub(quote, page.read_text("utf-8"))


def run(command: str, folder: Path) -> list[str]:
    """The lines that a command prints; run folders go to a temporary one."""
    words = [os.path.expandvars(word) for word in shlex.split(command.replace("\\\n", " "))]
    program = {"ecovisor": [sys.executable, "-c", _ECOVISOR], "python": [sys.executable]}[words[0]]
    with tempfile.TemporaryDirectory() as scratch:
        more = {
            "simulate": ["--out", f"{scratch}/run", "--no-plots"],
            "sweep": ["--out", f"{scratch}/run"],
            "study": ["--out", f"{scratch}/run"],
        }.get(words[1], [])
        environment = {**os.environ, "COLUMNS": "140", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [*program, *words[1:], *more], cwd=folder, capture_output=True, encoding="utf-8", env=environment, check=False
        )
    if done.returncode != 0:
        raise RuntimeError(f"{folder}: {command}: {done.stderr}")
    return [line.rstrip() for line in done.stdout.splitlines()]


def excerpt(quoted: str, output: list[str], page: Path) -> str:
    """The same parts of the output as were quoted before."""
    lines: list[str] = []
    at = 0
    for part in re.split(rf"^{SKIP}\n", quoted, flags=re.MULTILINE):
        if lines or quoted.startswith(SKIP):
            lines.append(SKIP)
        wanted = part.splitlines()
        if not wanted:
            continue
        first = wanted[0].split()[:1]
        while at < len(output) and output[at].split()[:1] != first:
            at += 1
        if at == len(output):
            raise RuntimeError(f"{page}: no line begins with {' '.join(first)!r} (any more)")
        lines += output[at : at + len(wanted)]
        at += len(wanted)
    return "".join(f"{line}\n" for line in lines)


def main(arguments: list[str]) -> int:
    """Rewrite or compare."""
    check = "--check" in arguments
    named = [Path(argument).resolve() for argument in arguments if not argument.startswith("--")]
    outdated = []
    for page in named or pages():
        if needs_data(page) and "ECOVISOR_DATA" not in os.environ:
            print(f"{page.parent.name}/{page.name}: left alone, ECOVISOR_DATA is not set")
            continue
        text = current(page)
        if text != page.read_text("utf-8"):
            outdated.append(page)
            if not check:
                page.write_text(text, "utf-8")
    for page in outdated:
        print(f"{page.parent.name}/{page.name}: {'out of date; run: python scripts/quoted_output.py' if check else 'rewritten'}")
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
