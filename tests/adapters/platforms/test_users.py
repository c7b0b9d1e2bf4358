"""Users of apps: always the same, never shared, and the reason where there are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.adapters.platforms.process import users
from ecovisor.adapters.platforms.process.users import DEFAULT_UIDS, Users, why_not_separate
from ecovisor.model.errors import Refused, StoreError

ROOT_STATUS = "Name:\tx\nCapEff:\t000001ffffffffff\n"
ALL_UIDS = "         0          0 4294967295\n"


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5), unique=True, max_size=20))
def test_numbers_are_unique_and_stay(tmp_path_factory: pytest.TempPathFactory, apps: list[str]) -> None:
    root = tmp_path_factory.mktemp("users")
    first = Users(root, range(1000, 1020))
    given_out = {app: first.of(app) for app in apps}
    assert len(set(given_out.values())) == len(apps)
    assert set(given_out.values()) <= set(range(1000, 1020))
    again = Users(root, range(1000, 1020))
    assert {app: again.of(app) for app in reversed(apps)} == given_out


def test_two_folders_begin_at_different_numbers(tmp_path: Path) -> None:
    roots = [tmp_path / name for name in "abcdefgh"]
    for root in roots:
        root.mkdir()
    assert len({Users(root, DEFAULT_UIDS).of("web") for root in roots}) == len(roots)


def test_a_range_that_is_used_up_is_refused_and_a_wider_one_helps(tmp_path: Path) -> None:
    small = Users(tmp_path, range(1000, 1002))
    assert {small.of("a"), small.of("b")} == {1000, 1001}
    with pytest.raises(Refused, match="app c: all 2 users from 1000 on are given away; configure a larger range"):
        small.of("c")
    assert small.of("a") in {1000, 1001}
    assert Users(tmp_path, range(1000, 1010)).of("c") not in {1000, 1001}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"uids": []}', '{"uids": {"a": "x"}}'])
def test_a_damaged_file_is_an_error_and_never_a_new_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "users.json").write_text(text)
    with pytest.raises(StoreError, match=r"users\.json: .*; restore it from a backup"):
        Users(tmp_path, DEFAULT_UIDS)


def test_a_number_that_cannot_be_written_down_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Users(tmp_path, range(1000, 1010))

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(users, "write_atomically", full)
        with pytest.raises(StoreError, match="No space left"):
            made.of("a")
    number = made.of("a")
    assert Users(tmp_path, range(1000, 1010)).of("a") == number


@pytest.mark.skipif(os.geteuid() != 0, reason="as root, or the reason is another one")
@pytest.mark.parametrize(
    ("status", "mapped", "uids", "reason"),
    [
        (ROOT_STATUS, ALL_UIDS, DEFAULT_UIDS, ""),
        (ROOT_STATUS, ALL_UIDS, None, "separate users are switched off; switch them on"),
        ("CapEff:\t000001ffffffff3f\n", ALL_UIDS, DEFAULT_UIDS, "lacks CAP_SETGID, CAP_SETUID; add them"),
        (ROOT_STATUS, "0 100000 65536\n", DEFAULT_UIDS, "do not exist in this user namespace; configure a range that does"),
        (ROOT_STATUS, "0 1000 1\n1 100000 65536\n", range(1, 65537), ""),
        (ROOT_STATUS, "0 1000 1\n1 100000 65536\n", range(1, 65538), "do not exist in this user namespace"),
    ],
)
def test_what_is_missing_for_separate_users_is_said(
    tmp_path: Path, status: str, mapped: str, uids: range | None, reason: str
) -> None:
    (tmp_path / "status").write_text(status)
    (tmp_path / "uid_map").write_text(mapped)
    found = why_not_separate(uids, tmp_path / "status", tmp_path / "uid_map")
    if reason:
        assert found.startswith("no isolation: all apps' containers run as user root, because ")
        assert reason in found
    else:
        assert found == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="only without root")
def test_without_root_there_are_none() -> None:
    assert "because the server is not root; run it as root" in why_not_separate(DEFAULT_UIDS)
