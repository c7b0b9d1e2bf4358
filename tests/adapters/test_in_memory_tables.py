"""Tables in memory: whole tables, and the rows of one app or container."""

from __future__ import annotations

import pytest

from ecovisor.adapters.stores.in_memory import InMemoryTables
from ecovisor.ports import Block

np = pytest.importorskip("numpy")


def block(first: int, apps: list[str], containers: list[str]) -> Block:
    rows = [float(10 * first + k) for k in range(2 * len(apps))]
    return Block(
        "containers", [float(first), float(first + 1)], {"app": apps, "container": containers}, {"power_w": rows}, {"q": "m"}
    )


@pytest.fixture
def tables() -> InMemoryTables:
    made = InMemoryTables()
    made.write(block(0, ["a", "a", "b"], ["c1", "c2", "c1"]))
    made.write(block(2, ["a", "b"], ["c2", "c1"]))
    return made


def test_a_table_has_every_row_in_the_order_of_time(tables: InMemoryTables) -> None:
    assert tables.containers["time"].tolist() == [0.0] * 3 + [1.0] * 3 + [2.0] * 2 + [3.0] * 2
    assert tables.containers["power_w"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 20.0, 21.0, 22.0, 23.0]
    assert tables.containers["q"].tolist() == ["m"] * 10


def test_an_app_s_rows_are_its_own(tables: InMemoryTables) -> None:
    assert tables.of("containers", app="b")["power_w"].tolist() == [2.0, 5.0, 21.0, 23.0]
    assert tables.of("containers", app="a", container="c2")["time"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert tables.of("containers", container="c1")["app"].tolist() == ["a", "b", "a", "b", "b", "b"]
    assert len(tables.of("containers")["time"]) == 10


def test_what_comes_after_a_look_is_seen_too(tables: InMemoryTables) -> None:
    assert len(tables.containers["time"]) == 10
    tables.write(block(4, ["a"], ["c9"]))
    assert tables.of("containers", container="c9")["power_w"].tolist() == [40.0, 41.0]


def test_an_unknown_name_is_told_with_those_that_there_are(tables: InMemoryTables) -> None:
    with pytest.raises(KeyError, match="no app 'z'; there are a, b"):
        tables.of("containers", app="z")
    with pytest.raises(KeyError, match="no container 'c2'"):
        tables.of("containers", app="b", container="c2")
    assert tables.flows == {}
    assert tables.of("flows") == {}
    with pytest.raises(KeyError, match="no app 'a'; there are none"):
        tables.of("flows", app="a")


def test_the_memory_of_a_block_may_be_used_again(tables: InMemoryTables) -> None:
    values = np.array([1.0, 2.0])
    tables.write(Block("site", [0.0, 1.0], {}, {"import_w": values}, {}))
    values[:] = 0.0
    assert tables.site["import_w"].tolist() == [1.0, 2.0]
    with pytest.raises(KeyError, match="site: no app 'a'; there are none"):
        tables.of("site", app="a")
