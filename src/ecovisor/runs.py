"""Reading a run folder again: `run.json` and the tables, as arrays or DataFrames.

Owns the reading side of ``adapters.stores.run_folder``, in both formats. ``plots`` and the studies take it from here; the tables'
columns are described in ``docs/tables.md``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ecovisor.model.errors import InputError
from ecovisor.model.nearest import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_ROWS_AT_ONCE = 262_144
_CATEGORIES = ("app", "container", "kind", "quality")


def open(path: str | Path) -> Run:  # noqa: A001 - it is called as runs.open
    """The run in the folder `path`.

    Raises:
        InputError: there is no such folder, or it holds no readable `run.json`.
    """
    folder = Path(path)
    try:
        info: dict[str, Any] = msgspec.json.decode((folder / "run.json").read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        raise InputError(
            str(folder), "is no run folder: it has no run.json", "name a folder that 'ecovisor simulate' wrote"
        ) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(str(folder / "run.json"), f"cannot be read: {error}", "run the scenario again") from None
    return Run(folder, info)


@dataclass(frozen=True)
class Run:
    """One run folder."""

    path: Path
    info: dict[str, Any]
    """What `run.json` holds: settings, seed, versions, files, shares, efficiencies, summary, tables."""

    @cached_property
    def flows(self) -> pd.DataFrame:
        """A row per app (and `_site`) and tick."""
        return self._frame("flows")

    @cached_property
    def site(self) -> pd.DataFrame:
        """A row per tick."""
        return self._frame("site")

    @cached_property
    def containers(self) -> pd.DataFrame:
        """A row per container and tick."""
        return self._frame("containers")

    @cached_property
    def events(self) -> pd.DataFrame:
        """A row per event."""
        return self._frame("events")

    def has(self, table: str) -> bool:
        """Whether the run kept this table."""
        return table in self.info["tables"]

    def batches(self, table: str, columns: Sequence[str]) -> Iterator[dict[str, NDArray[np.float64]]]:
        """Number columns of a table, some rows at a time, so that long runs need little memory. `time` is in s since the epoch.

        Raises:
            InputError: the run kept no such table, or NumPy (or, for Parquet, pyarrow) is not installed.
        """
        file = self._file(table)
        try:
            if file.suffix == ".parquet":
                yield from _parquet_batches(file, columns)
            else:
                yield from _csv_batches(file, columns)
        except ModuleNotFoundError as error:
            raise InputError(str(file), f"reading it needs {error.name}", "pip install 'ecovisor[studies]'") from None

    def _file(self, table: str) -> Path:
        kept = self.info["tables"]
        if table not in kept:
            record = self.info.get("settings", {}).get("run", {}).get("record")
            remedy = 'it kept totals only; run it with record = "all"' if record == "totals" else did_you_mean(table, kept)
            raise InputError(str(self.path), f"holds no table {table!r}", remedy)
        return self.path / str(kept[table]["file"])

    def _frame(self, table: str) -> pd.DataFrame:
        file = self._file(table)
        try:
            import pandas as pd

            if file.suffix == ".parquet":
                import pyarrow.parquet as pq

                frame: pd.DataFrame = pq.read_table(file).to_pandas()
                return frame
        except ModuleNotFoundError as error:
            raise InputError(str(file), f"a DataFrame needs {error.name}", "pip install 'ecovisor[studies]'") from None
        return pd.DataFrame(_csv_columns(file, pd))


def _parquet_batches(file: Path, columns: Sequence[str]) -> Iterator[dict[str, NDArray[np.float64]]]:
    import numpy as np
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(columns)):
            arrays = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in columns}
            if "time" in arrays:
                arrays["time"] = arrays["time"].astype("datetime64[us]").astype(np.int64) / 1e6
            yield arrays


def _csv_batches(file: Path, columns: Sequence[str]) -> Iterator[dict[str, NDArray[np.float64]]]:
    from itertools import islice

    import numpy as np

    from ecovisor.model.units import instant_s

    with file.open(encoding="utf-8", newline="") as text:
        rows = csv.reader(text)
        header = next(rows)
        places = [header.index(name) for name in columns]
        readers = [instant_s if name == "time" else _number for name in columns]
        while chunk := list(islice(rows, _ROWS_AT_ONCE)):
            yield {
                name: np.array([read(row[place]) for row in chunk], dtype=np.float64)
                for name, place, read in zip(columns, places, readers, strict=True)
            }


def _csv_columns(file: Path, pd: Any) -> dict[str, Any]:
    """Every column of a CSV table, its floats bit for bit as they were written."""
    with file.open(encoding="utf-8", newline="") as text:
        header, *rows = csv.reader(text)
    columns: dict[str, Any] = {}
    for name, cells in zip(header, zip(*rows, strict=True) if rows else ((),) * len(header), strict=True):
        if name == "time":
            columns[name] = pd.to_datetime(list(cells), format="ISO8601", utc=True).astype("datetime64[us, UTC]")
        elif name in _CATEGORIES:
            columns[name] = pd.Categorical(cells)
        else:
            columns[name] = list(cells) if name == "detail" else [_number(cell) for cell in cells]
    return columns


def _number(cell: str) -> float:
    return float(cell) if cell else float("nan")
