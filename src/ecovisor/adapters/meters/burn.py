"""A process that uses a part of one CPU, for the load ladder: `python burn.py RATIO PARENT`. Needs the standard library alone.

It spins and sleeps by turns and keeps account of its own CPU time, so that what it uses is right over any second. It ends when its
parent does. `ladder` starts one for each CPU.
"""

from __future__ import annotations

import os
import sys
import time

_PERIOD_S = 0.02


def burn(ratio: float, parent: int) -> None:
    """Use ``ratio`` of a CPU until the process ``parent`` is no longer our parent."""
    time.sleep(_PERIOD_S * (os.getpid() % 8) / 8)  # not all in the same phase
    owed_s = 0.0
    while os.getppid() == parent:
        end_s = time.monotonic() + _PERIOD_S
        begin_cpu_s = time.process_time()
        owed_s = min(owed_s + ratio * _PERIOD_S, 2 * _PERIOD_S)
        while time.process_time() - begin_cpu_s < owed_s:
            pass
        owed_s -= time.process_time() - begin_cpu_s
        rest_s = end_s - time.monotonic()
        if ratio < 1.0 and rest_s > 0.0:
            time.sleep(rest_s)


if __name__ == "__main__":
    burn(float(sys.argv[1]), int(sys.argv[2]))
