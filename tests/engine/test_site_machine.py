"""A site on which anything may happen between ticks: after every step the identities of the design hold."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ecovisor.engine import recorder
from ecovisor.engine.loop import Loop
from ecovisor.engine.site import Site
from ecovisor.engine.specification import SITE_APP
from ecovisor.model.errors import EcovisorError, Infeasible
from ecovisor.presets import AppShares, BatteryParameters
from ecovisor.workloads.models import BatchJob, ConstantDemand

from . import build
from .identities import demand_identities, known

SUN = [0.0, 0.0, 300.0, 600.0, 600.0, 120.0]
INTENSITY = [200.0, math.nan, 0.0, 450.0]
PARTS = st.sampled_from([0.0, 0.0, 1.0, 0.5, 0.1])
POWERS = st.sampled_from([0.0, 1e-6, 5.0, 40.0, 400.0])
RESOURCES = ("grid", "solar", "battery_energy", "battery_power")


class AnySite(RuleBasedStateMachine):
    """Apps come, go, and set what they like."""

    site: Site

    @initialize(
        battery=st.one_of(
            st.none(),
            st.builds(
                BatteryParameters,
                st.sampled_from([1440.0, 200.0]),
                st.sampled_from([0.0, 0.3]),
                st.sampled_from([0.25, 3.0]),
                st.sampled_from([1.0, 0.1]),
                st.sampled_from([1.0, 0.95, 0.7]),
                st.sampled_from([1.0, 0.9]),
                st.sampled_from([0.0, 1e-4, 0.3]),
                st.sampled_from([0.0, 0.5, 1.0]),
            ),
        ),
        excess=st.sampled_from([("curtail",), ("share", "curtail"), ("share", "export"), ("export", "share"), ("export",)]),
        grid_limit_w=st.sampled_from([math.inf, 0.0, 60.0, 500.0]),
        export_limit_w=st.sampled_from([math.inf, 0.0, 30.0]),
        tick_s=st.sampled_from([60.0, 300.0, 0.001]),
        overhead_w=st.sampled_from([0.0, 7.0]),
    )
    def start(
        self,
        battery: BatteryParameters | None,
        excess: tuple[str, ...],
        grid_limit_w: float,
        export_limit_w: float,
        tick_s: float,
        overhead_w: float,
    ) -> None:
        self.battery, self.excess = battery, excess
        self.kept = build.Keep()
        self.site = build.site(
            ticks=3000,
            solar_w=SUN,
            intensity=INTENSITY,
            battery=battery,
            excess=excess,
            grid_limit_w=grid_limit_w,
            export_limit_w=export_limit_w,
            tick_s=tick_s,
            overhead_w=overhead_w,
            servers=3,
            sink=self.kept,
            history_s=0.0,
        )
        self.loop = Loop(self.site)
        self.made = self.tick = 0
        self.left_wh = 0.0
        self.levels = {SITE_APP: self.site.levels_wh()[0]}
        self.bought_g = self.used_g = 0.0
        for part, batch in ((0.4, False), (0.35, True)):
            self.join([part, part / (1.0 - 0.4 * batch), part, part], demand_w=30.0, batch=batch, containers=2, count=1)

    # -- what may happen

    @property
    def apps(self) -> list[str]:
        return self.site.app_names[:-1]

    def left_over(self, but: str = "") -> dict[str, float]:
        groups = [group.spec for group in self.site.groups if group.spec.name != but]
        return {r: 1.0 - math.fsum(getattr(spec.shares, r) * spec.count for spec in groups) for r in RESOURCES}

    def some_shares(self, parts: list[float], but: str = "", count: int = 1) -> AppShares:
        rest = self.left_over(but)
        return AppShares(*(max(rest[r], 0.0) * part / count for r, part in zip(RESOURCES, parts, strict=True)))

    @precondition(lambda self: len(self.site.groups) < 4)
    @rule(
        parts=st.lists(PARTS, min_size=4, max_size=4),
        demand_w=POWERS,
        batch=st.booleans(),
        containers=st.integers(1, 3),
        count=st.sampled_from([1, 1, 2]),
    )
    def join(self, parts: list[float], demand_w: float, batch: bool, containers: int, count: int) -> None:
        self.made += 1
        spec = build.app(
            f"app{self.made}",
            workload=BatchJob(work_core_h=3.0, start_s=0.0, contention=0.01, checkpoint_interval_s=600.0, restart_duration_s=30.0)
            if batch
            else ConstantDemand(demand_w=demand_w),
            containers=containers,
            count=count,
        )
        spec = build.replace_shares(spec, self.some_shares(parts, count=count))
        self.site.join(spec)
        for name in self.apps:
            self.site.app(name)

    @precondition(lambda self: bool(self.site.groups))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        group = data.draw(st.sampled_from(self.site.groups), label="leaves")
        left_wh = 0.0
        for index in group.indices:
            if self.site.get(index, "battery_level_wh") == 0.0 < self.site.get(index, "stored_carbon_g"):
                return  # emptied by a correction: see `test_boundaries`
            name = group.spec.name_of(index - group.first)
            left_wh += self.levels.get(name, 0.0)
            # A correction since the last tick went with it.
            left_wh += self.site.get(index, "battery_adjust_wh")
        self.left_wh += left_wh
        for index in group.indices:
            self.levels.pop(group.spec.name_of(index - group.first), None)
        self.site.leave(group.spec.name)

    @precondition(lambda self: bool(self.site.groups))
    @rule(data=st.data(), parts=st.lists(PARTS, min_size=4, max_size=4))
    def set_shares(self, data: st.DataObject, parts: list[float]) -> None:
        group = data.draw(st.sampled_from(self.site.groups), label="changes")
        self.site.set_shares({group.spec.name: self.some_shares(parts, group.spec.name, group.spec.count)})

    @rule(data=st.data(), power_w=POWERS)
    def set_battery(self, data: st.DataObject, power_w: float) -> None:
        energy = self.site.app(data.draw(st.sampled_from(self.site.app_names), label="app"))
        if data.draw(st.booleans()):
            assert energy.set_battery_charge_rate(power_w) == min(power_w, energy.battery_charge_limit_w)
        else:
            assert energy.set_battery_max_discharge(power_w) == min(power_w, energy.battery_discharge_limit_w)

    @precondition(lambda self: bool(self.site.groups))
    @rule(data=st.data(), power_w=POWERS, factor=st.sampled_from([0.0, 1.0, 0.5, 2.0]))
    def set_load(self, data: st.DataObject, power_w: float, factor: float) -> None:
        energy = self.site.app(data.draw(st.sampled_from(self.apps), label="app"))
        act: Callable[[], object] = data.draw(
            st.sampled_from(
                [
                    lambda: energy.ask(power_w),
                    lambda: energy.set_app_powercap(power_w),
                    lambda: energy.set_app_powercap(math.inf),
                    lambda: energy.scale_containers(factor),
                    lambda: energy.set_carbon_budget(power_w / 100.0),
                ]
            )
        )
        act()

    @precondition(lambda self: bool(self.site.groups))
    @rule(data=st.data(), what=st.sampled_from(["add", "remove", "resize", "suspend", "resume", "cap", "uncap", "rate"]))
    def change_containers(self, data: st.DataObject, what: str) -> None:
        energy = self.site.app(data.draw(st.sampled_from(self.apps), label="app"))
        ids = [one.id for one in energy.list_containers()]
        if what == "add" and len(ids) < 6:
            assert energy.add_container(2.0) not in ids
            return
        if not ids:
            return
        one = data.draw(st.sampled_from(ids), label="container")
        if what == "remove":
            energy.remove_container(one)
        elif what == "resize":
            energy.resize_container(one, 3.0)
        elif what == "suspend":
            energy.suspend_container(one)
        elif what == "resume":
            energy.resume_container(one)
        elif what == "rate":
            energy.set_carbon_rate(one, 1.0)
        else:
            with contextlib.suppress(Infeasible):  # below the idle power of a large one
                energy.set_container_powercap(one, 2.0 if what == "cap" else math.inf)

    @rule(charge_w=st.sampled_from([math.inf, 0.0, 30.0]), discharge_w=st.sampled_from([math.inf, 0.0, 30.0]))
    def derate(self, charge_w: float, discharge_w: float) -> None:
        self.site.derate(charge_w, discharge_w)

    @rule(ratio=st.sampled_from([0.5, 0.99, 1.01, 0.0, 5.0]))
    def adjust(self, ratio: float) -> None:
        held_wh = sum(self.site.levels_wh())
        booked_wh = self.site.adjust_battery(held_wh * ratio)
        if ratio <= 1.0:
            assert booked_wh == pytest.approx(held_wh * (ratio - 1.0), abs=1e-9)

    @rule()
    def gap(self) -> None:
        self.site.gap(7200.0, import_wh=5.0, export_wh=1.0, solar_wh=4.0, measured_level_wh=sum(self.site.levels_wh()) * 0.9)

    @rule(charge_w=POWERS, ticks=st.integers(1, 12))
    def run_with_a_charge(self, charge_w: float, ticks: int) -> None:
        for name in self.site.app_names[::2]:
            self.site.app(name).set_battery_charge_rate(charge_w)
        self.run(ticks)

    @rule(ticks=st.integers(1, 7))
    def run_on(self, ticks: int) -> None:
        self.run(ticks)

    def run(self, ticks: int) -> None:
        self.kept.clear()
        self.tick += ticks
        self.loop.run(self.tick)
        assert len(self.kept.site) == ticks
        self.levels = demand_identities(self.kept, self.battery, self.levels, self.left_wh, self.excess)
        self.left_wh = 0.0
        self.bought_g += math.fsum(known(row["carbon_g"]) for row in self.kept.tables["flows"])
        self.used_g += math.fsum(row["carbon_on_use_g"] for row in self.kept.tables["flows"])

    @precondition(lambda self: bool(self.site.groups))
    @rule()
    def ask_for_too_much(self) -> None:
        name, levels = self.site.groups[0].spec.name, self.site.levels_wh()
        refused: list[Callable[[], object]] = [
            lambda: self.site.join(build.app("greedy", 1.1)),
            lambda: self.site.join(build.app(name)),
            lambda: self.site.set_shares({name: AppShares(1.5, 0.0, 0.0, 0.0)}),
            lambda: self.site.leave("nobody"),
        ]
        for act in refused:
            with pytest.raises(EcovisorError):
                act()
        assert self.site.levels_wh() == levels

    # -- what always holds

    @invariant()
    def virtual_levels_sum_to_the_physical_one(self) -> None:
        if hasattr(self, "site"):
            levels = self.site.levels_wh()
            above_wh = self.site.memory.get("above_line_wh")
            assert sum(levels) == pytest.approx(above_wh, rel=1e-9, abs=2e-8 * (self.site.usable_wh + 1.0))  # snaps add up
            capacities = [self.site.get(k, "capacity_wh") for k in range(self.site.app_count + 1)]
            assert sum(capacities) == pytest.approx(self.site.usable_wh, rel=1e-9)
            assert all(level >= 0.0 for level in levels)

    @invariant()
    def carbon_bought_is_used_or_stored(self) -> None:
        if hasattr(self, "site"):
            stored_g = math.fsum(self.site.get(k, "stored_carbon_g") for k in range(self.site.app_count + 1))
            assert self.bought_g == pytest.approx(self.used_g + stored_g, rel=1e-9, abs=1e-9)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Blocks that fill up within a few runs, and cost no time to make."""
    monkeypatch.setattr(recorder, "MAX_ROWS", 3)


def test_whatever_happens_between_ticks_the_site_adds_up(small_blocks: None) -> None:
    run_machine(100, 30)


@pytest.mark.slow
def test_whatever_happens_between_ticks_the_site_adds_up_for_long(small_blocks: None) -> None:
    run_machine(1000, 50)


def run_machine(examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        AnySite,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=examples <= 100,  # the quick one is the same every time; the long one explores
            suppress_health_check=list(HealthCheck),
        ),
    )
