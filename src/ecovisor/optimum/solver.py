"""Hands a program to HiGHS and takes back what it found. The only module that imports `highspy`, and only when it is asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecovisor.model.errors import InputError
from ecovisor.optimum.linear_program import Program
from ecovisor.optimum.steps import Floats


@dataclass(frozen=True, slots=True)
class Solution:
    """What HiGHS answered."""

    name: str
    """The solver and its version."""
    status: str
    """As HiGHS names it, in lower case."""
    optimal: bool
    value: float
    """The objective."""
    columns: Floats
    row_dual: Floats
    """Prices of the rows; any are good enough for `linear_program.certified_g`."""


def solve(program: Program) -> Solution:
    """Solve it.

    Raises:
        InputError: highspy is not installed.
    """
    try:
        import highspy
    except ImportError:
        raise InputError(
            "optimum", "with a battery the bound needs highspy, which is not installed", "pip install 'ecovisor[optimum]'"
        ) from None
    rows, columns, values = (np.concatenate(part) for part in zip(*program.entries, strict=True))
    order = np.argsort(rows, kind="stable")
    starts = np.zeros(program.height + 1, dtype=np.int32)
    np.cumsum(np.bincount(rows, minlength=program.height), out=starts[1:])

    # HiGHS has an absolute tolerance for prices, whatever the unit of the cost is.
    unit = float(np.abs(program.cost).max(initial=0.0)) or 1.0
    highs = highspy.Highs()  # type: ignore[no-untyped-call]  # its constructor has no annotations
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("dual_feasibility_tolerance", 1e-9)
    # The slack basis is dual feasible, and the dual simplex from it is several times as fast as from a presolved program.
    highs.setOptionValue("presolve", "off")
    width = len(program.cost)
    highs.passModel(
        width,
        program.height,
        len(values),
        int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        program.cost / unit,
        np.zeros(width),
        program.most,
        np.concatenate(program.lower),
        np.concatenate(program.upper),
        starts,
        columns[order],
        values[order],
        np.zeros(width, dtype=np.int32),
    )
    highs.run()
    status = highs.getModelStatus()
    found = highs.getSolution()
    return Solution(
        name=f"HiGHS {highs.version()}",
        status=highs.modelStatusToString(status).lower(),
        optimal=status == highspy.HighsModelStatus.kOptimal,
        value=highs.getInfo().objective_function_value * unit,
        columns=np.array(found.col_value),
        row_dual=np.array(found.row_dual) * unit,
    )
