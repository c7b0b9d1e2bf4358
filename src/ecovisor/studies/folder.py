"""The folder that a study leaves behind: its data first, then what is known of the run, then pictures drawn from the data read back.

Owns the order, the names of the files and the line on every picture of modelled series. Formats are in `record`, words in
`report_markdown`; `running` gives the folder its final name when everything is in it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

import ecovisor
from ecovisor.adapters.stores.folder_swap import replace_folder
from ecovisor.model.errors import SettingsError
from ecovisor.studies.findings import Findings
from ecovisor.studies.record import INFO, Record, describe, read_record, write_tables
from ecovisor.studies.report_markdown import study_page
from ecovisor.studies.study import Context, Study

README = "README.md"
NO_PICTURES = "no plots: matplotlib is not installed; pip install 'ecovisor[plots]'"
_ON_MODELLED = "modelled input series, no measured data"
_DOTS_PER_INCH = 140
#: Height of the strip below pictures of modelled series. [dots]
_STRIP = 32
_LIBRARIES = ("numpy", "matplotlib", "msgspec", "numba", "scipy", "highspy")


def run_study(study: Study, context: Context, folder: Path) -> Record:
    """Run a study and write it into a new folder: tables, `study.json`, pictures, `README.md`.

    Raises:
        InputError: a trace cannot be used.
        OSError: the disk is full or refuses.
    """
    started_s, cpu_s = time.monotonic(), time.process_time()
    findings = study.run(context)
    took_s, cpu_s = time.monotonic() - started_s, time.process_time() - cpu_s
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _write(study, context, findings, folder, took_s=took_s, cpu_s=cpu_s)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write(study: Study, context: Context, findings: Findings, folder: Path, *, took_s: float, cpu_s: float) -> Record:
    info = {
        "name": study.name,
        "title": study.title,
        "source": study.source,
        "ecovisor": ecovisor.__version__,
        "settings": {"seeds": context.seeds, "seed": context.seed, "modelled": context.traces.modelled},
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_s": round(took_s, 3),
        "cpu_s": round(cpu_s, 3),
        "versions": {"python": platform.python_version(), **_versions()},
        "files": context.traces.digests,
        **describe(findings),
        "tables": write_tables(findings.tables, folder),
        "pictures": [],
    }
    _write_info(folder, info)
    pictures, notes = _draw(study, read_record(folder))
    _write_info(folder, info | {"pictures": pictures, "notes": [*findings.notes, *notes]})
    record = read_record(folder)
    (folder / README).write_text(study_page(record), "utf-8")
    return record


def _write_info(folder: Path, info: Mapping[str, Any]) -> None:
    text = msgspec.json.format(msgspec.json.encode(info), indent=2)
    (folder / INFO).write_bytes(text + b"\n")


def _versions() -> dict[str, str]:
    """Of the libraries that this run has loaded."""
    loaded = ((name, sys.modules.get(name)) for name in _LIBRARIES)
    return {name: str(getattr(module, "__version__", "unknown")) for name, module in loaded if module is not None}


def _draw(study: Study, record: Record) -> tuple[list[dict[str, str]], list[str]]:
    """Draw and save the pictures; what `study.json` says of them, and what was left out."""
    if find_spec("matplotlib") is None:
        return [], [NO_PICTURES]
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    pictures = []
    with matplotlib.rc_context():
        for name, (figure, caption) in study.draw(record.findings).items():
            path = record.folder / f"{name}.png"
            figure.savefig(path, dpi=_DOTS_PER_INCH, format="png")
            if record.modelled:
                _write_below(path, _ON_MODELLED)
            pyplot.close(figure)
            pictures.append({"file": f"{name}.png", "caption": caption})
    return pictures, []


def _write_below(path: Path, line: str) -> None:
    """Add a strip with a small line below a picture, which stays as it is to the pixel."""
    from matplotlib import image, pyplot

    picture = image.imread(path)
    height, width = picture.shape[:2]
    size = ((width + 0.5) / _DOTS_PER_INCH, (height + _STRIP + 0.5) / _DOTS_PER_INCH)  # what is left of a dot is cut off
    figure = pyplot.figure(figsize=size, dpi=_DOTS_PER_INCH)
    figure.figimage(picture, 0, _STRIP, origin="upper")
    figure.text(0.995, 9 / (height + _STRIP), line, ha="right", va="bottom", fontsize=8, style="italic", color="#6B747C")
    figure.savefig(path, dpi=_DOTS_PER_INCH, format="png")
    pyplot.close(figure)


@contextmanager
def new_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A hidden folder beside the target, which takes the target's name when the block ends well and is removed otherwise.

    Raises:
        SettingsError: the target exists, holds something that no study wrote, or cannot be made.
    """
    _refuse_existing(target, overwrite)
    partial = target.parent / f".{target.name}.partial-{os.getpid()}"
    made = [parent for parent in (target.parent, *target.parent.parents) if not parent.exists()]
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            replace_folder(target, partial)
        else:
            partial.rename(target)
    except OSError as error:
        raise SettingsError(
            str(error.filename or target), f"cannot be written: {error.strerror or error}", "choose --out"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise SettingsError(str(target), "exists", "choose another --out, or --overwrite")
    if not target.is_dir() or (any(target.iterdir()) and not any((target / name).exists() for name in (INFO, "studies.json"))):
        raise SettingsError(str(target), "holds something else than studies", "choose another --out")
