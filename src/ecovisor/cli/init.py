"""`ecovisor init`: write a scenario to start from, with every line explained.

Owns where it goes and that nothing is overwritten; the text is `template.toml` beside this file, which the tests check and run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TEMPLATE = Path(__file__).with_name("template.toml")


def init(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="Where to write it. An existing file is never overwritten.")
    ] = Path("scenario.toml"),
) -> None:
    """Write a commented scenario, ready to run and to be changed.

    \b
    ecovisor init my.toml
    ecovisor check my.toml
    ecovisor simulate my.toml
    """
    from ecovisor.model.errors import SettingsError

    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(TEMPLATE.read_text("utf-8"))
    except FileExistsError:
        raise SettingsError(str(file), "exists already", "name another file") from None
    except OSError as error:
        raise SettingsError(str(file), f"cannot be written: {error.strerror}", "name a file in a folder that exists") from None
    print(f"wrote {file}; next: ecovisor simulate {file}")
