"""What `ecovisor demo` runs: a site file, a worker that counts its own work, and a policy for a process of its own."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
SITE = FOLDER / "site.toml"
POLICY = FOLDER / "follow_the_sun.py"
