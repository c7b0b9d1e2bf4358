"""Clients that change things while the server is killed, and what they may believe afterwards.

What was acknowledged stands. What was asked for and never answered may have been done or not, and is either from then on.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from ecovisor import wire

SHARES = ({"stored": 0.3, "remote": 0.2}, {"stored": 0.5, "remote": 0.1}, {"stored": 0.1, "remote": 0.5})

#: No container draws as much; a ceiling above it comes from a budget, not from a cap. [W]
_BUDGET_CEILING_W = 1000.0


@dataclass(slots=True)
class Fact:
    """Something that was set."""

    value: Any
    maybe: list[Any] = field(default_factory=list)
    """Asked for since, and not answered."""

    def check(self, name: str, seen: Any) -> None:
        """What is seen now is what was acknowledged, or one of those that were never answered; from now on it is known."""
        assert seen == self.value or seen in self.maybe, (
            f"{name}: {seen!r}, acknowledged {self.value!r}, asked since {self.maybe!r}"
        )
        self.value, self.maybe = seen, []


class Believer:
    """Changes one thing after the other, and remembers what it was answered.

    Args:
        operator: the operator's token.
        chance: what it does.
        hook: port of a receiver of webhooks.
    """

    def __init__(self, operator: str, chance: random.Random, hook: int) -> None:
        self.operator = operator
        self._chance, self._hook = chance, hook
        self.tokens: dict[str, str] = {}
        self.ended_tokens: list[str] = []
        self.battery = Fact(None)
        self.budget = Fact(None)
        self.shares = Fact(SHARES[0])
        self.caps: dict[str, Fact] = {}
        self.containers: dict[str, Fact] = {"c1": Fact(True), "c2": Fact(True)}
        self.rotated = Fact(None)
        self.apps: dict[str, Fact] = {}
        self.callbacks: dict[str, Fact] = {}
        self.lasting = Fact(True)
        self.orphans = 0
        """Containers or callbacks whose making was never answered."""
        self.acknowledged = 0
        self._made = 0

    async def begin(self, client: httpx.AsyncClient) -> None:
        """Get the apps' first tokens."""
        for app in ("real", "stored", "remote"):
            self.tokens[app] = await self._token(client, app)
        body = {"url": f"http://127.0.0.1:{self._hook}/lasting", "events": ["tick"]}
        answer = await self._ask(client, "POST", "/v1/callbacks", None, True, token=self.tokens["real"], body=body)
        assert answer is not None
        self.callbacks[msgspec.json.decode(answer, type=wire.CallbackState).id] = self.lasting

    async def _token(self, client: httpx.AsyncClient, app: str) -> str:
        answer = await client.post(f"/v1/admin/apps/{app}/token", headers=self._bearer(self.operator))
        return msgspec.json.decode(answer.raise_for_status().content, type=wire.Credentials).token

    @staticmethod
    def _bearer(token: str) -> dict[str, str]:
        return {"authorization": f"Bearer {token}"}

    async def change(self, client: httpx.AsyncClient) -> None:
        """Do one thing."""
        one = self._chance.choice(
            (self._cap, self._cap, self._set_battery, self._set_budget, self._set_shares, self._add_container, self._remove_container,
             self._rotate, self._add_callback, self._remove_callback, self._add_app, self._remove_app)
        )  # fmt: skip
        with contextlib.suppress(httpx.HTTPError):  # killed while it looked whether there is something to change
            await one(client)

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, fact: Fact | None, value: Any, *, token: str, body: Any = None
    ) -> bytes | None:
        """The answer; None where there was none, or the server could not."""
        try:
            answer = await client.request(method, path, headers=self._bearer(token), json=body)
        except httpx.HTTPError as error:
            if fact is not None and not isinstance(error, httpx.ConnectError):
                fact.maybe.append(value)
            return None
        if answer.status_code == 503:
            assert answer.json()["type"] == "tag:starting", answer.text
            return None
        assert answer.is_success, (method, path, body, answer.status_code, answer.text)
        self.acknowledged += 1
        if fact is not None:
            fact.value, fact.maybe = value, []
        return answer.content

    async def _cap(self, client: httpx.AsyncClient) -> None:
        known = [one for one, fact in self.containers.items() if fact.value and not fact.maybe]
        if known:
            container = self._chance.choice(known)
            cap_w = round(self._chance.uniform(1.1, 2.9), 3)
            fact = self.caps.setdefault(container, Fact(None))
            await self._ask(
                client, "PATCH", f"/v1/containers/{container}", fact, cap_w, token=self.tokens["real"], body={"cap_w": cap_w}
            )

    async def _set_battery(self, client: httpx.AsyncClient) -> None:
        values = {
            "charge_rate_w": round(self._chance.uniform(0.0, 5.0), 3),
            "max_discharge_w": round(self._chance.uniform(0.0, 5.0), 3),
        }
        await self._ask(client, "PATCH", "/v1/battery", self.battery, values, token=self.tokens["real"], body=values)

    async def _set_budget(self, client: httpx.AsyncClient) -> None:
        budget_g = round(self._chance.uniform(500.0, 900.0), 3)
        body = {"budget_g": budget_g}
        await self._ask(client, "PUT", "/v1/carbon/budget", self.budget, budget_g, token=self.tokens["real"], body=body)

    async def _set_shares(self, client: httpx.AsyncClient) -> None:
        shares = self._chance.choice(SHARES)
        body = {
            "shares": {app: dict.fromkeys(("grid", "solar", "battery_energy", "battery_power"), one) for app, one in shares.items()}
        }
        await self._ask(client, "PUT", "/v1/admin/shares", self.shares, shares, token=self.operator, body=body)

    async def _add_container(self, client: httpx.AsyncClient) -> None:
        if sum(bool(fact.value) for fact in self.containers.values()) + self.orphans >= 4:
            return
        unknown = Fact(None)
        body = await self._ask(client, "POST", "/v1/containers", unknown, True, token=self.tokens["real"], body={"cores": 0.25})
        self.orphans += len(unknown.maybe)
        if body is not None:
            made = msgspec.json.decode(body, type=wire.SettingAnswer).id
            assert made is not None
            self.containers[made] = Fact(True)

    async def _remove_container(self, client: httpx.AsyncClient) -> None:
        known = [one for one, fact in self.containers.items() if fact.value and not fact.maybe]
        if len(known) > 1:
            container = self._chance.choice(known)
            await self._ask(
                client, "DELETE", f"/v1/containers/{container}", self.containers[container], False, token=self.tokens["real"]
            )

    async def _rotate(self, client: httpx.AsyncClient) -> None:
        before = self.tokens["real"]
        answer = await self._ask(client, "POST", "/v1/admin/apps/real/token", self.rotated, None, token=self.operator)
        if answer is not None:
            self.tokens["real"] = msgspec.json.decode(answer, type=wire.Credentials).token
            self.ended_tokens.append(before)

    async def _add_callback(self, client: httpx.AsyncClient) -> None:
        if sum(bool(fact.value) for fact in self.callbacks.values()) + self.orphans >= 6:
            return
        unknown = Fact(None)
        body = {"url": f"http://127.0.0.1:{self._hook}/told", "events": ["tick"]}
        answer = await self._ask(client, "POST", "/v1/callbacks", unknown, True, token=self.tokens["real"], body=body)
        self.orphans += len(unknown.maybe)
        if answer is not None:
            self.callbacks[msgspec.json.decode(answer, type=wire.CallbackState).id] = Fact(True)

    async def _remove_callback(self, client: httpx.AsyncClient) -> None:
        known = [one for one, fact in self.callbacks.items() if fact.value and not fact.maybe and fact is not self.lasting]
        if known:
            callback = self._chance.choice(known)
            await self._ask(
                client, "DELETE", f"/v1/callbacks/{callback}", self.callbacks[callback], False, token=self.tokens["real"]
            )

    async def _add_app(self, client: httpx.AsyncClient) -> None:
        if any(fact.value or fact.maybe for fact in self.apps.values()):
            return
        self._made += 1
        name = f"late-{self._made}"
        body = {
            "name": name,
            "shares": {"grid": 0.05, "solar": 0.05, "battery_energy": 0.05, "battery_power": 0.05},
            "commands": ["bursts"],
            "cores": 0.1,
        }
        fact = self.apps[name] = Fact(False)
        await self._ask(client, "POST", "/v1/admin/apps", fact, True, token=self.operator, body=body)

    async def _remove_app(self, client: httpx.AsyncClient) -> None:
        known = [one for one, fact in self.apps.items() if fact.value and not fact.maybe]
        if known:
            entries = msgspec.json.decode(await self._get(client, "/v1/admin/apps"), type=list[wire.AppEntry])
            if known[0] in {one.name for one in entries}:  # it joins at the next tick
                await self._ask(client, "DELETE", f"/v1/admin/apps/{known[0]}", self.apps[known[0]], False, token=self.operator)

    # -- afterwards

    async def check(self, client: httpx.AsyncClient) -> None:
        """Hold what is seen now against what was acknowledged."""
        await self._check_tokens(client)
        real = msgspec.json.decode(await self._get(client, "/v1/energy?app=real"), type=wire.Snapshot)
        seen = {"charge_rate_w": real.battery.charge_rate_w, "max_discharge_w": real.battery.max_discharge_w}
        self.battery.check("battery", None if self.battery.value is None and not self.battery.maybe else seen)
        self.budget.check("budget", None if real.carbon.budget is None else real.carbon.budget.budget_g)
        entries = msgspec.json.decode(await self._get(client, "/v1/admin/apps"), type=list[wire.AppEntry])
        shares = {one.name: one.shares for one in entries}
        for one in shares.values():
            assert one.grid == one.solar == one.battery_energy == one.battery_power
        self.shares.check("shares", {name: shares[name].grid for name in SHARES[0]})
        for name, fact in self.apps.items():
            fact.check(name, name in shares)
        self._check_containers(real)
        callbacks = msgspec.json.decode(await self._get(client, "/v1/callbacks?app=real"), type=list[wire.CallbackState])
        found = {one.id for one in callbacks}
        for name, fact in self.callbacks.items():
            fact.check(name, name in found)
        self._adopt(found - self.callbacks.keys(), self.callbacks)

    async def _check_tokens(self, client: httpx.AsyncClient) -> None:
        for app, token in self.tokens.items():
            answer = await client.get("/v1/energy", headers=self._bearer(token))
            if app == "real" and answer.status_code == 401 and self.rotated.maybe:  # the new one never came
                self.tokens[app] = await self._token(client, app)
                continue
            assert answer.status_code == 200, f"the token of {app} ended"
        for token in self.ended_tokens:
            assert (await client.get("/v1/energy", headers=self._bearer(token))).status_code == 401
        self.ended_tokens.clear()
        self.rotated.maybe.clear()

    def _check_containers(self, real: wire.Snapshot) -> None:
        found = {one.id: one for one in real.containers}
        for name, fact in self.containers.items():
            fact.check(name, name in found)
        self._adopt(found.keys() - self.containers.keys(), self.containers)
        for name, fact in self.caps.items():
            if name in found:
                cap_w = found[name].cap_w
                if cap_w is not None and cap_w > _BUDGET_CEILING_W:  # what the app's carbon budget leaves of it, in kilowatts
                    cap_w = None
                fact.check(f"cap of {name}", cap_w)

    def _adopt(self, unknown: Any, into: dict[str, Fact]) -> None:
        """Things whose making was never answered were made after all."""
        assert len(unknown) <= self.orphans, f"{unknown}: nobody asked for it"
        self.orphans -= len(unknown)
        into.update({name: Fact(True) for name in unknown})

    async def _get(self, client: httpx.AsyncClient, path: str) -> bytes:
        return (await client.get(path, headers=self._bearer(self.operator))).raise_for_status().content

    @property
    def known_caps(self) -> Mapping[str, float]:
        """Caps in W that were acknowledged, of containers that are there."""
        return {
            name: fact.value
            for name, fact in self.caps.items()
            if fact.value is not None and not fact.maybe and self.containers[name].value and not self.containers[name].maybe
        }
