"""`ecovisor study all` on the published data sets: everything is there, and what does not hold is explained."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from ecovisor.cli import run
from ecovisor.studies import registry
from ecovisor.studies.traces import FILES

DATA = Path(os.environ.get("ECOVISOR_DATA", Path(__file__).parents[3] / "shared/data"))

#: What does not hold on these data.
FAILED = {
    ("fig4", "BLAST: Wait&Scale 3× emits less than suspend-resume"),
    (
        "fig4",
        "ML training: at its best scale factor Wait&Scale trades carbon for run time better than suspend-resume, by carbon × run time",
    ),
    ("fig10", "The more sun there is, the more work is done with each joule"),
    ("fig11", "The more excess sun there is, the less work is done with each joule, for it is spent on replicas"),
}


@pytest.mark.slow
@pytest.mark.skipif(not all((DATA / file).is_file() for file in FILES), reason=f"data sets not there: {DATA} (set ECOVISOR_DATA)")
def test_every_study_is_reported_and_claims_that_fail_have_a_rerun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "all"
    status = run(["study", "all", "--data", str(DATA), "--out", str(folder), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["failures"] == []
    assert status == (0 if told["held"] else 1)
    assert [study["name"] for study in told["studies"]] == list(registry.names())
    for study in told["studies"]:
        rerun = {one["name"] for one in study["reruns"]}
        assert [claim["text"] for claim in study["claims"] if not claim["held"] and claim["text"] not in rerun] == []
        assert study["origins"]
        for number in study["numbers"]:
            assert number["paper"] is None or math.isfinite(number["ours"]), number["name"]
        assert (folder / study["name"] / "study.json").is_file()
        assert list((folder / study["name"]).glob("*.png"))
    failed = {(study["name"], claim["text"]) for study in told["studies"] for claim in study["claims"] if not claim["held"]}
    assert failed == FAILED
    assert (folder / "report.html").is_file() and (folder / "report.md").is_file()
