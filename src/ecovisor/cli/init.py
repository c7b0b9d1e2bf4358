"""`ecovisor init`: write a scenario, or with `--live` a site with all that it needs, to start from, every line explained.

Owns where it goes and that nothing is overwritten; the texts are `template.toml` and `template_live/` beside this file, which the tests
check and run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Annotated

import typer

TEMPLATE = Path(__file__).with_name("template.toml")
TEMPLATE_LIVE = Path(__file__).with_name("template_live")
#: The files of a live site, in the order in which one reads them.
LIVE_FILES = ("site.toml", "work.py", "policy.py", "carbon.csv")


def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE|DIR]",
            help="Where to write it: scenario.toml, with --live this folder. What exists is never overwritten.",
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Write a site that runs live: its file, a script, a policy and a carbon intensity.")
    ] = False,
) -> None:
    """Write a commented scenario, or a live site, ready to run and to be changed.

    \b
    ecovisor init my.toml          then: ecovisor check my.toml, ecovisor simulate my.toml
    ecovisor init --live mysite    then: what it prints
    """
    if live:
        _init_live(file or Path())
        return
    target = file or Path("scenario.toml")
    _write(target, TEMPLATE.read_text("utf-8"))
    print(f"wrote {target}; next: ecovisor simulate {target}")


def _init_live(folder: Path) -> None:
    """All files of a live site, or none."""
    from ecovisor.model.errors import SettingsError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(str(folder), f"cannot be made: {error.strerror}", "name a folder that can be written") from None
    for name in LIVE_FILES:
        if (folder / name).exists():
            raise SettingsError(str(folder / name), "exists already", "name an empty folder")
    for name in LIVE_FILES[1:]:
        _write(folder / name, (TEMPLATE_LIVE / name).read_text("utf-8"))
    closed = closed_to_others([Path(sys.executable), Path(__file__), folder / "work.py"]) if os.geteuid() == 0 else None
    _write(folder / "site.toml", Template((TEMPLATE_LIVE / "site.toml").read_text("utf-8")).substitute(_machine(closed)))
    where = "" if folder == Path() else f" in {folder}"
    print(f"wrote {', '.join(LIVE_FILES)}{where}")
    if closed is not None:
        print(f"note: {closed} is closed to other users, so separate_users = false: containers run as root, and see what root sees")
    print("next:" if not where else f"next, in {folder}:")
    print("  ecovisor check site.toml")
    print("  ecovisor serve --config site.toml")
    print("  ecovisor run-policy policy.py --app mine   (in another terminal)")


def _machine(closed: Path | None) -> Mapping[str, str]:
    """What the site file says of this machine."""
    users = "# separate_users = false            # run containers as the server's own user\n"
    if closed is not None:
        users = f"separate_users = false              # containers run as the server's user, because {closed} is closed to others\n"
    return {"cores": str(os.cpu_count() or 1), "separate_users": users}


def closed_to_others(files: list[Path]) -> Path | None:
    """The first of these files, or of the folders on the way to one, links followed, that other users may not use; None: there is none."""
    for file in files:
        for path in dict.fromkeys((file.absolute(), file.resolve())):
            for folder in reversed(path.parents):
                if not folder.stat().st_mode & 0o001:
                    return folder
            if not path.stat().st_mode & 0o004:
                return path
    return None


def _write(target: Path, text: str) -> None:
    from ecovisor.model.errors import SettingsError

    try:
        with target.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise SettingsError(str(target), "exists already", "name another file") from None
    except OSError as error:
        raise SettingsError(str(target), f"cannot be written: {error.strerror}", "name a file in a folder that exists") from None
