"""What happens to excess at the site, and how all virtual flows become one physical one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.physics.sharing import acceptance_w, metered_flows, netting, part_ratio

powers = st.one_of(st.sampled_from([0.0, 1.0, 100.0]), st.floats(1e-9, 5000.0))
ratios = st.sampled_from([1.0, 0.95, 0.8, 0.5])
lengths_h = st.sampled_from([1e-6 / 3600, 1 / 60, 1 / 12, 1.0])


@given(powers, powers)
def test_what_is_given_is_what_is_taken(excess_w: float, accepted_w: float) -> None:
    given_w = excess_w * part_ratio(accepted_w, excess_w)
    taken_w = accepted_w * part_ratio(excess_w, accepted_w)
    assert given_w == pytest.approx(taken_w, rel=1e-12)
    assert given_w <= min(excess_w, accepted_w) * (1 + 1e-12) + 1e-300


def test_without_a_limit_everything_fits_and_of_nothing_nothing_does() -> None:
    assert part_ratio(math.inf, 5.0) == 1.0
    assert part_ratio(5.0, 0.0) == part_ratio(0.0, 0.0) == 0.0


def test_a_battery_that_discharges_or_is_full_accepts_nothing() -> None:
    assert acceptance_w(50.0, 100.0, 0.0, 1.0, 1000.0, 0.9, 1.0) == 0.0
    assert acceptance_w(100.0, 100.0, 0.0, 0.0, 1000.0, 0.9, 1.0) == 0.0
    assert acceptance_w(50.0, 100.0, 30.0, 0.0, 20.0, 0.9, 1.0) == 0.0


@given(st.floats(0.0, 1.0), powers, powers, ratios, lengths_h)
def test_acceptance_fills_to_full_and_no_further(part: float, charge_w: float, limit_w: float, efficiency: float, h: float) -> None:
    level_wh = part * 1440.0
    room_w = (1440.0 - level_wh) / (efficiency * h)
    charge_w = min(charge_w, limit_w, room_w)
    accepted_w = acceptance_w(level_wh, 1440.0, charge_w, 0.0, limit_w, efficiency, h)
    assert accepted_w + charge_w <= limit_w * (1 + 1e-12)
    assert level_wh + efficiency * (accepted_w + charge_w) * h <= 1440.0 * (1 + 1e-12)


@given(powers, powers, st.one_of(st.just(0.0), st.floats(1e-9, 1000.0)), ratios, ratios, lengths_h)
def test_the_physical_battery_moves_by_what_the_virtual_ones_do(
    charge_w: float, discharge_w: float, room_wh: float, eta_c: float, eta_d: float, h: float
) -> None:
    up_w, down_w, relief_w, credit_wh, spilled_wh = netting(charge_w, discharge_w, room_wh, eta_c, eta_d, h)
    assert min(up_w, down_w) == 0.0
    assert min(relief_w, credit_wh, spilled_wh) >= 0.0
    assert credit_wh <= room_wh
    avoided_wh = min(charge_w, discharge_w) * (1 / eta_d - eta_c) * h
    assert credit_wh + spilled_wh == pytest.approx(avoided_wh, rel=1e-12, abs=1e-18)
    virtual_wh = (eta_c * charge_w - discharge_w / eta_d) * h + credit_wh
    physical_wh = (eta_c * up_w - down_w / eta_d) * h
    assert physical_wh == pytest.approx(virtual_wh, rel=1e-9, abs=1e-12 * (charge_w + discharge_w) * h)
    if spilled_wh == 0.0:
        assert relief_w <= 1e-12 * (charge_w + discharge_w)


@given(powers, powers, powers)
def test_the_meter_sees_the_net_and_relief_is_never_exported(import_w: float, export_w: float, relief_w: float) -> None:
    metered_import_w, metered_export_w, curtailed_w = metered_flows(import_w, export_w, relief_w)
    assert min(metered_import_w, metered_export_w) == 0.0
    assert curtailed_w >= -1e-12 * (import_w + export_w + relief_w)
    assert metered_export_w <= max(export_w - import_w, 0.0)
    balance_w = import_w - export_w - relief_w
    assert metered_import_w - metered_export_w - curtailed_w == pytest.approx(balance_w, abs=1e-9)
