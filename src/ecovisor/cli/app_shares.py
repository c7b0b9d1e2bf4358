"""Shares as the operator writes and reads them: ``web=0.3`` of everything, ``web.solar=0.5`` of one resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecovisor import wire

RESOURCES = ("grid", "solar", "battery_energy", "battery_power")
_PARTS: Mapping[str, Sequence[str]] = {"battery": ("battery_energy", "battery_power"), **{one: (one,) for one in RESOURCES}}


def changed(held: Mapping[str, wire.Shares], changes: Sequence[str]) -> dict[str, wire.Shares]:
    """Shares by app after changes, only of apps that are named.

    Args:
        held: shares now, by app.
        changes: ``NAME=SHARE`` or ``NAME.RESOURCE=SHARE`` each, one after another.

    Raises:
        SettingsError: a change cannot be read, names no app, or is no share.
    """
    import msgspec

    from ecovisor.model.errors import SettingsError
    from ecovisor.model.nearest import did_you_mean

    new: dict[str, wire.Shares] = {}
    for change in changes:
        key, _, text = change.partition("=")
        name, parts = _named(key, held)
        if name not in held:
            raise SettingsError(change, f"there is no app {name!r}", did_you_mean(name, held))
        try:
            share = float(text)
        except ValueError:
            raise SettingsError(change, f"{text!r} is no number", f"write for example {key}=0.3") from None
        if not 0.0 <= share <= 1.0:
            raise SettingsError(change, f"the share is {share:g}, must be from 0 to 1", "give a part of what there is")
        new[name] = msgspec.structs.replace(new.get(name, held[name]), **dict.fromkeys(parts, share))
    return new


def _named(key: str, held: Mapping[str, wire.Shares]) -> tuple[str, Sequence[str]]:
    """The app and the resources that a key is about; names of apps may have dots in them."""
    name, _, resource = key.rpartition(".")
    if key in held or not name or resource not in _PARTS:
        return key, RESOURCES
    return name, _PARTS[resource]


def left(entries: Sequence[wire.AppEntry]) -> wire.Shares:
    """What no app holds, and is the site's own."""
    from ecovisor import wire

    return wire.Shares(**{one: max(0.0, 1.0 - sum(getattr(entry.shares, one) for entry in entries)) for one in RESOURCES})


def listed(shares: wire.Shares) -> str:
    """For a sentence."""
    held = [getattr(shares, one) for one in RESOURCES]
    if len(set(held)) == 1:
        return f"a share of {held[0]:g} of everything"
    return "shares of " + ", ".join(f"{one.replace('_', ' ')} {share:g}" for one, share in zip(RESOURCES, held, strict=True))
