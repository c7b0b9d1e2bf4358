"""For all tests: what a busy machine, or how they were started, must not change."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A shell that starts them in the background has SIGINT ignored, and every process that they start would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_PATIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("the-same", derandomize=True, **_PATIENT)
settings.register_profile("anew", **_PATIENT)


def pytest_configure(config: pytest.Config) -> None:
    """The quick tests draw the same examples each time, so that their verdict is the code's alone; the slow ones draw anew."""
    settings.load_profile("anew" if config.option.markexpr == "slow" else "the-same")
