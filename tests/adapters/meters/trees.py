"""Powercap trees made of plain files, with counters that wrap as the kernel's do, and a clock moved by hand."""

from __future__ import annotations

from pathlib import Path

RANGE_UJ = 262_143_328_850
"""As on a machine with an energy unit of 61 µJ."""


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Zone:
    """One domain of a made tree."""

    def __init__(self, folder: Path, name: str, energy_uj: int, range_uj: int | None) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.value_uj = energy_uj
        self.range_uj = range_uj
        (folder / "name").write_text(name + "\n")
        if range_uj is not None:
            (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self._write()

    @property
    def file(self) -> Path:
        return self.folder / "energy_uj"

    def use(self, energy_uj: int) -> None:
        self.value_uj += energy_uj
        if self.range_uj:
            self.value_uj %= self.range_uj
        self._write()

    def set(self, value_uj: int) -> None:
        self.value_uj = value_uj
        self._write()

    def _write(self) -> None:
        partial = self.folder / ".energy_uj"  # as in the kernel, a reader sees one value or the next
        partial.write_text(f"{self.value_uj}\n")
        partial.replace(self.file)


class Tree:
    """A powercap tree; zones stand side by side, as in /sys/class/powercap."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "intel-rapl").mkdir(parents=True)

    def add(self, zone: str, name: str, energy_uj: int = 5_000_000, range_uj: int | None = RANGE_UJ) -> Zone:
        return Zone(self.root / zone, name, energy_uj, range_uj)
