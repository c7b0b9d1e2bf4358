"""Processes of our own beside the one at the terminal: Ctrl-C reaches them all, and is for the one that started them."""

from __future__ import annotations

import signal
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess


def start_deaf(process: BaseProcess) -> None:
    """Start a process that Ctrl-C does not end, not even while it starts; in it `stay_deaf` comes first."""
    if not hasattr(signal, "pthread_sigmask"):
        process.start()
        return
    resource_tracker.ensure_running()  # it would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()  # it has the mask from us
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stay_deaf() -> None:
    """In the process itself: from now on."""
    with suppress(ValueError):  # no main thread, which alone is told
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
