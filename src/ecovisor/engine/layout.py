"""Where what stands in a recorder's block: a flat piece of floats that the loop fills row by row (`kernel.record`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ecovisor.engine.columns import RECORDED, SITE_RECORDED

#: Names in the `flows` table of columns that are called otherwise there.
RENAMED = {"charge_rate_in_force_w": "charge_rate_setting_w", "max_discharge_w": "max_discharge_setting_w"}


@dataclass(frozen=True)
class Layout:
    """Who stands where in a block."""

    apps: Sequence[str]
    containers: Sequence[tuple[int, str, int]]
    """App's number, container, record; in the order of the table."""
    slots: int
    rows: int

    @property
    def width(self) -> int:
        """Floats a tick."""
        return len(RECORDED) * len(self.apps) + len(SITE_RECORDED) + 2 * self.slots

    def flow(self, column: int) -> tuple[int, int]:
        """Start of a column of `flows`, and its length."""
        return column * self.rows * len(self.apps), self.rows * len(self.apps)

    def site(self, column: int) -> tuple[int, int]:
        """Start of a column of `site`, and its length."""
        return (len(RECORDED) * len(self.apps) + column) * self.rows, self.rows

    def parts(self, ticks: int) -> list[tuple[int, int]]:
        """Start and length of what the first ``ticks`` rows fill, in the order of a block with as many rows."""
        apps = len(self.apps)
        flows = [(self.flow(column)[0], ticks * apps) for column in range(len(RECORDED))]
        site = [(self.site(column)[0], ticks) for column in range(len(SITE_RECORDED))]
        containers = [(self.power_start + half * self.rows * self.slots, ticks * self.slots) for half in (0, 1)]
        return flows + site + containers

    @cached_property
    def container_rows(self) -> list[tuple[str, str]]:
        """App and container of each row of a tick in the `containers` table."""
        rows: list[tuple[str, str]] = []
        containers = iter((*self.containers, (-1, "", 0)))
        owner, name, _ = next(containers)
        for app, app_name in enumerate(self.apps):
            while owner == app:
                rows.append((app_name, name))
                owner, name, _ = next(containers)
            rows.append((app_name, "_battery"))
        return rows

    @property
    def power_start(self) -> int:
        """Start of the containers' powers; their caps follow."""
        return (len(RECORDED) * len(self.apps) + len(SITE_RECORDED)) * self.rows
