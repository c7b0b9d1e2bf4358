"""The reference settles the worked examples to the printed digit."""

from __future__ import annotations

from typing import Any

import pytest

from .settlement import Battery, ReferenceSite, Shares, Tick
from .worked_examples import EXAMPLES, Example


def site_of(example: Example) -> ReferenceSite:
    """The reference at the example's initial state."""
    given = example["site"]
    return ReferenceSite(
        battery=Battery(**given["battery"]),
        shares={name: Shares(**shares) for name, shares in given["shares"].items()},
        excess=given["excess"],
        grid_limit_w=given["grid_limit_w"],
        export_limit_w=given["export_limit_w"],
        initial=given["initial"],
    )


def play(site: ReferenceSite, tick: dict[str, Any]) -> Tick:
    """One tick of an example, with what is set before it."""
    for name in tick["leave"]:
        site.leave(name)
    for name, shares in tick["set_shares"].items():
        site.set_shares(name, Shares(**shares))
    for name, shares in tick["join"].items():
        site.join(name, Shares(**shares))
    site.adjust(tick["adjust_wh"])
    for name, power in tick["charge_rates_w"].items():
        site.set_charge_rate(name, power)
    for name, power in tick["max_discharges_w"].items():
        site.set_max_discharge(name, power)
    return site.step(tick["dt_s"], tick["solar_collected_w"], tick["carbon_intensity_g_per_kwh"], tick["demands_w"])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e["name"])
def test_the_reference_settles_as_on_paper(example: Example) -> None:
    site = site_of(example)
    assert len(example["ticks"]) == len(example["expect"])
    for number, (tick, expect) in enumerate(zip(example["ticks"], example["expect"], strict=True)):
        answer = play(site, tick)
        for who, columns in expect.items():
            row = answer.site if who == "site" else answer.flows[who]
            for column, value in columns.items():
                wanted = None if value is None else pytest.approx(value, rel=1e-12, abs=1e-12)
                assert row[column] == wanted, f"tick {number}, {who}.{column}: {row[column]}, on paper {value}"


def test_every_example_has_a_name_of_its_own() -> None:
    names = [example["name"] for example in EXAMPLES]
    assert len(set(names)) == len(names)
