"""The data sets that studies read: a folder of published files, each read once a run, its digest kept.

Owns how a file becomes a series, for the few forms that `adapters.signals` does not know by itself. Which file a study needs is the
business of `traces`; the list with origins and licences stands in `docs/studies.md`.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import math
import tarfile
from array import array
from dataclasses import replace
from pathlib import Path

from ecovisor.adapters.signals.columns import ValueColumn, time_index
from ecovisor.adapters.signals.files import read_grid
from ecovisor.adapters.signals.grid import Grid, fill_gaps
from ecovisor.adapters.signals.tables import Table, open_table
from ecovisor.model.errors import SeriesError
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import iso_utc

_REMEDY = "docs/studies.md lists the files that --data DIR holds; without --data the studies run on modelled series"


#: Characters of a count and what separates it from the next, at most.
_LONGEST_COUNT = 12


class DataFolder:
    """The files of a data folder.

    Args:
        folder: it; files are named relative to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digests: dict[str, str] = {}
        """SHA-256 of each file that was read, by its name."""
        self._tables: dict[str, Table] = {}
        self._grids: dict[tuple[str, str], Grid] = {}

    def table(self, file: str, *, skip_lines: int = 0) -> Table:
        """The columns of a CSV file.

        Raises:
            SeriesError: it is not there, or no table.
        """
        if file not in self._tables:
            self._path(file)
            self._tables[file] = open_table(self.folder / file, file, skip_lines=skip_lines)
            self.digests[file] = self._tables[file].sha256
        return self._tables[file]

    def grid(self, file: str, column: str, unit: str, *, zone: str | None = None) -> Grid:
        """One column on the steps of its file, as it stands there: NaN where a value is missing.

        Args:
            file: name of the file.
            column: of the values.
            unit: in which they are and stay.
            zone: of times that name none.

        Raises:
            SeriesError: the file or column cannot be used.
        """
        if (file, column) not in self._grids:
            table = self.table(file)
            chosen = ValueColumn(table.index(column), column, unit, 1.0)
            self._grids[file, column] = read_grid(table, time_index(table, None), chosen, zone)
        return self._grids[file, column]

    def window(self, grid: Grid, start_s: float, end_s: float) -> Grid:
        """The part of a grid in ``[start_s, end_s)``.

        Raises:
            SeriesError: it does not cover that.
        """
        first, last = round((start_s - grid.start_s) / grid.step_s), round((end_s - grid.start_s) / grid.step_s)
        if first < 0 or last > len(grid.values):
            raise SeriesError(
                grid.label,
                f"covers {iso_utc(grid.start_s)} to {iso_utc(grid.end_s)}, the study needs {iso_utc(start_s)} to {iso_utc(end_s)}",
                _REMEDY,
            )
        return replace(grid, start_s=grid.start_s + first * grid.step_s, values=grid.values[first:last])

    def srrl_day(self, file: str) -> array[float]:
        """Global horizontal irradiance of each minute of the one day in a TMY3 file, from midnight of local standard time. [W/m²]

        Its rows are stamped 00:01 to 24:00, at the end of their minute.

        Raises:
            SeriesError: the file is not there, or does not hold one day by the minute.
        """
        table = self.table(file, skip_lines=1)
        clock = [str(cell) for cell in table.read(table.index("Time (HH:MM)"))]
        if clock != [f"{minute // 60:02}:{minute % 60:02}" for minute in range(1, 1441)]:
            raise SeriesError(
                file, f"holds {clock[0]} to {clock[-1]} in {len(clock)} rows, not the 1440 minutes of one day", _REMEDY
            )
        return array("d", map(float, table.read(table.index("GHI (W/m^2)"))))

    def counts_per_second(self, file: str, seconds: int) -> array[float]:
        """The first counts of a packed list of one count a second (tar in bzip2, numbers apart by white space). [1/s]

        Raises:
            SeriesError: the file is not there, is damaged or shorter.
        """
        content = self._path(file).read_bytes()
        self.digests[file] = hashlib.sha256(content).hexdigest()
        try:
            with tarfile.open(fileobj=io.BytesIO(bz2.decompress(content))) as packed:
                member = packed.extractfile(packed.getmembers()[0])
                words = member.read(_LONGEST_COUNT * seconds).split()[:seconds] if member else []
            counts = array("d", map(float, words))
        except (OSError, EOFError, ValueError, IndexError, tarfile.TarError) as error:
            raise SeriesError(file, f"is no readable list of counts ({str(error)[:80]})", _REMEDY) from None
        if len(counts) < seconds:
            raise SeriesError(file, f"holds {len(counts)} s, the study needs {seconds} s", _REMEDY)
        return counts

    def _path(self, file: str) -> Path:
        path = self.folder / file
        if not path.is_file():
            raise SeriesError(f"{self.folder}: {file}", "there is no such file", _REMEDY)
        return path


def closed(grid: Grid, max_gap_s: float) -> tuple[Grid, int]:
    """The grid with gaps up to ``max_gap_s`` taking the value before them, and how many values that were.

    Raises:
        SeriesError: a longer gap, or one at the start.
    """
    filled, indices = fill_gaps(grid, max_gap_s)
    missing = next((k for k, value in enumerate(filled.values) if math.isnan(value)), None)
    if missing is not None:
        raise SeriesError(
            grid.label,
            f"the value is missing at {iso_utc(grid.start_s + missing * grid.step_s)}",
            "choose a stretch without the gap",
        )
    return filled, len(indices)


def as_series(name: str, unit: str, grid: Grid, origin: str, *, estimated: int = 0) -> Series:
    """A grid as a series; ``estimated`` values of it were closed gaps."""
    if estimated:
        origin += f"; {estimated} of {len(grid.values)} values were missing and took the value before them"
    return Series(name, unit, grid.start_s, grid.step_s, grid.values, Quality.ESTIMATED if estimated else Quality.MEASURED, origin)
