"""From settings to a running system: the only place that wires concrete parts together.

`site` builds the site and its apps, `simulation` runs a scenario to its end, `live` serves it.
"""

from ecovisor.assembly.simulation import Result, check, simulate
from ecovisor.assembly.site import build_site

__all__ = ["Result", "build_site", "check", "simulate"]
