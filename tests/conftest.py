"""For all tests: a shell that starts them in the background has SIGINT ignored, and every process that they start would inherit that."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
