"""Which cases there are, with what each is compared and what is aimed at; runs them and prints medians, ratios and the machine's load.

Every measurement has a process of its own; a case and its peer take turns, and the ratio is formed pair by pair.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecovisor.model.errors import SettingsError
from ecovisor.model.nearest import did_you_mean


@dataclass(frozen=True, slots=True)
class Case:
    """A benchmark: a function of `benchmarks.cases`, the figure it is judged by, and a peer's function."""

    function: str
    figure: str
    bound: float
    """At least (rates) or at most (times); of the ratio where there is a peer."""
    aim: float
    peer: str | None = None
    runs: int = 5

    @property
    def rate(self) -> bool:
        """True where more is better."""
        return self.figure.endswith("per_s")


CASES = {
    "vessim_builtin_1000_apps": Case("builtin_1000_apps", "app_ticks_per_s", 1000, 3000, peer="peer_1000_tenants"),
    "vessim_python_tick_1000_apps": Case("python_tick_1000_apps", "app_ticks_per_s", 30, 100, peer="peer_1000_tenants"),
    "builtin_1000_apps_recorded": Case("builtin_1000_apps_recorded", "us_per_flows_row", 0.6, 0.4),
    "vessim_python_year_one_app": Case("python_year_one_app", "cpu_s", 1.0, 0.3, peer="peer_year_one_app", runs=3),
    "python_year_one_app_recorded": Case("python_year_one_app_recorded", "cpu_s", 2.0, 1.0),
    "cold_small_scenario": Case("cold_small_scenario", "cpu_s", 1.0, 0.6),
    "million_apps": Case("million_apps", "cpu_ms_per_tick", 45, 25, runs=3),
    "snapshot_get_vs_starlette": Case("snapshot_get", "cpu_ratio", 1.5, 1.0, runs=3),
    "live_tick_10000_apps": Case("live_tick_10000_apps", "cpu_s_per_tick", 1.0, 0.5, runs=3),
    "live_idle_three_apps": Case("live_idle_three_apps", "percent_of_a_core", 2.0, 1.0, runs=1),
    "ledger_commits": Case("ledger_commits", "cpu_ms_per_tick_10000", 400, 250, runs=3),
    "ledger_month": Case("ledger_month", "part_of_bound", 1.0, 0.5, runs=1),
    "year_10000_apps": Case("year_10000_apps", "cpu_s_per_year", 150, 60, runs=3),
}
_MEASURE = "import json, sys; from benchmarks import cases; print(json.dumps(getattr(cases, sys.argv[1])()))"


def run(names: list[str], progress: Callable[[str], None]) -> dict[str, Any]:
    """Run cases and say what they came to.

    Args:
        names: of the cases; none means all.
        progress: told a line at a time.

    Returns:
        ``ratios``: case → median ratio to its peer; ``figures``: case → median of every figure; ``machine``.

    Raises:
        SettingsError: an unknown case.
    """
    for name in names:
        if name not in CASES:
            raise SettingsError("bench", f"unknown case {name!r}", did_you_mean(name, CASES))
    have_peer = importlib.util.find_spec("vessim") is not None
    machine = {
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    progress(f"{machine['processor']}, {machine['cores']} cores, load {machine['load_before']}, Python {machine['python']}")
    if not have_peer:
        progress("peer vessim is not installed: no ratios; `make bench` installs it")
    ratios: dict[str, float | str] = {}
    figures: dict[str, dict[str, float]] = {}
    for name in names or CASES:
        case = CASES[name]
        ours, theirs = [], []
        for _ in range(case.runs):
            ours.append(_measure(case.function))
            if case.peer is not None and have_peer:
                theirs.append(_measure(case.peer))
        figures[name] = {key: statistics.median(one[key] for one in ours) for key in ours[0]}
        line = ", ".join(f"{key} {value:,.4g}" for key, value in figures[name].items())
        if theirs:
            pairs = [a[case.figure] / b[case.figure] for a, b in zip(ours, theirs, strict=True)]
            ratio = statistics.median(pairs if case.rate else [1.0 / pair for pair in pairs])
            ratios[name] = ratio
            peer = statistics.median(one[case.figure] for one in theirs)
            figures[name][f"peer_{case.figure}"] = peer
            line += f"; peer {peer:,.4g}; ratio {ratio:,.4g}"
        elif case.peer is not None:
            ratios[name] = "peer vessim is not installed"
        sign = "at least" if case.rate else "at most"
        of = " (ratio)" if case.peer is not None and case.rate else ""
        progress(f"{name}: {line} [{sign} {case.bound:g}{of}, aim {case.aim:g}; median of {case.runs}]")
    machine["load_after"] = round(os.getloadavg()[0], 2)
    return {"ratios": ratios, "figures": figures, "machine": machine}


def _measure(function: str) -> dict[str, float]:
    """One measurement in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, function], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as info:
            names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.machine()
