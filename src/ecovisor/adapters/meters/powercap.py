"""The machine's energy by RAPL, read through the powercap tree: one cumulative counter of all packages and their memory.

Owns the counter's arithmetic: every domain wraps on its own, in microjoules as whole numbers, so that sums are exact. What cannot be
known is never zero: a tree without domains or with counters that read 0 is "not available" (None), a counter that cannot be
read or stands still is `Unavailable`, and where wraps may have been missed the counter starts a new epoch. `rapl_tree` finds the
domains; `choose_meter` in the package offers the meter to the site.

RAPL's range is one energy unit (15 or 61 µJ) short of where the hardware wraps; that much is lost in each wrap.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecovisor.adapters.meters.rapl_tree import DomainError, RaplDomain, find_domains
from ecovisor.model.errors import Unavailable
from ecovisor.model.series import Quality
from ecovisor.ports.live import EnergyCounter

ROOT = Path("/sys/class/powercap")
#: Largest power that a domain can be expected to draw; packages are sold up to 500 W. It decides what may be a wrap. [W]
MOST_DOMAIN_W = 600.0
#: RAPL counts every millisecond; a counter that has not moved for this long is broken, not idle. [s]
STILL_S = 2.0
#: A wrap right after a read is no surge of power: this much time at full power is always granted. [s]
_GRANTED_S = 1.0


@dataclass(slots=True)
class _Counting:
    """A domain's counter as it was last seen."""

    domain: RaplDomain
    range_uj: int
    last_uj: int
    moved_s: float


class PowercapMeter:
    """Implements `ecovisor.ports.live.NodeMeter` on a powercap tree.

    The domains are chosen at the first reading that succeeds, and kept. Reads must be less than `read_within_s` apart.

    Args:
        root: the tree.
        prefer_psys: count psys, the whole platform, instead of packages and memory, where it exists and counts. Not the default:
            many boards leave it uncalibrated.
        most_domain_w: largest power of one domain. [W]
        monotonic_s: measures the time between reads. [s]
    """

    def __init__(
        self,
        root: Path | str = ROOT,
        *,
        prefer_psys: bool = False,
        most_domain_w: float = MOST_DOMAIN_W,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = Path(root)
        self._prefer_psys = prefer_psys
        self._most_domain_w = most_domain_w
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._counting: list[_Counting] = []
        self._read_s = 0.0
        self._total_uj = 0
        self._epoch = ""
        self._absence = ""
        self._left_out: list[str] = []

    async def read(self) -> EnergyCounter | None:
        return await asyncio.to_thread(self._read)

    def describe(self) -> str:
        """What is measured, or why not, in one line; reads the tree if it has not been read yet."""
        if not self._counting:
            try:
                self._read()
            except Unavailable as error:
                return f"not available: {error}"
        if not self._counting:
            return f"not available: {self._absence}"
        names = " + ".join(counting.domain.name for counting in self._counting)
        within = "" if math.isinf(self.read_within_s) else f", to be read at least every {self.read_within_s:.0f} s"
        left_out = f"; left out: {', '.join(self._left_out)}" if self._left_out else ""
        return f"RAPL {names} in {self._root}, measured{within}{left_out}"

    @property
    def read_within_s(self) -> float:
        """Between reads further apart than this a wrap could be missed, so the counter starts a new epoch. [s]"""
        ranges_uj = [counting.range_uj for counting in self._counting if counting.range_uj]
        return min(ranges_uj, default=math.inf) / 1e6 / self._most_domain_w

    def _read(self) -> EnergyCounter | None:
        with self._lock:
            now_s = self._monotonic_s()
            if not self._counting and not self._begin(now_s):
                return None
            try:
                values = [counting.domain.energy_uj() for counting in self._counting]
            except DomainError as error:
                raise Unavailable(str(error)) from None
            self._advance(values, now_s)
            return EnergyCounter(self._total_uj / 1e6, Quality.MEASURED, self._epoch)

    def _begin(self, now_s: float) -> bool:
        """Choose the domains; False where this machine has none that count.

        Raises:
            Unavailable: it has, and they cannot be read.
        """
        packages, platform = find_domains(self._root)
        choices = [domains for domains in ([platform, packages] if self._prefer_psys else [packages, platform]) if domains]
        failures: list[str] = []
        hidden = False
        for domains in choices:
            try:
                counting, silent = _first_look(domains, now_s)
            except DomainError as error:
                failures.append(str(error))
                hidden = True
                continue
            if all(_is_optional(domain) for domain in silent):
                self._counting = counting
                self._left_out = [*failures, *(f"{domain.label} reads 0" for domain in silent)]
                self._start_anew(now_s)
                return True
            failures += [f"{domain.label} reads 0, so nothing counts behind it" for domain in silent if not _is_optional(domain)]
        self._absence = "; ".join(failures) or _no_domains(self._root)
        if hidden:
            raise Unavailable(self._absence)
        return False

    def _advance(self, values_uj: Sequence[int], now_s: float) -> None:
        """Add what every domain has counted since the last read; start anew where that cannot be told.

        Raises:
            Unavailable: a counter stands still.
        """
        elapsed_s = now_s - self._read_s
        grown_uj, certain = 0, elapsed_s < self.read_within_s
        for counting, value_uj in zip(self._counting, values_uj, strict=True):
            increment_uj = value_uj - counting.last_uj
            if increment_uj < 0:
                increment_uj += counting.range_uj
                certain = certain and 0 <= increment_uj <= (elapsed_s + _GRANTED_S) * self._most_domain_w * 1e6
            grown_uj += increment_uj
            if increment_uj:
                counting.moved_s = now_s
            counting.last_uj = value_uj
        self._read_s = now_s
        if certain:
            self._total_uj += grown_uj
        else:
            self._start_anew(now_s)
        still = [counting for counting in self._counting if now_s - counting.moved_s > STILL_S]
        if still:
            raise Unavailable(
                f"{still[0].domain.label} has stood still for {now_s - still[0].moved_s:.0f} s; "
                "RAPL counts every millisecond, so its energy is unknown, not zero"
            )

    def _start_anew(self, now_s: float) -> None:
        self._total_uj, self._epoch, self._read_s = 0, uuid.uuid4().hex, now_s


def _first_look(domains: Sequence[RaplDomain], now_s: float) -> tuple[list[_Counting], list[RaplDomain]]:
    """The domains that count, and those that read 0."""
    looked = [_Counting(domain, domain.range_uj(), domain.energy_uj(), now_s) for domain in domains]
    silent = [counting.domain for counting in looked if counting.last_uj == 0]
    return [counting for counting in looked if counting.last_uj > 0], silent


def _is_optional(domain: RaplDomain) -> bool:
    """Memory has a domain of its own on servers only; elsewhere it may be listed and read 0."""
    return domain.name.endswith(" dram")


def _no_domains(root: Path) -> str:
    if not root.is_dir():
        return f"there is no {root}; RAPL needs Linux on an x86 machine that is not virtual, with the module intel_rapl_msr"
    return f"{root} has no RAPL domain of a package or platform; load the module intel_rapl_msr where the processor has RAPL"
