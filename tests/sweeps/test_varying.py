"""What is varied: the values of a key, and the combinations of several."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.model.errors import SettingsError
from ecovisor.sweeps.varying import Axis, axes_of, combine, parse_axis

NAMES = st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=1, max_size=4, unique=True)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("run.seed=1,2,3", ("1", "2", "3")),
        ("a.b=2..4:0.5", ("2", "2.5", "3", "3.5", "4")),
        ("a.b=1..3", ("1", "2", "3")),
        ("a.b=0.1..0.3:0.1,0.9", ("0.1", "0.2", "0.3", "0.9")),
        ("a.window=12h..48h:12h", ("12h", "24h", "36h", "48h")),
        ("a.b=-1..1", ("-1", "0", "1")),
        ('site.excess=["share", \'curtail\'],["curtail"]', ("[\"share\", 'curtail']", '["curtail"]')),
        ('apps.a.policy={kind="x", percentile=1},{kind="y"}', ('{kind="x", percentile=1}', '{kind="y"}')),
        ('a.b="with, comma",plain', ('"with, comma"', "plain")),
        ("run.start=2020-06-01T00:00Z,2020-07-01T00:00Z", ("2020-06-01T00:00Z", "2020-07-01T00:00Z")),
    ],
)
def test_values_are_parted_by_commas_and_ranges_have_both_ends(text: str, values: tuple[str, ...]) -> None:
    assert parse_axis(text).values == values


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("run.seed", "has no '='"),
        ("=1", "has no key"),
        ("a=", "empty"),
        ("a=1,,2", "empty"),
        ("a=1,1", "names 1 twice"),
        ("a=4..2", "is no range"),
        ("a=1..2:0", "is no range"),
        ("a=1h..2d", "mixes units"),
        ("a=1h..2h:1", "mixes units"),
        ('a={kind="x"', "} is missing"),
        ('a="x', '" is missing'),
        ("a=0..1:0.0000001", "10,000,001 values"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        parse_axis(text)


@given(st.integers(-50, 50), st.integers(1, 40), st.integers(1, 30))
def test_a_range_is_exact(first: int, step: int, count: int) -> None:
    first_text, step_text = f"{first / 10}", f"{step / 10}"
    last = Fraction(first_text) + (count - 1) * Fraction(step_text)
    values = parse_axis(f"a={first_text}..{float(last)}:{step_text}").values
    assert [Fraction(value) for value in values] == [Fraction(first_text) + k * Fraction(step_text) for k in range(count)]


@given(st.lists(NAMES, min_size=1, max_size=3), st.integers(1, 20), st.integers(0, 5))
def test_a_draw_is_a_part_of_the_whole_in_its_order(lists: list[list[str]], sample: int, seed: int) -> None:
    axes = [Axis(f"key{k}", tuple(values)) for k, values in enumerate(lists)]
    whole = list(itertools.product(*lists))
    assert [one.values for one in combine(axes)] == whole
    drawn = combine(axes, sample=sample, seed=seed)
    assert [one.index for one in drawn] == list(range(min(sample, len(whole))))
    places = [whole.index(one.values) for one in drawn]
    assert places == sorted(set(places))
    assert drawn == combine(axes, sample=sample, seed=seed)


def test_keys_that_go_together_still_meet_every_seed() -> None:
    axes = axes_of(["a=1,2", "b=x,y"], seeds=2, first_seed=7)
    assert [one.values for one in combine(axes, together=True)] == [
        ("1", "x", "7"),
        ("1", "x", "8"),
        ("2", "y", "7"),
        ("2", "y", "8"),
    ]
    with pytest.raises(SettingsError, match="a has 2, b has 3"):
        combine(axes_of(["a=1,2", "b=x,y,z"]), together=True)


def test_a_sweep_varies_something_once_and_not_without_end() -> None:
    with pytest.raises(SettingsError, match="nothing is varied"):
        axes_of([])
    with pytest.raises(SettingsError, match="varied twice"):
        axes_of(["run.seed=1,2"], seeds=3)
    big = axes_of(["a=1..2000", "b=1..2000"])
    with pytest.raises(SettingsError, match="4,000,000 combinations"):
        combine(big)
    assert len(combine(big, sample=10)) == 10
