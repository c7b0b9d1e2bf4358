"""The peer, vessim, on the same kind of tenants: consumer, producer, battery and grid connection each, its own metrics on.

It has no shares and no tick callback for each tenant, so it does less than ecovisor does in the same step.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from benchmarks.sites import WATTS_PER_APP, day_shapes


def environment(tenants: int, steps: int, controller: Any = None) -> Any:
    """An environment with ``tenants`` microgrids at 1-minute steps."""
    import pandas
    import vessim

    solar, carbon = day_shapes(steps, WATTS_PER_APP * 1.5)
    index = pandas.to_timedelta([60 * k for k in range(steps)], unit="s")
    sun = vessim.Trace(pandas.DataFrame({"sun": list(solar)}, index=index), column="sun")
    intensity = vessim.Trace(pandas.DataFrame({"ci": list(carbon)}, index=index), column="ci")
    env = vessim.Environment(sim_start="2020-01-01", step_size=60)
    for k in range(tenants):
        env.add_microgrid(
            name=f"t{k}",
            actors=[
                vessim.Consumer(name="load", signal=vessim.StaticSignal(WATTS_PER_APP)),
                vessim.Producer(name="sun", signal=sun),
            ],
            dispatchables=[
                vessim.SimpleBattery(name="battery", capacity=40.0, initial_soc=0.3, c_rate=0.25),
                vessim.GridConnection(name="grid"),
            ],
            grid_signals={"carbon_intensity": intensity},
        )
    if controller is not None:
        env.add_controller(controller)
    env.add_controller(vessim.Recorder(timeseries=False))
    return env


def tenant_steps_per_s(tenants: int, steps: int) -> float:
    """Steps of tenants per second of CPU, set-up left out."""
    env = environment(tenants, steps)
    begin = time.process_time()
    env.run(until=60 * steps)
    return tenants * steps / (time.process_time() - begin)


def controlled_steps_per_s(steps: int) -> float:
    """One tenant with a Python controller that reads the state at every step."""
    import vessim

    class Reader(vessim.Controller):  # type: ignore[misc]
        def step(self, now: datetime, microgrid_states: dict[str, Any]) -> None:
            state = microgrid_states["t0"]
            if state["grid_signals"]["carbon_intensity"] < 200.0:
                self.level = state["dispatch_states"]["battery"]["charge_level"]

    env = environment(1, steps, Reader())
    begin = time.process_time()
    env.run(until=60 * steps)
    return steps / (time.process_time() - begin)
