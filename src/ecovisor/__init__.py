"""A virtual energy system for every application that shares a computing site.

    from ecovisor import connect, VirtualEnergy

loads nothing but this file; what is asked for is imported then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecovisor.client import connect, connect_async
    from ecovisor.ports import AppView, VirtualEnergy

__version__ = "0.1.0"

__all__ = ["AppView", "VirtualEnergy", "connect", "connect_async"]

_WHERE = {"AppView": "ports", "VirtualEnergy": "ports", "connect": "client", "connect_async": "client"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
