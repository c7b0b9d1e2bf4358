"""Putting a finished folder in the place of another, so that a reader sees the old one or the new one and nothing between.

Owns the one system call that can do it. ``run_folder`` uses it for `--overwrite`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def replace_folder(old: Path, new: Path) -> None:
    """Make `new` the folder called `old`; the old one is deleted.

    One atomic exchange where the system has it (Linux); elsewhere two renames, undone if the second fails.

    Raises:
        OSError: the system refuses; `old` is then as it was.
    """
    if not _exchange(old, new):
        aside = new.with_name(f"{new.name}.old")
        old.rename(aside)
        try:
            new.rename(old)
        except OSError:
            aside.rename(old)
            raise
        new = aside
    shutil.rmtree(new)


def _exchange(one: Path, other: Path) -> bool:
    """Whether the two were exchanged; False where the system or file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    answer: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return answer == 0
