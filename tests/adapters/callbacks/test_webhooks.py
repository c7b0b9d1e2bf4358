"""Deliveries arrive signed, in order and at least once, whatever receivers, disks and processes do meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, ParamSpec

import msgspec
import pytest
import trustme
from aiohttp import web
from tests.api.played import MemoryRegistry, PlayedBackend

from ecovisor import wire
from ecovisor.adapters.callbacks import verify
from ecovisor.adapters.callbacks.registrations import Callback, Progress, Registration
from ecovisor.adapters.callbacks.targets import Address
from ecovisor.adapters.callbacks.webhooks import WebhookLimits, Webhooks
from ecovisor.model.errors import Refused, SettingRefused, StoreError

P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that runs in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


QUICK = WebhookLimits(deadline_s=5.0, failures=5, save_every_s=0.001)


@dataclass
class Delivery:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> wire.Notification:
        return msgspec.json.decode(self.body, type=wire.Notification)


@dataclass
class Receiver:
    """An HTTP server that takes deliveries, or does something else with them."""

    port: int = 0
    got: list[Delivery] = field(default_factory=list)
    answer: Callable[[Delivery], web.StreamResponse | Exception] = lambda delivery: web.Response(status=204)
    hold: asyncio.Event | None = None
    under_way: int = 0
    most_under_way: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.StreamResponse:
        delivery = Delivery(request.path_qs, dict(request.headers), await request.read())
        self.got.append(delivery)
        self.arrived.set()
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            if self.hold is not None:
                await self.hold.wait()
            answer = self.answer(delivery)
        finally:
            self.under_way -= 1
        if isinstance(answer, Exception):
            assert request.transport is not None
            request.transport.close()
            raise answer
        return answer

    @property
    def ids(self) -> list[str]:
        return [delivery.event.id for delivery in self.got]

    async def until(self, count: int) -> None:
        """Until as many deliveries have arrived."""
        async with asyncio.timeout(20):
            while len(self.got) < count:
                self.arrived.clear()
                await self.arrived.wait()


@contextlib.asynccontextmanager
async def receiving(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{tail:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0, ssl_context=tls)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        await runner.cleanup()


class Naps:
    """Notes how long it was asked to sleep, and does not."""

    def __init__(self) -> None:
        self.taken_s: list[float] = []

    async def __call__(self, duration_s: float) -> None:
        self.taken_s.append(duration_s)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def delivering(backend: PlayedBackend, **more: Any) -> AsyncIterator[Webhooks]:
    more.setdefault("limits", QUICK)
    more.setdefault("sleep", Naps())
    webhooks = Webhooks(backend, **more)
    await webhooks.start()
    try:
        yield webhooks
    finally:
        await webhooks.stop()


def allow(backend: PlayedBackend, receiver: Receiver, *apps: str) -> str:
    for app in apps or ("app",):
        backend.webhooks[app] = [*backend.webhooks[app], f"http://127.0.0.1:{receiver.port}"]
    return f"http://127.0.0.1:{receiver.port}/tick?x=1"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.002)


@in_loop
async def test_every_event_asked_for_arrives_signed_and_in_order() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver, delivering(backend) as webhooks:
        made = await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver), events=["tick", "battery_full"]))
        assert made.secret is not None
        for _ in range(3):
            backend.advance(("app", "battery_full", 62.5), ("neighbour", "battery_full", 1.0), ("app", "gap", None))
        await receiver.until(6)
        assert receiver.ids == ["2.0", "2.1", "3.0", "3.1", "4.0", "4.1"]
        for delivery in receiver.got:
            assert delivery.path == "/tick?x=1"
            assert verify(made.secret, delivery.headers, delivery.body, now_s=backend.clock.wall_s()) == delivery.event.id
            assert delivery.event.app == "app"
            assert delivery.headers["Content-Type"] == "application/json"
        (state,) = webhooks.of("app")
        assert (state.failures, state.dead, state.secret) == (0, False, None), "the secret is told once"
        assert webhooks.of("neighbour") == []


@in_loop
async def test_nothing_from_before_the_registration_arrives() -> None:
    backend = PlayedBackend()
    backend.advance()
    async with receiving() as receiver, delivering(backend) as webhooks:
        await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
        backend.advance()
        await receiver.until(1)
        assert receiver.ids == ["3.0"]


def failing(times: int, how: Callable[[], web.StreamResponse | Exception]) -> Callable[[Delivery], web.StreamResponse | Exception]:
    left = itertools.count(times, -1)
    return lambda delivery: how() if next(left) > 0 else web.Response(status=200)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410, 429, 500, 503])
@in_loop
async def test_what_is_not_acknowledged_is_sent_again_with_the_same_id(status: int) -> None:
    backend, naps = PlayedBackend(), Naps()
    async with receiving() as receiver, delivering(backend, sleep=naps) as webhooks:
        elsewhere = {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"}
        receiver.answer = failing(3, lambda: web.Response(status=status, headers=elsewhere))
        await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
        backend.advance()
        backend.advance()
        await receiver.until(5)
        assert receiver.ids == ["2.0"] * 4 + ["3.0"]
        assert {delivery.path for delivery in receiver.got} == {"/tick?x=1"}, "redirects are not followed"
        await until(lambda: webhooks.of("app")[0].failures == 0)
        assert len(naps.taken_s) == 3


@in_loop
async def test_a_connection_that_breaks_is_a_failure_like_any_other() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver, delivering(backend) as webhooks:
        receiver.answer = failing(2, lambda: ConnectionResetError("cut"))
        await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
        backend.advance()
        await receiver.until(3)
        assert receiver.ids == ["2.0"] * 3


@in_loop
async def test_a_receiver_that_never_answers_meets_the_deadline() -> None:
    backend = PlayedBackend()
    limits = WebhookLimits(deadline_s=0.05, failures=2)
    async with receiving() as receiver, delivering(backend, limits=limits) as webhooks:
        receiver.hold = asyncio.Event()
        await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
        backend.advance()
        await until(lambda: webhooks.of("app")[0].dead)
        assert "no answer within 0.05 s" in webhooks.of("app")[0].last_error


@in_loop
async def test_waits_double_up_to_a_limit_and_are_spread() -> None:
    backend, naps = PlayedBackend(), Naps()
    limits = WebhookLimits(failures=12, first_wait_s=1.0, longest_wait_s=60.0)
    backend.webhooks["app"] = ["http://127.0.0.1:9"]
    async with delivering(backend, limits=limits, sleep=naps) as webhooks:
        await webhooks.register("app", wire.AddCallback(url="http://127.0.0.1:9/"))
        backend.advance()
        await until(lambda: webhooks.of("app")[0].dead)
    whole_s = [min(2.0**k, 60.0) for k in range(11)]
    assert len(naps.taken_s) == 11
    assert all(
        half <= taken <= whole for half, taken, whole in zip([one / 2 for one in whole_s], naps.taken_s, whole_s, strict=True)
    )
    assert len({taken / whole for taken, whole in zip(naps.taken_s, whole_s, strict=True)}) > 5


@in_loop
async def test_after_too_many_failures_it_is_dead_and_told_and_stays_so(caplog: pytest.LogCaptureFixture) -> None:
    backend = PlayedBackend()
    async with receiving() as receiver:
        url = allow(backend, receiver)
        receiver.answer = lambda delivery: web.Response(status=500)
        async with delivering(backend) as webhooks:
            await webhooks.register("app", wire.AddCallback(url=url))
            backend.advance()
            await until(lambda: webhooks.of("app")[0].dead)
            (state,) = webhooks.of("app")
            assert (state.failures, state.last_error) == (5, "answered 500")
            assert "callback is dead after 5 failures" in caplog.text
        assert len(receiver.got) == 5
        async with delivering(backend) as again:
            assert again.of("app")[0].dead, "also after a restart"
            backend.advance()
            await asyncio.sleep(0.02)
            assert len(receiver.got) == 5


class SlowAtFirst(MemoryRegistry):
    """The first note of progress takes until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.notes = 0

    def put(self, kind: str, key: str, value: bytes) -> None:
        if kind == "webhook_progress":
            self.notes += 1
            if self.notes == 1:
                self.go_on.wait(20)
        super().put(kind, key, value)


@in_loop
async def test_an_older_state_never_overwrites_a_newer_one() -> None:
    backend, registry = PlayedBackend(), SlowAtFirst()
    backend.registry = registry
    async with receiving() as receiver:
        receiver.answer = lambda delivery: web.Response(status=500)
        async with delivering(backend) as webhooks:
            await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
            backend.advance()
            await until(lambda: webhooks.of("app")[0].dead)
            await until(lambda: registry.notes == 1)
            registry.go_on.set()
        async with delivering(backend) as again:
            assert again.of("app")[0].dead


@in_loop
async def test_a_restart_goes_on_behind_the_last_acknowledged_event() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver:
        async with delivering(backend) as webhooks:
            made = await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
            backend.advance()
            await receiver.until(1)
            await until(lambda: webhooks.of("app")[0].acknowledged == "2.0")
        backend.advance()
        backend.advance()
        async with delivering(backend) as again:
            await receiver.until(3)
            assert receiver.ids == ["2.0", "3.0", "4.0"]
            assert made.secret is not None
            assert verify(made.secret, receiver.got[-1].headers, receiver.got[-1].body, now_s=backend.clock.wall_s()) == "4.0"
            assert [state.id for state in again.of("app")] == [made.id]


@in_loop
async def test_after_a_crash_nothing_is_lost_and_at_most_the_last_is_told_twice() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver:
        crashed = Webhooks(backend, limits=QUICK, sleep=Naps())
        await crashed.start()
        await crashed.register("app", wire.AddCallback(url=allow(backend, receiver)))
        for _ in range(5):
            backend.advance()
        await receiver.until(3)
        kept = dict(backend.registry.facts)  # what a crash here would leave on disk
        await receiver.until(5)
        await crashed.stop()
        backend.registry.facts = kept
        backend.advance()
        async with delivering(backend):
            await until(lambda: "7.0" in receiver.ids)
        expected = [f"{k}.0" for k in range(2, 8)]
        assert sorted(set(receiver.ids)) == expected
        second = receiver.ids[5:]
        assert second == expected[expected.index(second[0]) :], "in order, from where it is known to have come"


@in_loop
async def test_what_is_delivered_while_the_process_ends_is_delivered_again() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver:
        async with delivering(backend) as webhooks:
            receiver.hold = asyncio.Event()
            await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
            backend.advance()
            await receiver.until(1)
        receiver.hold.set()
        async with delivering(backend):
            await receiver.until(2)
            assert receiver.ids == ["2.0", "2.0"]


@in_loop
async def test_a_slow_receiver_holds_up_no_other() -> None:
    backend = PlayedBackend()
    async with receiving() as slow, receiving() as quick, delivering(backend) as webhooks:
        slow.hold = asyncio.Event()
        await webhooks.register("app", wire.AddCallback(url=allow(backend, slow)))
        await webhooks.register("app", wire.AddCallback(url=allow(backend, quick)))
        for _ in range(4):
            backend.advance()
        await quick.until(4)
        assert quick.ids == ["2.0", "3.0", "4.0", "5.0"]
        assert slow.ids == ["2.0"], "the next waits until this one is acknowledged"
        slow.hold.set()
        await slow.until(4)
        assert slow.ids == quick.ids


@in_loop
async def test_no_more_requests_than_allowed_are_under_way() -> None:
    backend = PlayedBackend()
    limits = WebhookLimits(concurrent=3, per_app=16)
    async with receiving() as receiver, delivering(backend, limits=limits) as webhooks:
        url = allow(backend, receiver, "app", "neighbour")
        for app in ("app", "neighbour"):
            for _ in range(8):
                await webhooks.register(app, wire.AddCallback(url=url))
        receiver.hold = asyncio.Event()
        backend.advance()
        await receiver.until(3)
        receiver.hold.set()
        await receiver.until(16)
        assert receiver.most_under_way <= 3
        for _ in range(8):
            await webhooks.register("app", wire.AddCallback(url=url))
        with pytest.raises(Refused, match="16 callbacks"):
            await webhooks.register("app", wire.AddCallback(url=url))


@in_loop
async def test_an_ended_callback_gets_nothing_more() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver:
        async with delivering(backend) as webhooks:
            url = allow(backend, receiver, "app", "neighbour")
            mine = await webhooks.register("app", wire.AddCallback(url=url))
            theirs = await webhooks.register("neighbour", wire.AddCallback(url=url))
            assert not await webhooks.remove("app", theirs.id), "another app's is no callback of this one"
            assert not await webhooks.remove("app", "nonsense")
            assert await webhooks.remove("app", mine.id)
            assert not await webhooks.remove("app", mine.id)
            backend.advance()
            await receiver.until(1)
            assert [delivery.event.app for delivery in receiver.got] == ["neighbour"]
            await webhooks.forget("neighbour")
        async with delivering(backend) as again:
            assert (again.of("app"), again.of("neighbour")) == ([], [])


@in_loop
async def test_an_app_that_has_left_gets_nothing_and_disturbs_nobody() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver, delivering(backend) as webhooks:
        url = allow(backend, receiver, "app", "neighbour")
        await webhooks.register("app", wire.AddCallback(url=url))
        await webhooks.register("neighbour", wire.AddCallback(url=url))
        backend.names.remove("app")
        backend.advance()
        await receiver.until(1)
        assert [delivery.event.app for delivery in receiver.got] == ["neighbour"]


@in_loop
async def test_a_target_that_is_no_longer_allowed_gets_nothing_more() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver, delivering(backend) as webhooks:
        await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
        backend.webhooks["app"] = []
        backend.advance()
        await until(lambda: webhooks.of("app")[0].dead)
        assert receiver.got == []
        assert "webhook_allow" in webhooks.of("app")[0].last_error


@in_loop
async def test_a_registration_that_cannot_be_kept_is_none() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver, delivering(backend) as webhooks:
        backend.registry.full = True
        with pytest.raises(StoreError):
            await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
        assert webhooks.of("app") == []
        backend.registry.full = False
        made = await webhooks.register("app", wire.AddCallback(url=f"http://127.0.0.1:{receiver.port}/"))
        backend.registry.full = True
        with pytest.raises(StoreError):
            await webhooks.remove("app", made.id)
        backend.advance()
        await receiver.until(1)
        backend.registry.full = False


@pytest.mark.parametrize("events", [[], ["Tick"], ["a b"], ["x" * 50], ["tick"] * 100])
@in_loop
async def test_what_is_no_kind_of_event_is_refused(events: list[str]) -> None:
    backend = PlayedBackend()
    backend.webhooks["app"] = ["https://hooks.example.org"]
    async with delivering(backend) as webhooks:
        with pytest.raises(SettingRefused, match="kinds of event"):
            await webhooks.register("app", wire.AddCallback(url="https://hooks.example.org", events=events))
        with pytest.raises(Refused, match="webhook_allow"):
            await webhooks.register("app", wire.AddCallback(url="https://elsewhere.example.org"))
        with pytest.raises(SettingRefused):
            webhooks.check_allowed(["https://hooks.example.org/path"])


def test_small_changes_are_not_told_and_slow_ones_add_up() -> None:
    registration = Registration(
        id="1", app="app", url="", events=["solar_change"], threshold_ratio=0.5, secret="", since="", registered_s=0.0
    )
    callback = Callback(registration, Progress(acknowledged=""))

    def wants(value: float | None) -> bool:
        event = wire.Notification(id="2.1", kind="solar_change", app="app", tick=1, time="", wall_time="", value=value)
        return callback.wants(event)

    assert [wants(value) for value in (10.0, 12.0, 14.0, 16.0, 14.0, 7.9, None, None, 3.0)] == [
        True,
        False,
        False,
        True,
        False,
        True,
        True,
        False,
        True,
    ]


# -- where it goes


@in_loop
async def test_https_is_verified_against_the_name_and_goes_to_the_address_that_was_looked_up() -> None:
    authority = trustme.CA()
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("hooks.example.org").configure_cert(serving)
    authority.configure_trust(trusting)
    backend, asked = PlayedBackend(), []

    async def lookup(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]  # the name changes its mind

    async def loopback(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    def public(address: Address) -> bool:
        return str(address) == "127.0.0.1"

    async with receiving(tls=serving) as receiver:
        async with delivering(backend, tls=trusting, lookup=lookup, public=public) as webhooks:
            backend.webhooks["app"] = [f"https://hooks.example.org:{receiver.port}"]
            await webhooks.register("app", wire.AddCallback(url=f"https://HOOKS.example.org:{receiver.port}/x"))
            backend.advance()
            await receiver.until(1)
            assert receiver.got[0].headers["Host"] == f"hooks.example.org:{receiver.port}"
            backend.advance()
            await receiver.until(2)
            assert asked == [("hooks.example.org", receiver.port)], "looked up once for the connection"
        async with delivering(backend, lookup=loopback, public=public) as webhooks:
            backend.advance()
            await until(lambda: webhooks.of("app")[0].dead)
            assert "certificate" in webhooks.of("app")[0].last_error.lower(), "a certificate nobody vouches for"
        assert len(receiver.got) == 2


INSIDE = [["127.0.0.1"], ["10.0.0.7"], ["169.254.169.254"], ["::1"], ["93.184.216.34", "127.0.0.1"], ["fe80::1%eth0"], []]


@pytest.mark.parametrize("addresses", INSIDE)
@in_loop
async def test_a_name_that_leads_inside_is_not_followed(addresses: list[str]) -> None:
    backend = PlayedBackend()

    async def lookup(host: str, port: int) -> list[str]:
        return addresses

    async with receiving() as receiver, delivering(backend, lookup=lookup) as webhooks:
        backend.webhooks["app"] = [f"https://inside.example.org:{receiver.port}"]
        await webhooks.register("app", wire.AddCallback(url=f"https://inside.example.org:{receiver.port}/"))
        backend.advance()
        await until(lambda: webhooks.of("app")[0].dead)
        error = webhooks.of("app")[0].last_error
        assert "no public address" in error or "has no address" in error
        assert receiver.got == []


@in_loop
async def test_an_address_of_the_inside_is_a_target_where_the_operator_wrote_it() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver, delivering(backend) as webhooks:
        await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
        backend.advance()
        await receiver.until(1)


@in_loop
async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = PlayedBackend()
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with delivering(backend) as webhooks:
            await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
            backend.advance()
            await receiver.until(1)
        assert proxy.got == []


@in_loop
async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    backend = PlayedBackend()
    async with receiving() as receiver, delivering(backend) as webhooks:
        receiver.answer = lambda delivery: web.Response(body=b"x" * 10_000_000)
        await webhooks.register("app", wire.AddCallback(url=allow(backend, receiver)))
        backend.advance()
        backend.advance()
        await receiver.until(2)
        assert receiver.ids == ["2.0", "3.0"]
