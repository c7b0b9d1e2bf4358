"""Hold the lines covered in the packages that everything rests on; reads the `.coverage` file that the tests left."""

from __future__ import annotations

import io
import sys

import coverage

FLOOR_PERCENT = 95.0
PACKAGES = ("model", "physics", "library", "engine")


def main() -> int:
    """0 if every package holds the floor."""
    data = coverage.Coverage()
    data.load()
    failed = 0
    for package in PACKAGES:
        percent = data.report(include=[f"*/ecovisor/{package}/*"], file=io.StringIO())
        verdict = "" if percent >= FLOOR_PERCENT else f" — below {FLOOR_PERCENT:g} %"
        print(f"lines covered in {package}: {percent:.1f} %{verdict}")
        failed += percent < FLOOR_PERCENT
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
