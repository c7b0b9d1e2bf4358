"""Settings that came too late for a tick: what is in force until it has been settled, while the app already sees what it asked for."""

from __future__ import annotations

from collections.abc import Mapping

from ecovisor.engine.site import Site

#: The settings that a tick's settlement looks at. Caps and containers act at once.
COLUMNS = ("charge_rate_w", "max_discharge_w", "grid_limit_w")


class Deferred:
    """By app, the values in force where they differ from those asked for."""

    def __init__(self) -> None:
        self._in_force: dict[str, dict[str, float]] = {}

    def values(self, site: Site, index: int) -> dict[str, float]:
        """An app's settings now."""
        return {column: site.get(index, column) for column in COLUMNS}

    def keep(self, app: str, in_force: Mapping[str, float]) -> None:
        """These stay in force for the running tick, unless others do already."""
        self._in_force.setdefault(app, dict(in_force))

    def put_in_force(self, site: Site, numbers: Mapping[str, int]) -> dict[str, dict[str, float]]:
        """Before a tick is settled; returns what was asked for, for `take_over`."""
        asked = {}
        for app, values in self._in_force.items():
            if app in numbers:
                asked[app] = self.values(site, numbers[app])
                _set(site, numbers[app], values)
        self._in_force.clear()
        return asked

    @staticmethod
    def take_over(site: Site, numbers: Mapping[str, int], asked: Mapping[str, Mapping[str, float]]) -> None:
        """When it has been settled: what was asked for governs from now on."""
        for app, values in asked.items():
            _set(site, numbers[app], values)


def _set(site: Site, index: int, values: Mapping[str, float]) -> None:
    for column, value in values.items():
        site.set(index, column, value)
