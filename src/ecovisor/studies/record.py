"""A study on the disk: its tables as CSV, everything else in `study.json`; written whole, read back to draw and to report.

Owns the two formats, exact both ways: what is drawn and reported is what the files say. ``folder`` says when which file is written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ecovisor.model.errors import InputError, SettingsError
from ecovisor.studies.findings import Claim, Column, Findings, Number, Parameter, Rerun, Table

INFO = "study.json"
_AGAIN = "run the study again"


@dataclass(frozen=True, slots=True)
class Record:
    """A study that was read from its folder."""

    name: str
    title: str
    source: str
    info: Mapping[str, Any]
    """All of `study.json`."""
    findings: Findings
    folder: Path

    @property
    def pictures(self) -> list[tuple[Path, str]]:
        """File and caption of each."""
        return [(self.folder / one["file"], one["caption"]) for one in self.info["pictures"]]

    @property
    def modelled(self) -> bool:
        """Whether it ran on modelled series, for want of data sets."""
        return bool(self.info["settings"]["modelled"])


def write_tables(tables: Mapping[str, Table], folder: Path) -> dict[str, Any]:
    """Write each table; what `study.json` says of them: file, rows, columns with their type, checksum.

    Raises:
        SettingsError: columns of unequal length.
    """
    described = {}
    for name, table in tables.items():
        columns = {column: _values(values) for column, values in table.columns.items()}
        lengths = {len(values) for values, _ in columns.values()}
        if len(lengths) > 1:
            raise SettingsError(f"table {name!r}", f"its columns have {sorted(lengths)} rows", "give them equal lengths")
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(values for values, _ in columns.values()), strict=True))
        content = text.getvalue().encode()
        (folder / f"{name}.csv").write_bytes(content)
        described[name] = {
            "file": f"{name}.csv",
            "rows": max(lengths, default=0),
            "columns": {column: kind for column, (_, kind) in columns.items()},
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    return described


def _values(values: Column) -> tuple[list[str], str]:
    """A column's cells, and whether they are numbers; a missing number is an empty cell."""
    if all(isinstance(value, str) for value in values) and len(values):
        return list(map(str, values)), "text"
    numbers = map(float, values)
    return ["" if math.isnan(value) else repr(value) for value in numbers], "number"


def describe(findings: Findings) -> dict[str, Any]:
    """What `study.json` holds of the findings besides their tables."""
    parts = {
        "claims": findings.claims,
        "numbers": findings.numbers,
        "reruns": findings.reruns,
        "parameters": findings.parameters,
        "origins": dict(findings.origins),
        "notes": list(findings.notes),
    }
    return {name: msgspec.to_builtins(part) for name, part in parts.items()}


def read_record(folder: Path) -> Record:
    """The study in a folder.

    Raises:
        InputError: there is none, or a file of it is missing or was changed.
    """
    try:
        info: dict[str, Any] = msgspec.json.decode((folder / INFO).read_bytes(), type=dict[str, Any])
        tables = {name: _read_table(folder, name, one) for name, one in info["tables"].items()}
        findings = Findings(
            numbers=[msgspec.convert(_known(row, "ours"), Number) for row in info["numbers"]],
            claims=msgspec.convert(info["claims"], list[Claim]),
            parameters=msgspec.convert(info["parameters"], list[Parameter]),
            tables=tables,
            reruns=[msgspec.convert(_known(row, "before", "after"), Rerun) for row in info["reruns"]],
            origins=info["origins"],
            notes=info["notes"],
        )
        return Record(info["name"], info["title"], info["source"], info, findings, folder)
    except FileNotFoundError as error:
        raise InputError(str(folder), f"is no study's folder: it has no {Path(error.filename).name}", _AGAIN) from None
    except (OSError, KeyError, msgspec.MsgspecError) as error:
        raise InputError(str(folder / INFO), f"cannot be read: {error}", _AGAIN) from None


def _known(row: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    """A row whose numbers that could not be had, null in JSON, are NaN again."""
    return {**row, **{field: math.nan for field in fields if row[field] is None}}


def _read_table(folder: Path, name: str, described: Mapping[str, Any]) -> Table:
    content = (folder / described["file"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != described["sha256"]:
        raise InputError(str(folder / described["file"]), f"is not what {INFO} says: its checksum differs", _AGAIN)
    _, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    cells: Sequence[Sequence[str]] = list(zip(*rows, strict=True)) or [() for _ in described["columns"]]
    columns: dict[str, Column] = {}
    for (column, kind), values in zip(described["columns"].items(), cells, strict=True):
        columns[column] = list(values) if kind == "text" else [float(value) if value else math.nan for value in values]
    return Table(columns=columns)
