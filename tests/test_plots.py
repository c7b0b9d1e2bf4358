"""The plots are drawn from the run folder alone, whatever it holds, and are whole or absent."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests import made_up

from ecovisor import plots, runs
from ecovisor.adapters.stores.run_folder import RunFolder
from ecovisor.model.summary import RunSummary

PNG = b"\x89PNG\r\n"


def finished(target: Path, ticks: int, summary: RunSummary, *, known_carbon: bool = True) -> runs.Run:
    with RunFolder(target, table_format="parquet") as folder:
        folder.write(made_up.flows(0, ticks, known_carbon=known_carbon))
        folder.write(made_up.site(0, ticks))
        folder.finish({"settings": {"site": {"timezone": "Asia/Kolkata"}}, "summary": msgspec.to_builtins(summary)})
    return runs.open(target)


@pytest.mark.parametrize("known_carbon", [True, False])
def test_both_plots_are_drawn_into_the_folder(tmp_path: Path, known_carbon: bool) -> None:
    drawn = plots.draw(finished(tmp_path / "run", 288, made_up.summary(ticks=288), known_carbon=known_carbon))
    assert [path.name for path in drawn] == ["flows.png", "carbon.png"]
    assert all(path.read_bytes().startswith(PNG) for path in drawn)
    assert not list((tmp_path / "run").glob(".*"))


def test_many_apps_and_missing_baselines_can_be_drawn(tmp_path: Path) -> None:
    apps = [made_up.app_summary(f"app-{k}", carbon_g=float(k), baseline_carbon_g=None, runtime_s=None) for k in range(40)]
    assert len(plots.draw(finished(tmp_path / "run", 4, made_up.summary(*apps, ticks=4)))) == 2


def test_a_run_that_used_no_power_can_be_drawn(tmp_path: Path) -> None:
    idle = made_up.summary(
        made_up.app_summary("a", carbon_g=0.0, carbon_on_use_g=0.0, baseline_carbon_g=0.0, work_done=40.0, runtime_s=None)
    )
    assert len(plots.draw(finished(tmp_path / "run", 1, idle))) == 2


def test_long_runs_are_gathered_without_losing_energy(tmp_path: Path) -> None:
    ticks = 2500
    run = finished(tmp_path / "run", ticks, made_up.summary(ticks=ticks))
    bins = plots._Bins.of(run.info["summary"])
    assert bins.count <= plots._MOST_POINTS
    flows, intensity = plots._mean_flows(run, bins)
    lengths_s = np.full(bins.count, bins.width_s)
    lengths_s[-1] = ticks * made_up.TICK_S - bins.width_s * (bins.count - 1)
    expected_ws = float((run.flows["grid_to_load_w"] * run.flows["dt_s"]).sum())
    assert float((flows["grid_to_load_w"] * lengths_s).sum()) == pytest.approx(expected_ws, rel=1e-12)
    assert np.isfinite(intensity).all()


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(tmp_path / "run", 4, made_up.summary(ticks=4))

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        plots.draw(run)
    assert not list((tmp_path / "run").glob("*.png")) + list((tmp_path / "run").glob(".*"))
