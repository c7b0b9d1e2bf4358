"""Writes `docs/scenario.md`, the reference of scenario files, from `src/ecovisor/settings.py`: every table, field, type and
default.

Owns only the layout; the words are the docstrings of the schema. With `--check` nothing is written, and the exit status is 1 if the
page is out of date. Run it after a change of the schema: `python scripts/scenario_reference.py`.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "src" / "ecovisor" / "settings.py"
PAGE = ROOT / "docs" / "scenario.md"

INTRODUCTION = """\
# Scenario files

Generated from `src/ecovisor/settings.py` by `scripts/scenario_reference.py`; change it there.

A scenario is a TOML file that begins with `schema = 1`. `ecovisor init` writes a commented one, `ecovisor check FILE`
says what is wrong with yours, and `ecovisor simulate FILE --set KEY=VALUE` changes any field by its path:
`site.battery.capacity_wh=2000`, `apps.web.share=0.3` (an app by its name), `apps[0].share=0.3` (or by its place).
Relative paths start from the file's folder. Durations are written `30s`, `5min`, `1h 30min`, `2d`; instants in ISO 8601
with their zone, `2020-06-01T00:00Z`.
"""

#: The tables in the order of the page: class → heading.
TABLES = {
    "Scenario": "The file",
    "Site": "[site]",
    "Server": "[site.server]",
    "Battery": "[site.battery]",
    "Signal": "[signals.NAME]",
    "App": "[[apps]]",
    "Workload": "[apps.workload]",
    "Policy": "[apps.policy]",
    "Run": "[run]",
    "Serving": "[server]",
    "Command": "[server.commands.NAME]",
    "Plant": "[server.plant]",
}
_TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "Ratio": "number, 0 to 1",
    "Watts": "number ≥ 0",
    "Positive": "number > 0",
    "Name": "name",
}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def page(source: str) -> str:
    """The page for a schema's source text."""
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    return INTRODUCTION + "".join(_section(classes[name], heading) for name, heading in TABLES.items())


def _section(table: ast.ClassDef, heading: str) -> str:
    about = (ast.get_docstring(table) or "").partition("] ")
    lines = [f"\n## {heading if '[' not in heading else f'`{heading}`'}", about[2] or about[0], ""]
    lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field, after in zip(table.body, [*table.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            lines.append(f"| `{field.target.id}` | {_type(field.annotation)} | {_default(field)} | {_meaning(after)} |")
    return "\n".join(lines) + "\n"


def _meaning(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split()).replace("|", "\\|")
    return ""


def _default(field: ast.AnnAssign) -> str:
    value = field.value
    if value is None:
        return "required"
    if isinstance(value, ast.Call):
        factory = next((keyword.value for keyword in value.keywords if keyword.arg == "default_factory"), None)
        if isinstance(factory, ast.Lambda):
            return f"`{_toml(factory.body)}`"
        return "its defaults" if isinstance(factory, ast.Name) and factory.id in TABLES else "none"
    return "" if isinstance(value, ast.Constant) and value.value is None else f"`{_toml(value)}`"


def _toml(node: ast.expr) -> str:
    text = ast.unparse(node).replace("'", '"')
    return {"True": "true", "False": "false"}.get(text, text)


def _type(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return _type(node.left)
    if isinstance(node, ast.Name):
        return f"table `{TABLES[node.id]}`" if node.id in TABLES else _TYPES.get(node.id, node.id)
    if isinstance(node, ast.Subscript):
        return _subscript(ast.unparse(node.value), node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice])
    return ast.unparse(node)


def _subscript(name: str, inner: list[ast.expr]) -> str:
    if name == "Literal":
        return " or ".join(f"`{_toml(choice)}`" for choice in inner)
    if name == "Annotated":
        keywords = inner[1].keywords if isinstance(inner[1], ast.Call) else []
        bounds = [f"{_BOUNDS[bound.arg]} {ast.literal_eval(bound.value):g}" for bound in keywords if bound.arg in _BOUNDS]
        return f"{_type(inner[0])} {', '.join(bounds)}".strip()
    if name == "dict":
        return "tables by name" if ast.unparse(inner[1]) in TABLES else "table"
    plural = {"number": "numbers", "number ≥ 0": "numbers ≥ 0"}
    kind = _type(inner[0])
    return f"list of {plural.get(kind, kind)}"


def main() -> int:
    """Write or check the page; the exit status."""
    text = page(SCHEMA.read_text("utf-8"))
    if "--check" in sys.argv[1:]:
        return int(not PAGE.is_file() or PAGE.read_text("utf-8") != text)
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
