"""Figures 4 and 5 as a whole: on modelled series with few starts, and on the published data, where they are."""

from __future__ import annotations

import numpy as np
import pytest

from ecovisor.studies import figure4, figure5
from ecovisor.studies.findings import Findings
from ecovisor.studies.study import Context
from ecovisor.studies.traces import Traces
from ecovisor.studies.wait_and_scale import YEAR_EVERY_S


def looks_complete(study: figure4.Figure4 | figure5.Figure5, findings: Findings) -> None:
    """Every rerun explains something that is there, every table has columns of one length, and pictures come of the tables."""
    names = {one.name for one in findings.numbers} | {claim.text for claim in findings.claims}
    assert {rerun.name for rerun in findings.reruns} <= names
    for table in findings.tables.values():
        assert len({len(column) for column in table.columns.values()}) == 1
    assert all(np.isfinite(one.ours) for one in findings.numbers)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    drawn = study.draw(findings)
    assert study.name.replace("fig", "figure") in drawn
    for figure, caption in drawn.values():
        assert caption.endswith(".")
        pyplot.close(figure)


@pytest.mark.slow
def test_figure_4_on_modelled_series_with_few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure4, "YEAR_EVERY_S", 10 * YEAR_EVERY_S)
    told: list[float] = []
    findings = figure4.Figure4().run(Context(traces=Traces(None), seeds=3, progress=lambda _what, ratio: told.append(ratio)))
    looks_complete(figure4.Figure4(), findings)
    assert told == sorted(told)
    assert findings.origins["carbon"].startswith("modelled")
    assert {one.kind for one in findings.parameters} == {"paper", "data", "assumed", "fitted"}
    fitted = {one.name: one for one in findings.numbers}["BLAST, suspend-resume: run time against carbon-agnostic"]
    assert fitted.year == pytest.approx(fitted.paper, rel=0.01)


@pytest.mark.slow
def test_figure_5_on_modelled_series() -> None:
    findings = figure5.Figure5().run(Context(traces=Traces(None)))
    looks_complete(figure5.Figure5(), findings)
    assert all(claim.held for claim in findings.claims)
