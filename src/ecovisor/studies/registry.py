"""The studies by name; each is imported when it is asked for.

Another study is one more line here and a module that has the class; one's own need not be here: ``file.py:Name`` names it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from ecovisor.adapters.plugins import load_plugin
from ecovisor.model.errors import SettingsError
from ecovisor.studies.study import Study

#: Name → module and class, in the order of reports.
_STUDIES = {
    "fig4": ("figure4", "Figure4"),
    "fig5": ("figure5", "Figure5"),
    "fig6": ("figure6", "Figure6"),
    "fig7": ("figure7", "Figure7"),
    "fig8": ("figure8", "Figure8"),
    "fig9": ("figure9", "Figure9"),
    "fig10": ("figure10", "Figure10"),
    "fig11": ("figure11", "Figure11"),
    "robustness": ("robustness", "Robustness"),
}
_PACKAGE = "ecovisor.studies"


def names() -> tuple[str, ...]:
    """The studies that are there, in the order of reports."""
    return tuple(name for name in _STUDIES if _is_there(name))


def _is_there(name: str) -> bool:
    return name in _STUDIES and find_spec(f"{_PACKAGE}.{_STUDIES[name][0]}") is not None


def study(name: str) -> Study:
    """A study: one of `names`, an entry point in ``ecovisor.studies``, or ``file.py:Name`` relative to the working directory.

    Raises:
        SettingsError: there is none of that name, or it is no study.
    """
    where = "study"
    if _is_there(name):
        module, class_name = _STUDIES[name]
        found: Any = getattr(import_module(f"{_PACKAGE}.{module}"), class_name)
    else:
        found = load_plugin(_PACKAGE, name, Path.cwd(), names(), where)
    made = found() if isinstance(found, type) else found
    for part in ("name", "title", "source", "run", "draw"):
        if not hasattr(made, part):
            raise SettingsError(where, f"{name!r} has no {part!r}", "docs/studies.md says what a study has")
    return cast("Study", made)
