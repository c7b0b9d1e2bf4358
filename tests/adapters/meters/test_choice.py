"""Meters are tried in their order, and why one was passed over is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.adapters.meters.trees import Tree

from ecovisor.adapters.meters import MeterChoice, choose_meter
from ecovisor.model.errors import SettingsError

PLUGINS = """
import asyncio
from ecovisor.model.errors import Unavailable
from ecovisor.model.series import Quality
from ecovisor.ports.live import EnergyCounter

class _Meter:
    def describe(self):
        return "not available: no socket"

class Works(_Meter):
    def __init__(self, watts=1.0):
        self.watts = watts
    def describe(self):
        return f"a plug at {self.watts:g} W"
    async def read(self):
        return EnergyCounter(1.0, Quality.MEASURED)

class Absent(_Meter):
    async def read(self):
        return None

class Away(_Meter):
    async def read(self):
        raise Unavailable("plug: no route to host")

class Broken(_Meter):
    async def read(self):
        raise ZeroDivisionError("oh")

class Slow(_Meter):
    async def read(self):
        await asyncio.Event().wait()

class NoMeter:
    pass

number = 3
"""


def choose(tmp_path: Path, *names: str, **options: dict[str, object]) -> MeterChoice:
    (tmp_path / "plugs.py").write_text(PLUGINS)
    full = [f"plugs.py:{name}" if name[0].isupper() or name == "number" else name for name in names]
    given = {f"plugs.py:{name}": value for name, value in options.items()}
    return asyncio.run(choose_meter(full, folder=tmp_path, options=given, deadline_s=0.05, where="site.toml: server.meters"))


def test_the_first_that_reads_is_taken_and_every_failure_is_kept(tmp_path: Path) -> None:
    choice = choose(tmp_path, "Absent", "Away", "Broken", "Slow", "Works", "Away", Works={"watts": 7.0})
    assert (choice.name, choice.meter is not None) == ("plugs.py:Works", True)
    assert list(choice.failures) == [
        ("plugs.py:Absent", "no socket"),
        ("plugs.py:Away", "plug: no route to host"),
        ("plugs.py:Broken", "ZeroDivisionError: oh"),
        ("plugs.py:Slow", "no answer within 0.05 s"),
    ]
    assert choice.describe().startswith("plugs.py:Works: a plug at 7 W (before it: plugs.py:Absent: no socket; plugs.py:Away")


def test_none_that_reads_is_no_meter_with_its_reasons(tmp_path: Path) -> None:
    choice = choose(tmp_path, "Absent", "Away")
    assert (choice.name, choice.meter) == ("", None)
    assert choice.describe() == "no meter (plugs.py:Absent: no socket; plugs.py:Away: plug: no route to host)"
    assert choose(tmp_path).describe() == "no meter is configured"


def test_powercap_is_built_in(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "powercap")
    tree.add("intel-rapl:0", "package-0")
    chosen = asyncio.run(choose_meter(["powercap"], options={"powercap": {"root": str(tree.root)}}))
    assert chosen.describe() == f"powercap: RAPL package-0 in {tree.root}, measured, to be read at least every 437 s"
    absent = asyncio.run(choose_meter(["powercap"], options={"powercap": {"root": tmp_path / "none"}}))
    assert f"no meter (powercap: there is no {tmp_path / 'none'}" in absent.describe()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("powercat", {}, "site.toml: server.meters: unknown kind 'powercat'; did you mean 'powercap'?"),
        ("NoMeter", {}, "makes a NoMeter, which has no read() and describe()"),
        ("number", {}, "is a int, no class or function"),
        ("Works", {"volts": 1}, "does not take its options"),
        ("Gone", {}, "has no 'Gone'"),
    ],
)
def test_what_is_no_meter_is_refused(tmp_path: Path, name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        choose(tmp_path, name, **{name: options})
    assert said in str(raised.value)
