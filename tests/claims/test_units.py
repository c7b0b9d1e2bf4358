"""Every float of the model and the physics says its unit in its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ecovisor

PACKAGE = Path(ecovisor.__file__).parent

#: What a name of a float ends with: the unit, or that it has none.
SUFFIXES = ("w", "wh", "g", "g_per_kwh", "g_per_h", "s", "h", "ns", "ratio", "c_rate", "per_hour", "per_kwh", "cores", "core_h")

#: Names without a unit, and why.
EXCEPTIONS = {
    ("physics", "points"): "a count; a float because the loop's state holds nothing else",
    ("physics", "charge_efficiency"): "dimensionless by its meaning",
    ("physics", "discharge_efficiency"): "dimensionless by its meaning",
    ("model", "text"): "a person's words, or a number of seconds",
    ("model", "values"): "the unit of a series is its own field",
    ("model", "number"): "any number",
    ("model", "work_done"): "in `work_unit`: core-hours or watt-hours",
    ("model", "work_total"): "in `work_unit`: core-hours or watt-hours",
    ("model", "battery_cycles"): "a count",
    ("model", "bound"): "in the unit of what was asked",
    ("model", "cost"): "in the currency of the price signal",
    ("wire", "work_done"): "in a unit of the app's own",
    ("wire", "work_total"): "in a unit of the app's own",
    ("wire", "metrics"): "by name; the app's own",
    ("wire", "compression"): "seconds in a second",
    ("wire", "asked"): "by field, whose name has the unit",
    ("wire", "in_force"): "by field, whose name has the unit",
    ("wire", "cost"): "in the currency of the price signal",
    ("wire", "qualities"): "parts by quality",
    ("wire", "values"): "the unit is a field of its own",
    ("wire", "value"): "W, g/kWh or Wh, by the kind of the event",
    ("wire", "bound"): "in the unit of the field at fault",
    ("model", "UNIT_FACTORS"): "from foreign units into ours",
}
PACKAGES = [name for name in ("model", "physics", "wire") if (PACKAGE / name).is_dir()]


def floats(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Parameters and annotated attributes whose type has a float in it."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                if argument.annotation is not None and is_float(argument.annotation):
                    yield argument.arg, argument.lineno
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and is_float(node.annotation):
            yield node.target.id, node.lineno
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, float):
            yield from ((target.id, node.lineno) for target in node.targets if isinstance(target, ast.Name))


def is_float(annotation: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id == "float" for part in ast.walk(annotation))


def has_unit(name: str) -> bool:
    lower = name.lower()
    return any(lower == suffix or lower.endswith("_" + suffix) for suffix in SUFFIXES)


def constant_factor(name: str) -> bool:
    """``WH_PER_KWH``: a conversion names both its units."""
    return name.isupper() and "_PER_" in name


@pytest.mark.parametrize("package", PACKAGES)
def test_every_float_names_its_unit(package: str) -> None:
    missing = []
    for source in sorted((PACKAGE / package).glob("*.py")):
        for name, line in floats(ast.parse(source.read_text())):
            if not (has_unit(name) or constant_factor(name) or (package, name) in EXCEPTIONS):
                missing.append(f"{package}/{source.name}:{line}: {name}")
    assert missing == [], "a float's name ends with its unit, or it is listed here with a reason"


def test_no_exception_is_listed_in_vain() -> None:
    used = {
        (package, name)
        for package in PACKAGES
        for source in (PACKAGE / package).glob("*.py")
        for name, _ in floats(ast.parse(source.read_text()))
        if not has_unit(name)
    }
    assert set(EXCEPTIONS) - used == set()
