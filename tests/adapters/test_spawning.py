"""Processes of our own, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import multiprocessing, os, signal, sys, time
from ecovisor.adapters.spawning import start_deaf, stay_deaf

def work(pipe):
    stay_deaf()
    os.kill(os.getpid(), signal.SIGINT)
    pipe.send("still here")

if __name__ == "__main__":
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=work, args=(theirs,))
    start_deaf(process)
    theirs.close()
    os.kill(process.pid, signal.SIGINT)  # long before it has imported anything
    print(ours.recv(), flush=True)
    process.join()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10.0)
    except KeyboardInterrupt:
        print("and the one that started it hears", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signal masks")
def test_a_process_is_deaf_to_ctrl_c_while_it_starts_and_after(tmp_path: os.PathLike[str]) -> None:
    program = f"{os.fspath(tmp_path)}/program.py"
    with open(program, "w", encoding="utf-8") as file:  # noqa: PTH123 - a spawned process wants a file to import
        file.write(PROGRAM)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60.0, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["still here", "and the one that started it hears"]
