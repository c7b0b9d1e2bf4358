"""Writes `docs/tick.md`: five ticks of three apps through the engine, and the last of them told step by step with its own numbers.

The page's text is here, its numbers come from the run. With `--check` nothing is written, and the exit status is 1 if the page is
out of date. Run it after a change of the settlement: `python scripts/tour_of_a_tick.py`.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from pathlib import Path

from ecovisor.engine.loop import Loop
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.ports import AppView, VirtualEnergy
from ecovisor.presets import AppShares, BatteryParameters, ServerParameters
from ecovisor.testing import MemorySink
from ecovisor.workloads.models import BatchJob, ConstantDemand

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tick.md"
START_S = 1_590_994_800.0  # 2020-06-01T07:00Z
TICK_S = 360.0
HOURS_H = TICK_S / 3600.0
SOLAR_W = [40.0, 40.0, 60.0, 60.0, 20.0]
CARBON_G_PER_KWH = [200.0, 200.0, 120.0, 120.0, 120.0]
TICK = len(SOLAR_W) - 1
BATTERY = BatteryParameters(
    capacity_wh=200.0,
    empty_ratio=0.3,
    charge_c_rate=0.25,
    discharge_c_rate=1.0,
    charge_efficiency=0.95,
    discharge_efficiency=0.95,
    self_discharge_per_hour=0.001,
    initial_ratio=0.0,
)
APPS = ("render", "web", "mail", "_site")
FLOWS = (
    "demand_w", "solar_w", "solar_to_load_w", "solar_to_battery_w", "grid_to_load_w", "grid_to_battery_w", "battery_discharge_w",
    "shared_w", "received_w", "curtailed_w", "self_discharge_wh", "netting_credit_wh", "battery_level_wh", "capacity_wh", "carbon_g",
    "carbon_on_use_g", "stored_carbon_g",
)  # fmt: skip


class ChargeWhileClean:
    """web's policy: charge at 10 W below 150 g/kWh, keep the battery for later; notes what it saw."""

    def __init__(self) -> None:
        self.saw: list[dict[str, float]] = []

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Called before every tick."""
        clean = energy.get_grid_carbon() < 150.0
        energy.set_battery_charge_rate(10.0 if clean else 0.0)
        energy.set_battery_max_discharge(0.0)
        self.saw.append(
            {
                "tick": float(energy.effective_tick),
                "carbon": energy.get_grid_carbon(),
                "grid": energy.get_grid_power(),
                "level": energy.get_battery_charge_level(),
            }
        )


def run() -> tuple[Site, MemorySink, ChargeWhileClean]:
    """Five ticks."""
    sink, policy = MemorySink(), ChargeWhileClean()
    site = Site(
        PhysicalSite(
            battery=BATTERY, server=ServerParameters(4.0, (1.35, 5.0)), overhead_w=2.0, grid_limit_w=60.0, solar_peak_w=max(SOLAR_W)
        ),
        Signals(solar_w=array("d", SOLAR_W), carbon_intensity_g_per_kwh=array("d", CARBON_G_PER_KWH)),
        start_s=START_S,
        tick_s=TICK_S,
        sink=sink,
        compiled=False,
    )
    shares = {"render": AppShares(0.25, 0.5, 0.25, 0.25), "web": AppShares(0.25, 0.0, 0.25, 0.25)}
    job = BatchJob(work_core_h=100.0, start_s=START_S)
    site.join(AppSpec(name="render", shares=shares["render"], workload=job, cores=4.0))
    web = ConstantDemand(demand_w=8.0)
    site.join(AppSpec(name="web", shares=shares["web"], workload=web, containers=2, cores=4.0, policy=lambda: policy))
    mail = AppShares(0.4, 0.25, 0.25, 0.25)
    site.join(AppSpec(name="mail", shares=mail, workload=ConstantDemand(demand_w=17.0), containers=4, cores=4.0))
    Loop(site).run(len(SOLAR_W))
    return site, sink, policy


def number(value: float, digits: int = 3) -> str:
    """A number for a reader: no trailing zeros, and nothing for 0."""
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def table(rows: Mapping[str, Mapping[str, float | str]]) -> str:
    """The flows of a tick, an app a column; zeros as `·`."""
    lines = ["| | " + " | ".join(f"`{app}`" for app in APPS) + " |", "|---|" + "--:|" * len(APPS)]
    for name in FLOWS:
        values = [float(rows[app][name]) for app in APPS]
        lines.append(f"| `{name}` | " + " | ".join("·" if value == 0.0 else number(value, 4) for value in values) + " |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    site, sink, policy = run()
    now: dict[str, dict[str, float]] = {}
    before: dict[str, dict[str, float]] = {}
    for app in APPS:
        now[app] = {k: v for k, v in sink.row("flows", TICK, app).items() if isinstance(v, float)}
        before[app] = {k: v for k, v in sink.row("flows", TICK - 1, app).items() if isinstance(v, float)}
    physical = {name: float(value) for name, value in sink.row("site", TICK).items() if isinstance(value, float)}
    earlier = {name: float(value) for name, value in sink.row("site", TICK - 1).items() if isinstance(value, float)}
    render, web, mail, own = (now[app] for app in APPS)
    saw = policy.saw[TICK]
    n = number
    eta_c, eta_d = BATTERY.charge_efficiency, BATTERY.discharge_efficiency
    excess_w = {app: now[app]["shared_w"] + now[app]["curtailed_w"] for app in APPS}
    total_excess_w = sum(excess_w.values())
    accepted_w = web["charge_limit_w"] - web["grid_to_battery_w"]
    charge_w = sum(now[app][flow] for app in APPS for flow in ("solar_to_battery_w", "grid_to_battery_w", "received_w"))
    discharge_w = sum(now[app]["battery_discharge_w"] for app in APPS)
    avoided_wh = min(charge_w, discharge_w) * (1 / eta_d - eta_c) * HOURS_H
    imports_w = {app: now[app]["grid_to_load_w"] + now[app]["grid_to_battery_w"] for app in APPS}
    assert site.memory.get("residual_wh") < 1e-12
    assert abs(sum(imports_w.values()) - physical["import_w"]) < 1e-9
    levels_wh = sum(now[app]["battery_level_wh"] for app in APPS)
    containers = [
        (str(name), power, carbon)
        for time, app, name, power, carbon in zip(
            *(sink.column("containers", c) for c in ("time", "app", "container", "power_w", "carbon_g")), strict=True
        )
        if app == "web" and time == START_S + TICK * TICK_S
    ]
    mail_drawn_wh = mail["battery_discharge_w"] * HOURS_H / eta_d
    web_gain_w = web["grid_to_battery_w"] + web["received_w"]
    usable_wh = BATTERY.capacity_wh * (1 - BATTERY.empty_ratio)
    return f"""\
# A tour of one tick

Written by `scripts/tour_of_a_tick.py`, which runs what it tells; change it there.

Three apps share a {n(BATTERY.capacity_wh)} Wh battery, a {n(max(SOLAR_W))} W solar array and a {n(site.physical.grid_limit_w)} W grid \
connection. A tick is {n(TICK_S / 60)} minutes, so *h* = {n(HOURS_H)}. Efficiencies are ηc = ηd = {n(eta_c)}; \
the battery loses {n(BATTERY.self_discharge_per_hour * 100)} % an hour.
Below {n(BATTERY.empty_ratio * 100)} % it counts as empty, and {n(max(SOLAR_W))} W × {n(HOURS_H)} h = {n(site.reserve_wh)} Wh are \
reserved for the solar buffer, so {n(usable_wh)} − {n(site.reserve_wh)} = {n(site.usable_wh)} Wh are left to share.

- **render**, a batch job of {n(render["demand_w"])} W with half of the sun, does not look at energy at all.
- **web**, a service of {n(web["demand_w"])} W without sun, has a policy: charge at 10 W while the grid is below 150 g/kWh, \
never discharge.
- **mail**, a service of {n(mail["demand_w"])} W with a quarter of the sun.
- **`_site`** owns what nobody owns: a quarter of the sun and of the battery, and a switch of {n(own["demand_w"])} W.

Each has a quarter of the battery: {n(web["capacity_wh"])} Wh and {n(web["charge_limit_w"])} W of charge. This is tick {TICK}, \
the {["first", "second", "third", "fourth", "fifth"][TICK]}. The array collected \
{n(earlier["solar_collected_w"])} W during the tick before, and that is what there is to hand out now: the buffer makes the \
coming tick's sun \
known to everybody.

## What the policy sees and sets
`web`'s `tick(energy, app)` is called before the tick with `effective_tick` = {n(saw["tick"])}. It reads an intensity of \
{n(saw["carbon"])} \
g/kWh, {n(saw["grid"])} W of grid power in the tick before, and a level of {n(saw["level"], 4)} Wh. It sets a charge rate of 10 \
W and a \
largest discharge of 0 W.

## Each app is settled alone
{table(now)}

1. **Self-discharge first.** `render` begins with {n(before["render"]["battery_level_wh"], 4)} Wh and loses \
1 − (1 − {BATTERY.self_discharge_per_hour})^{n(HOURS_H)} of it: {n(render["self_discharge_wh"], 5)} Wh.
2. **Solar serves the load.** `render` has {n(render["solar_w"])} W of sun and uses {n(render["solar_to_load_w"])} W.
3. **Excess solar charges the battery**, whatever the charge rate, up to the limit: {n(render["solar_to_battery_w"])} W of \
{n(render["solar_w"] - render["solar_to_load_w"])} W. {n(excess_w["render"])} W are left over.
4. **The grid serves load before battery.** `web` has {n(web["grid_limit_w"])} W of the connection; its load takes \
{n(web["grid_to_load_w"])} W, so only {n(web["grid_to_battery_w"])} W of the 10 W that it asked for reach its battery. A \
battery that is \
charged from the grid is not discharged in the same tick. `mail` lacks {n(mail["demand_w"] - mail["solar_to_load_w"])} W; it \
set no charge \
rate, so its battery gives {n(mail["battery_discharge_w"], 4)} W and the grid {n(mail["grid_to_load_w"], 4)} W.
5. **The level.** `mail`: {n(before["mail"]["battery_level_wh"], 4)} Wh − {n(mail["self_discharge_wh"], 5)} Wh − \
{n(mail["battery_discharge_w"], 4)} W × {n(HOURS_H)} h / {n(eta_d)} = {n(mail["battery_level_wh"], 4)} Wh: \
{n(mail_drawn_wh, 4)} Wh leave the store for {n(mail["battery_discharge_w"] * HOURS_H, 4)} Wh at the terminals.

## What is left over
`render` and `_site` together have {n(total_excess_w)} W that they can neither use nor store. The site's excess policy is \
`share`, then `curtail`. Batteries that did not discharge and have room accept it: `render` and `_site` are at their charge \
limit, `mail` has \
discharged, `web` accepts {n(web["charge_limit_w"])} − {n(web["grid_to_battery_w"])} = {n(accepted_w)} W. So `web` receives \
{n(web["received_w"])} W, given by `render` ({n(render["shared_w"], 4)} W) and `_site` ({n(own["shared_w"], 4)} W) in \
proportion to their excess, \
and {n(sum(now[app]["curtailed_w"] for app in APPS))} W are curtailed. The gift carries no carbon and displaces no grid charge. \
`web` ends with \
{n(before["web"]["battery_level_wh"], 4)} − {n(web["self_discharge_wh"], 5)} + {n(eta_c)} × {n(web_gain_w)} W × {n(HOURS_H)} h = \
{n(web["battery_level_wh"], 4)} Wh.

## From virtual to physical
All virtual batteries together charge with {n(charge_w)} W and discharge with {n(discharge_w, 4)} W. Physically only the \
difference passes the \
converter, so losses of {n(min(charge_w, discharge_w), 4)} W × (1/{n(eta_d)} − {n(eta_c)}) × {n(HOURS_H)} h = \
{n(avoided_wh, 4)} Wh do not happen. \
Nobody's ledger may depend on its neighbours, so they are credited to `_site`, which has room: `netting_credit_wh` = \
{n(own["netting_credit_wh"], 4)}. The battery is set to charge with {n(physical["battery_charge_w"], 4)} W, and the grid meter reads \
the sum of the virtual imports, {n(physical["import_w"], 4)} W.

The physical battery, stepped by its set-point alone, stands at {n(physical["physical_level_wh"], 4)} Wh above the empty line. \
The apps' levels \
sum to {n(levels_wh, 4)} Wh and the buffer holds the {n(physical["buffer_wh"])} Wh that were collected in this tick: \
{n(levels_wh + physical["buffer_wh"], 4)} Wh. In the whole run the two never differ by more than 1e-12 Wh.

## Carbon
At {n(web["carbon_intensity_g_per_kwh"])} g/kWh `web`'s import of {n(imports_w["web"])} W × {n(HOURS_H)} h is charged \
{n(web["carbon_g"], 4)} g on import. On use it is only {n(web["carbon_on_use_g"], 4)} g, for what its load took; \
{n(web["carbon_g"] - web["carbon_on_use_g"], 4)} g went into its battery, which now holds {n(web["stored_carbon_g"], 4)} g. `mail` \
discharged the sun that others had given it: no carbon.

Its containers share `web`'s load by power, and `_battery` stands for what charged its battery:

| container | `power_w` | `carbon_g` |
|---|--:|--:|
{chr(10).join(f"| `{name}` | {n(power, 4)} | {n(carbon, 4)} |" for name, power, carbon in containers)}

## And the site as a whole
In: {n(sum(now[app]["solar_w"] for app in APPS))} W of sun and {n(physical["import_w"], 4)} W from the grid. Out: \
{n(physical["node_power_w"])} W of \
load, {n(physical["battery_charge_w"], 4)} W into the battery and {n(physical["curtailed_w"], 4)} W curtailed. \
{n(sum(now[app]["solar_w"] for app in APPS) + physical["import_w"], 4)} = \
{n(physical["node_power_w"] + physical["battery_charge_w"] + physical["curtailed_w"], 4)}. \
All columns and identities are in [tables.md](tables.md).
"""


def main(arguments: list[str]) -> int:
    """Write the page, or compare."""
    text = page()
    if "--check" in arguments:
        if PAGE.is_file() and PAGE.read_text("utf-8") == text:
            return 0
        print(f"{PAGE} is out of date; run: python scripts/tour_of_a_tick.py", file=sys.stderr)
        return 1
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
