"""Where a site's Unix sockets lie: the server makes them, commands on the same machine find them."""

from __future__ import annotations

from pathlib import Path


def socket_path(state_dir: Path, app: str | None) -> Path:
    """The socket of an app, or of the operator (None); where the folder of sockets is a link, in the folder that it leads to."""
    return (state_dir / "sockets").resolve() / f"{'_operator' if app is None else app}.sock"
