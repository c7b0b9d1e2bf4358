"""The series that studies run on: the published data sets where the caller has them, modelled ones otherwise, each saying which.

Reading and modelling is done by `adapters.signals`; this module knows only which file, column and zone a study asks for.
"""

from __future__ import annotations

from pathlib import Path


class Traces:
    """Where a study's series come from.

    Args:
        folder: the data sets, as `docs/studies.md` lists them; None: everything is modelled.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
