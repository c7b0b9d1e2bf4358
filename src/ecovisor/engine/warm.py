"""`python -m ecovisor.engine.warm`: compile the loop once, so that the first large run does not have to wait for it.

Does nothing where numba is not installed or its cache has no writable place.
"""

from __future__ import annotations

from array import array
from importlib.util import find_spec

from ecovisor.engine.loop import Loop
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.presets import ServerParameters


def main() -> None:
    """Run one tick of an empty site in machine code."""
    if find_spec("numba") is None:
        return
    nothing = array("d", [0.0])
    signals = Signals(solar_w=nothing, carbon_intensity_g_per_kwh=nothing)
    physical = PhysicalSite(server=ServerParameters(1.0, (0.0, 1.0)))
    Loop(Site(physical, signals, start_s=0.0, tick_s=60.0, compiled=True)).run(1)


if __name__ == "__main__":
    main()
