"""The colours of the dashboard, computed from its style sheet: text can be read, sources can be told apart, whoever looks."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from ecovisor.dashboard import serving

SHEET = (Path(serving.__file__).parent / "static" / "style.css").read_text()
Rgb = tuple[float, float, float]

#: Colours of text, and what it stands on.
TEXT = (
    ("ink", "panel"),
    ("ink", "page"),
    ("soft", "panel"),
    ("soft", "page"),
    ("warn", "warn-back"),
    ("bad", "bad-back"),
    ("bad", "panel"),
    ("link", "panel"),
)
#: What is left of linear red, green and blue without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1).
VISION = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def palette(scheme: str) -> dict[str, Rgb]:
    light, dark = re.findall(r":root \{(.*?)\}", SHEET, flags=re.DOTALL)[:2]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark))
    return {name: linear(value) for name, value in found.items()}


def linear(text: str) -> Rgb:
    values = [int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return red, green, blue


def luminance(colour: Rgb) -> float:
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def contrast(one: Rgb, other: Rgb) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def lab(colour: Rgb) -> Rgb:
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [
        sum(a * b for a, b in zip(row, colour, strict=True)) / white for row, white in zip(rows, (0.9505, 1, 1.089), strict=True)
    ]
    x, y, z = (max(v, 0.0) ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one: Rgb, other: Rgb, vision: str) -> float:
    seen = [
        lab(tuple(min(max(sum(a * b for a, b in zip(row, colour, strict=True)), 0.0), 1.0) for row in VISION[vision]))  # type: ignore[arg-type]
        for colour in (one, other)
    ]
    return float(sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme: str) -> None:
    colours = palette(scheme)
    for text, back in TEXT:
        assert contrast(colours[text], colours[back]) >= 4.5, (text, back)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_sources_are_told_apart_with_any_kind_of_colour_vision(scheme: str, vision: str) -> None:
    colours = palette(scheme)
    for one, other in itertools.combinations(("solar", "battery", "grid"), 2):
        assert difference(colours[one], colours[other], vision) > 18, (one, other)
    for source in ("solar", "battery", "grid"):
        assert difference(colours[source], colours["panel"], vision) > 18, source


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_neighbouring_apps_are_told_apart_with_any_kind_of_colour_vision(scheme: str, vision: str) -> None:
    colours = palette(scheme)
    order = [*(f"app-{k}" for k in range(7)), "app-others", "app-site"]
    for one, other in itertools.pairwise(order):
        assert difference(colours[one], colours[other], vision) > 9, (one, other)


def test_sources_have_one_colour_in_both_schemes() -> None:
    light, dark = palette("light"), palette("dark")
    for source in ("solar", "battery", "grid"):
        assert light[source] == dark[source]
