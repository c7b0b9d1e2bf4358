"""Reads CPU time of containers from outside: a program of its own that shares no code with ours, run by `test_caps`.

    python cpu_reader.py cgroup|proc TICK_S TICKS PID…

Prints a line of JSON per tick: its length, and the CPU time that each container used in it, in seconds. `cgroup` finds the control group
that PID is in and reads its counter; `proc` adds up the processes of PID's session, from their scheduling statistics in nanoseconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


def group_counter(pid: int) -> Callable[[], float]:
    """CPU time of the control group that a process is in."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            file = Path(f"/sys/fs/cgroup/cpuacct{path}/cpuacct.usage")
            assert "ecovisor-" in path
            return lambda: int(file.read_text()) / 1e9
    path = next(line.split("::")[1] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    assert "ecovisor-" in path
    stat = Path(f"/sys/fs/cgroup{path}/cpu.stat")
    return lambda: int(stat.read_text().split("usage_usec ")[1].split()[0]) / 1e6


def session_counter(pid: int) -> Callable[[], float]:
    """CPU time of the processes that are in a session now."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == pid:
                members.append(entry / "schedstat")
    assert members
    return lambda: sum(int(file.read_text().split()[0]) for file in members) / 1e9


def main() -> None:
    how, tick_s, ticks, *pids = sys.argv[1:]
    counters = [(group_counter if how == "cgroup" else session_counter)(int(pid)) for pid in pids]
    begin_s = time.monotonic()
    before = [(time.monotonic(), counter()) for counter in counters]
    for k in range(int(ticks)):
        time.sleep(max(0.0, begin_s + (k + 1) * float(tick_s) - time.monotonic()))
        now = [(time.monotonic(), counter()) for counter in counters]
        used = [[n[0] - b[0], n[1] - b[1]] for n, b in zip(now, before, strict=True)]
        print(json.dumps(used), flush=True)
        before = now


if __name__ == "__main__":
    main()
