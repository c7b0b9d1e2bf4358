"""The nearest known name."""

from __future__ import annotations

from ecovisor.model.nearest import did_you_mean


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    assert did_you_mean("solar_shrae", ["grid_share", "solar_share"]) == "did you mean 'solar_share'?"


def test_a_stranger_is_answered_with_all_names_in_order() -> None:
    assert did_you_mean("xyz", ["b", "a"]) == "known: a, b"
