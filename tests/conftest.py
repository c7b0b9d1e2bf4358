"""For all tests: what a busy machine, or how they were started, must not change."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# A shell that starts them in the background has SIGINT ignored, and every process that they start would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("ecovisor", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ecovisor")
