"""A token opens its owner's door and no other; what is kept of it opens none."""

from __future__ import annotations

import base64
import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.api.played import MemoryRegistry

from ecovisor.api.tokens import Tokens
from ecovisor.model.errors import StoreError


class Wall:
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def fresh() -> tuple[Tokens, MemoryRegistry, Wall]:
    registry, wall = MemoryRegistry(), Wall()
    return Tokens(registry, wall), registry, wall


def test_a_token_has_256_random_bits_and_says_whose_kind_it_is() -> None:
    tokens, _, _ = fresh()
    made = {tokens.issue(f"app{k}") for k in range(50)}
    assert len(made) == 50
    for token in made:
        prefix, _, random = token.partition("_app_")
        assert prefix == "eco"
        assert len(base64.urlsafe_b64decode(random + "=")) == 32
    assert tokens.issue(None).startswith("eco_op_")


def test_the_registry_holds_no_token() -> None:
    tokens, registry, _ = fresh()
    token = tokens.issue("web")
    stored = b"".join(registry.facts.values())
    assert token.encode() not in stored
    assert token.split("_", 2)[2].encode() not in stored


def test_looking_up_compares_no_token() -> None:
    source = inspect.getsource(Tokens.find)
    assert "sha256(token)" in source
    assert "startswith" not in source
    assert "==" not in source, "one dictionary access on the hash, and nothing that depends on the token's characters"


@given(st.binary(max_size=80))
def test_what_is_no_token_is_nobodys(presented: bytes) -> None:
    tokens, _, _ = fresh()
    tokens.issue("web")
    assert tokens.find(presented) is None


def test_nearly_a_token_is_nobodys() -> None:
    tokens, _, _ = fresh()
    token = tokens.issue("web").encode()
    near = [token[:-1], token + b"a", token.upper(), b" " + token, token[:-1] + bytes([token[-1] ^ 1])]
    assert [tokens.find(one) for one in near] == [None] * 5


def test_a_full_disk_keeps_the_old_token() -> None:
    tokens, registry, _ = fresh()
    old = tokens.issue("web").encode()
    registry.full = True
    with pytest.raises(StoreError):
        tokens.issue("web")
    with pytest.raises(StoreError):
        tokens.revoke("web")
    assert tokens.find(old) is not None


def test_a_rotation_leaves_one_record() -> None:
    tokens, registry, _ = fresh()
    for _ in range(5):
        tokens.issue("web", grace_s=1.0)
    assert len(registry.items("tokens")) == 1, "so that one durable write is the whole rotation"


class TokensAgainstAList(RuleBasedStateMachine):
    """Whatever is issued, rotated, revoked, restarted and waited for: a list of (owner, token, end) says the same."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.registry, self.wall = fresh()
        self.ends: list[tuple[str | None, str, float]] = []

    @rule(
        app=st.sampled_from([None, "a", "b"]),
        lifetime_s=st.none() | st.sampled_from([5.0, 50.0]),
        grace_s=st.sampled_from([0.0, 3.0, 30.0]),
    )
    def issue(self, app: str | None, lifetime_s: float | None, grace_s: float) -> None:
        token = self.tokens.issue(app, lifetime_s=lifetime_s, grace_s=grace_s)
        now_s = self.wall.now_s
        self.ends = [(owner, one, min(end, now_s + grace_s) if owner == app else end) for owner, one, end in self.ends]
        self.ends.append((app, token, now_s + lifetime_s if lifetime_s is not None else float("inf")))

    @rule(app=st.sampled_from([None, "a", "b"]))
    def revoke(self, app: str | None) -> None:
        self.tokens.revoke(app)
        self.ends = [one for one in self.ends if one[0] != app]

    @rule(duration_s=st.sampled_from([1.0, 4.0, 40.0]))
    def wait(self, duration_s: float) -> None:
        self.wall.now_s += duration_s

    @rule()
    def restart(self) -> None:
        self.tokens = Tokens(self.registry, self.wall)
        self.tokens.load()

    @invariant()
    def owners_are_right(self) -> None:
        for owner, token, end_s in self.ends:
            found = self.tokens.find(token.encode())
            if self.wall.now_s < end_s:
                assert found is not None
                assert found.app == owner
                assert self.tokens.holds(found)
            else:
                assert found is None


TestTokensAgainstAList = TokensAgainstAList.TestCase
TestTokensAgainstAList.settings = settings(max_examples=30, stateful_step_count=30)
