"""The server is killed at any moment, again and again, while everybody uses it: what anybody was told is so afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.chaos import checking
from tests.chaos.believing import Believer
from tests.chaos.listening import Reader, Receiver
from tests.chaos.running import PATIENCE_S, Folder, Server

import ecovisor
from ecovisor.adapters.platforms.process.containers import Record
from ecovisor.adapters.sockets import socket_path
from ecovisor.client import AsyncApp
from ecovisor.live.plant_account import Baseline
from ecovisor.model.errors import EcovisorError

BELOW_WH = 600.0
CURVE_W, SERVER_CORES, CORES = (8.0, 13.0, 17.0, 20.5, 24.0), 2.0, 0.25
#: What the battery may owe: a tick or two of everything that it can be surprised with. [Wh]
OWED_WH = 60.0 * 3.0 / 60.0
#: How often it is killed while it starts.
FALSE_STARTS = 0.2


def limit_cores(cap_w: float) -> float:
    """CPU time over wall time at which a container reaches its cap, by the curve and nobody else's arithmetic. [cores]"""
    whole_w = cap_w * SERVER_CORES / CORES
    for k in range(4):
        if whole_w <= CURVE_W[k + 1]:
            return CORES * (k + (whole_w - CURVE_W[k]) / (CURVE_W[k + 1] - CURVE_W[k])) / 4.0
    return CORES


class Chaos:
    """A site, its users, and whoever kills it."""

    def __init__(self, folder: Folder, receiver: Receiver, seed: int) -> None:
        self.folder, self.receiver = folder, receiver
        self.chance = random.Random(seed)
        self.server: Server
        self.url = ""
        self.believer: Believer
        self.readers: list[tuple[str | None, Reader]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.begin: Baseline | None = None
        self.false_starts = 0
        self.driven = 0

    @property
    def ledger_dir(self) -> Path:
        return self.folder.state_dir / "ledger"

    # -- lives of the server

    async def start(self) -> None:
        """Start it, and wait until it runs; now and then it is killed before that."""
        self.false_starts = 0
        while self.begin is not None and self.chance.random() < FALSE_STARTS:
            self.server = Server(self.folder)
            await asyncio.sleep(self.chance.uniform(0.3, 3.0))
            os.kill(self.server.pid, 9)
            await asyncio.to_thread(self.server.ended)
            self.false_starts += 1
        self.server = await asyncio.to_thread(lambda: Server(self.folder).ready())
        self.url = self.server.url

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_S) as client:
            yield client

    async def first_life(self) -> None:
        """Tokens are made, everybody comes."""
        await self.start()
        token = self.server.said("operator token").split()[2]
        self.believer = Believer(token, self.chance, self.receiver.port)
        async with self.client() as client:
            await self.believer.begin(client)
        await asyncio.to_thread(self.server.wait_for_tick, 1)
        self.begin = checking.standing(self.ledger_dir).baseline
        assert self.begin is not None
        for app, path in (("real", "/v1/events"), (None, "/v1/admin/events")):
            reader = Reader(path, lambda: self.url, lambda app=app: token if app is None else self.believer.tokens[app])  # type: ignore[misc]
            self.readers.append((app, reader))
            self.tasks.append(asyncio.create_task(reader.run()))
        self.tasks.append(asyncio.create_task(self._drive()))

    async def _drive(self) -> None:
        """An app that drives itself, through the SDK."""

        async def on_tick(energy: AsyncApp, app: AsyncApp) -> None:
            self.driven += 1
            await energy.set_battery_max_discharge(self.chance.uniform(0.0, 3.0))
            await app.report({"driven": float(self.driven)}, work_done=float(self.driven))

        unix = socket_path(self.folder.state_dir.resolve(), "remote")
        while True:
            with contextlib.suppress(EcovisorError):
                async with await ecovisor.connect_async(unix=unix, wait_s=PATIENCE_S) as app:
                    await app.run(callback=on_tick)

    async def use_and_kill(self) -> None:
        """One thing is changed after the other, until the end."""
        killed = asyncio.Event()

        async def change() -> None:
            async with self.client() as client:
                while not killed.is_set():
                    await self.believer.change(client)

        changing = asyncio.create_task(change())
        await asyncio.sleep(self.chance.uniform(0.2, 4.0) * self.folder.tick_wall_s)
        pid = self.server.pid
        os.kill(pid, 9)
        killed.set()
        await changing
        await asyncio.to_thread(self.server.ended)

    # -- what is looked at

    async def look_at_what_is_left(self) -> tuple[float, dict[tuple[str, str], Record]]:
        """Nobody serves now: the ledger holds what was told; containers run under their last caps."""
        for app, reader in self.readers:
            checking.told_is_kept(self.ledger_dir, reader.told, app)
        found = checking.steps(self.ledger_dir)
        checking.time_is_whole(found)
        records = self.folder.records()
        for container, cap_w in self.believer.known_caps.items():
            limit = records["real", container].limit_cores
            assert limit == pytest.approx(limit_cores(cap_w), abs=1e-5), f"{container}: {cap_w} W"
            assert limit == pytest.approx(quota_cores(records["real", container]), abs=1e-4)
        return found[-1].end_s, {key: record for key, record in records.items() if not record.ended}

    async def look_again(self, end_s: float, before: dict[tuple[str, str], Record]) -> None:
        """It is there again."""
        async with self.client() as client:
            await self.believer.check(client)
        site, reading = await asyncio.to_thread(lambda: (self.server.site(), self.folder.plant()))
        checking.levels_are_the_plant_s(site, reading, BELOW_WH, OWED_WH)
        found = checking.steps(self.ledger_dir)
        after = [one for one in found if one.start_s >= end_s - 1e-3]
        assert after[0].kind == "gap", "the time between is a gap"
        between = next((k for k, one in enumerate(after) if one.kind != "gap"), len(after))
        assert between <= 1 + self.false_starts or site.gaps > 1, "one gap"
        assert abs(after[0].start_s - end_s) < 1e-3
        await asyncio.to_thread(self.server.wait_for_tick, site.tick + 1)  # containers have been governed
        records = self.folder.records()
        wanted = {("real", name) for name, fact in self.believer.containers.items() if fact.value} | {("remote", "c1")}
        for key in wanted & before.keys():
            assert records[key].pid == before[key].pid, f"{key} goes on"
            assert Path(f"/proc/{before[key].pid}").exists()
        here = {app for app, fact in self.believer.apps.items() if fact.value} | {"real", "remote"}
        assert {app for app, _ in records} <= here, "containers of nobody"
        assert {name for app, name in records if app == "real"} == {name for app, name in wanted if app == "real"}

    async def end(self) -> None:
        """Everybody is told to the end; the server ends in order; nothing is missing."""
        tick, driven = (await asyncio.to_thread(self.server.site)).tick, self.driven
        await self._until(lambda: self.driven > driven)
        await self._until(lambda: all(reader.told and reader.told[-1].tick >= tick for _, reader in self.readers))
        await self._until(lambda: f"{tick}.0" in self.receiver.ids.get("/lasting", ()))
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert await asyncio.to_thread(self.server.stop) == 0
        assert self.server.errors == []
        for app, reader in self.readers:
            checking.told_is_kept(self.ledger_dir, reader.told, app)
            ticks = [one.tick for one in reader.told if one.kind == "tick"]
            assert ticks == list(range(ticks[0], ticks[0] + len(ticks))), "no tick is missed, none comes twice"
        first = int(self.receiver.ids["/lasting"][0].split(".")[0])
        assert {f"{k}.0" for k in range(first, tick + 1)} <= set(self.receiver.ids["/lasting"]), "delivered at least once"

    async def _until(self, condition: object) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < until_s, "it does not come"
            assert self.server.process.poll() is None, self.server.errors
            await asyncio.sleep(0.1)

    def look_at_the_whole(self, kills: int) -> None:
        """All energy is there, once."""
        found = checking.steps(self.ledger_dir)
        checking.time_is_whole(found)
        checking.no_energy_is_negative(found)
        assert sum(one.kind == "gap" for one in found) >= kills
        end = checking.standing(self.ledger_dir).baseline
        assert end is not None
        assert self.begin is not None
        checking.rows_are_the_meters(found, self.begin, end)


def quota_cores(record: Record) -> float:
    """What the kernel, or the keeper where there are no control groups, is told. [cores]"""
    if record.mechanism == "cgroup-v1":
        folder = Path(record.groups["cpu"])
        return int((folder / "cpu.cfs_quota_us").read_text()) / int((folder / "cpu.cfs_period_us").read_text())
    if record.mechanism == "cgroup-v2":
        quota, period = (Path(record.groups["cpu"]) / "cpu.max").read_text().split()
        return int(quota) / int(period)
    assert record.limit_cores is not None
    return record.limit_cores


async def survive(path: Path, kills: int, seed: int) -> None:
    receiver = Receiver()
    await receiver.start()
    try:
        with Folder(path, hook=receiver.port) as folder:
            chaos = Chaos(folder, receiver, seed)
            try:
                await chaos.first_life()
                for _ in range(kills):
                    await chaos.use_and_kill()
                    left = await chaos.look_at_what_is_left()
                    await chaos.start()
                    await chaos.look_again(*left)
                await chaos.end()
                chaos.look_at_the_whole(kills)
                print(f"seed {seed}: {chaos.believer.acknowledged} changes, {chaos.driven} ticks driven")
            finally:
                for task in chaos.tasks:
                    task.cancel()
                await asyncio.gather(*chaos.tasks, return_exceptions=True)
                if chaos.server.process.poll() is None:
                    chaos.server.process.kill()
                await asyncio.to_thread(chaos.server.ended)
    finally:
        await receiver.stop()


def test_three_kills_lose_nothing_that_anybody_was_told(tmp_path: Path) -> None:
    logging.getLogger("ecovisor.client").setLevel(logging.ERROR)
    seed = random.randrange(1 << 32)
    print("seed", seed)
    asyncio.run(survive(tmp_path, 3, seed))


@pytest.mark.slow
def test_fifty_kills_lose_nothing_that_anybody_was_told(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    asyncio.run(survive(tmp_path, 50, seed))
