"""The report of a run of studies: `report.html`, `report.md`, and the same for programs in `studies.json`.

Owns which files there are; words and style are in `report_html` and `report_markdown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ecovisor.studies import report_html, report_markdown
from ecovisor.studies.record import Record
from ecovisor.studies.report_words import Failure, held

PAGE = "report.html"
_MARKDOWN, _SUMMARY = "report.md", "studies.json"


def write_report(records: Sequence[Record], failures: Sequence[Failure], folder: Path) -> None:
    """Write the report into the folder that holds the studies' folders, or that is the one study's.

    Raises:
        OSError: the disk is full or refuses.
    """
    (folder / PAGE).write_text(report_html.report(records, failures), "utf-8")
    if [record.folder for record in records] == [folder]:
        return  # a study alone has its own page of Markdown and its own file for programs
    (folder / _MARKDOWN).write_text(report_markdown.report(records, failures, folder), "utf-8")
    text = msgspec.json.format(msgspec.json.encode(summary(records, failures)), indent=2)
    (folder / _SUMMARY).write_bytes(text + b"\n")


def summary(records: Sequence[Record], failures: Sequence[Failure]) -> dict[str, Any]:
    """What programs want to know: claims, numbers and whether each held, the series' origins; of every study."""
    good, all_of_them = held(records)
    studies = []
    for record in records:
        numbers = [
            {**row, "difference": number.difference}
            for row, number in zip(record.info["numbers"], record.findings.numbers, strict=True)
        ]
        parts = {part: record.info[part] for part in ("claims", "reruns", "parameters", "origins", "notes", "settings", "cpu_s")}
        studies.append({"name": record.name, "title": record.title, "source": record.source, **parts, "numbers": numbers})
    return {
        "held": good == all_of_them and not failures,
        "claims": all_of_them,
        "claims_held": good,
        "modelled": any(record.modelled for record in records),
        "studies": studies,
        "failures": [{"name": failure.name, "error": failure.error} for failure in failures],
    }
