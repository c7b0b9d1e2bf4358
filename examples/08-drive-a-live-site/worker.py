"""A job that slows itself down with its energy: `python worker.py [TICKS]` in a container of a live site, or with ECOVISOR_… set."""

from __future__ import annotations

import sys

from ecovisor import AppView, VirtualEnergy, connect

TOTAL = 1000.0
#: What a unit of work costs. [Wh]
UNIT_WH = 0.02


def main(ticks: int | None) -> None:
    """Work as much as there was power for, and say so."""
    done = 0.0
    with connect(wait_s=30.0) as app:
        app.notify_carbon_change(lambda carbon: print(f"the grid now emits {carbon:.0f} g/kWh"), threshold_ratio=0.2)

        @app.on_tick
        def work(energy: VirtualEnergy, view: AppView) -> None:
            nonlocal done
            done = min(TOTAL, done + energy.get_app_power() * energy.tick_s / 3600.0 / UNIT_WH)
            app.report({"units_per_h": energy.get_app_power() / UNIT_WH}, work_done=done, work_total=TOTAL)
            print(f"tick {app.snapshot.tick}: {energy.get_app_power():.1f} W, {done:.0f} of {TOTAL:.0f} units")
            if done >= TOTAL:
                app.stop()

        app.run(ticks)
        print(f"{app.name}: {done:.0f} units with {app.get_app_carbon():.2f} g")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
