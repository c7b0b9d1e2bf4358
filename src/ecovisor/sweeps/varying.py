"""What a sweep varies: `--vary key=1,2,3` as an axis with its values, several axes as combinations.

Owns the grammar and the order. A key is a key path as in `--set` (``adapters.scenario_keys``); a value stays the text that was written, and
becomes a setting when its combination is run, by ``running``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from math import prod
from random import Random

from ecovisor.model.errors import SettingsError

_EXAMPLE = "write for example --vary run.seed=1,2,3 or --vary apps.NAME.policy.scale=2..4:0.5"
_NUMBER = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})([a-zA-Z]*)\.\.({_NUMBER})([a-zA-Z]*)(?::({_NUMBER})([a-zA-Z]*))?")
_CLOSING = {"[": "]", "{": "}"}
#: The key that `--seeds` varies.
SEED = "run.seed"
#: More than this is a mistake in a range, or wants `--random`.
MOST_COMBINATIONS = 1_000_000


@dataclass(frozen=True, slots=True)
class Axis:
    """One key and the values that it takes."""

    key: str
    values: tuple[str, ...]
    """As they were written, ranges as their numbers."""
    crossed: bool = False
    """Goes with every combination of the others even where those go together (`--seeds`)."""


@dataclass(frozen=True, slots=True)
class Combination:
    """One run of the sweep."""

    index: int
    """Its place in the order of the sweep."""
    values: tuple[str, ...]
    """One for each axis."""


def parse_axis(text: str) -> Axis:
    """`key=1,2,3`, with ranges (`2..4:0.5`, `12h..48h:12h`, both ends included; `1..5` in steps of 1) as further values.

    Commas within quotes, brackets and braces part no values: `excess=["share"],["curtail"]` has two.

    Raises:
        SettingsError: no `=`, no value, the same value twice, or a range that has no end.
    """
    key, equals, values = text.partition("=")
    where = f"--vary {text}"
    if not equals or not key.strip():
        raise SettingsError(where, "has no key" if equals else "has no '='", _EXAMPLE)
    found = tuple(value for part in _parts(values, where) for value in _expanded(part, where))
    doubled = sorted({value for value in found if found.count(value) > 1}) if len(found) <= 1000 else []
    if doubled:
        raise SettingsError(where, f"names {doubled[0]} twice", "name each value once")
    return Axis(key.strip(), found)


def axes_of(varied: Sequence[str], seeds: int | None = None, first_seed: int = 0) -> tuple[Axis, ...]:
    """The axes of a sweep, in the order written; the seeds, if there are any, vary fastest.

    Args:
        varied: `key=values` each.
        seeds: run each combination with so many seeds.
        first_seed: the first of them.

    Raises:
        SettingsError: an axis cannot be read, a key is varied twice, or nothing is varied.
    """
    axes = [parse_axis(text) for text in varied]
    if seeds is not None:
        axes.append(Axis(SEED, tuple(str(first_seed + k) for k in range(seeds)), crossed=True))
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise SettingsError(f"--vary {key}", "is varied twice", "put all its values into one --vary, or leave out --seeds")
    if not axes:
        raise SettingsError("sweep", "nothing is varied", _EXAMPLE)
    return tuple(axes)


def combine(axes: Sequence[Axis], *, together: bool = False, sample: int | None = None, seed: int = 0) -> tuple[Combination, ...]:
    """The combinations of a sweep: all of them, the last axis varying fastest.

    Args:
        axes: what is varied.
        together: take the first values of all axes, then the second ones, …, instead of each with each; the seeds still go with each.
        sample: only so many of them, drawn without replacement, in the order of the whole.
        seed: of the draw.

    Raises:
        SettingsError: axes that go together have not equally many values, or there are too many combinations.
    """
    rows = _together(axes) if together else None
    count = prod(len(axis.values) for axis in axes) if rows is None else len(rows)
    taken = count if sample is None else min(sample, count)
    if taken > MOST_COMBINATIONS:
        raise SettingsError(
            "sweep", f"{count:,} combinations", f"at most {MOST_COMBINATIONS:,}; shorten a range, or draw some with --random N"
        )
    if taken < count:
        chosen = sorted(Random(f"sweep/{seed}").sample(range(count), taken))
        picked = [_nth(axes, k) if rows is None else rows[k] for k in chosen]
    else:
        picked = rows if rows is not None else list(product(*(axis.values for axis in axes)))
    return tuple(Combination(k, values) for k, values in enumerate(picked))


def _together(axes: Sequence[Axis]) -> list[tuple[str, ...]]:
    """The rows of axes that go together; those that are crossed come last, and vary fastest."""
    lengths = {axis.key: len(axis.values) for axis in axes if not axis.crossed}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {count}" for key, count in lengths.items())
        raise SettingsError("--zip", f"the keys have not equally many values: {told}", "give each as many, or leave out --zip")
    rows = list(zip(*(axis.values for axis in axes if not axis.crossed), strict=True)) if lengths else [()]
    return [(*row, *more) for row in rows for more in product(*(axis.values for axis in axes if axis.crossed))]


def _nth(axes: Sequence[Axis], number: int) -> tuple[str, ...]:
    """The values of the combination with this number, without making those before it."""
    values: list[str] = []
    for axis in reversed(axes):
        number, place = divmod(number, len(axis.values))
        values.append(axis.values[place])
    return tuple(reversed(values))


def _parts(text: str, where: str) -> list[str]:
    """The text between commas that are in no quotes, brackets or braces."""
    parts, open_brackets, quote, begin = [], [], "", 0
    for k, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and text[k - 1] != "\\" else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _CLOSING:
            open_brackets.append(_CLOSING[letter])
        elif open_brackets and letter == open_brackets[-1]:
            open_brackets.pop()
        elif letter == "," and not open_brackets:
            parts.append(text[begin:k].strip())
            begin = k + 1
    parts.append(text[begin:].strip())
    if quote or open_brackets:
        raise SettingsError(
            where, f"{quote or open_brackets[-1]} is missing", "close what is opened, and put the whole in quotes for the shell"
        )
    if "" in parts:
        raise SettingsError(where, "has a value that is empty", _EXAMPLE)
    return parts


def _expanded(part: str, where: str) -> Iterator[str]:
    match = _RANGE.fullmatch(part)
    if match is None:
        yield part
        return
    first, last, step = Decimal(match[1]), Decimal(match[3]), Decimal(match[5] or 1)
    units = {match[2], match[4], *([match[6]] if match[5] is not None else [])}
    if len(units) > 1:
        raise SettingsError(where, f"{part} mixes units", "write for example 12h..48h:12h")
    if step <= 0 or last < first:
        raise SettingsError(where, f"{part} is no range", "write FIRST..LAST:STEP with FIRST ≤ LAST and STEP > 0")
    count = int((last - first) / step) + 1
    if count > MOST_COMBINATIONS:
        raise SettingsError(where, f"{part} has {count:,} values", f"at most {MOST_COMBINATIONS:,}")
    for k in range(count):
        yield f"{(first + k * step).normalize():f}{match[2]}"
