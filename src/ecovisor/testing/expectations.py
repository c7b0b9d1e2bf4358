"""The two assertions that the suites need beyond `assert`, so that inheriting them asks for no test framework."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def refused(*kinds: type[Exception]) -> Iterator[None]:
    """The body must raise one of `kinds`."""
    try:
        yield
    except kinds:
        return
    names = " or ".join(kind.__name__ for kind in kinds)
    raise AssertionError(f"{names} was expected, and nothing was raised")


def close(value: float, expected: float, tolerance: float = 1e-9) -> bool:
    """Equal within a relative tolerance, or an absolute one near 0."""
    return math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)
