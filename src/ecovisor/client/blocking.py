"""An app on a live server, for ordinary programs: `application.AsyncApp` without the waiting in between.

Nothing is implemented here. Each line takes a coroutine of `AsyncApp` and runs it to its end at once, which it reaches without ever
suspending, because its transport blocks. Types and documentation come with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from ecovisor import wire
from ecovisor.client.application import AsyncApp
from ecovisor.client.following import Event

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=Callable[["App", "App"], None])


def complete(coroutine: Coroutine[Any, Any, R]) -> R:
    """The result of a coroutine that never suspends.

    Raises:
        TypeError: it does: somebody gave an asynchronous callback.
    """
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: R = finished.value
        return result
    coroutine.close()
    raise TypeError("this app is not asynchronous, so its callbacks cannot be; use ecovisor.connect_async")


def _now(later: Callable[Concatenate[AsyncApp, P], Coroutine[Any, Any, R]]) -> Callable[Concatenate[App, P], R]:
    """A function that does at once what a coroutine does."""

    def now(self: App, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return complete(later(self.later, *args, **kwargs))

    return functools.update_wrapper(now, later)


class _Now(Generic[R]):
    """A property that has the result of a coroutine."""

    def __init__(self, later: Callable[[AsyncApp], Coroutine[Any, Any, R]]) -> None:
        self._later = later
        self.__doc__ = later.__doc__

    @overload
    def __get__(self, app: None, owner: type[App]) -> Self: ...
    @overload
    def __get__(self, app: App, owner: type[App] | None = None) -> R: ...
    def __get__(self, app: App | None, owner: type[App] | None = None) -> Self | R:
        return self if app is None else complete(self._later(app.later))


class App:
    """One app of a live site: `ports.VirtualEnergy` and `ports.AppView` in one; `ecovisor.connect` makes it.

    One thread uses it at a time; only `close` may be called from another.
    """

    def __init__(self, later: AsyncApp) -> None:
        self.later = later
        """The same app as coroutines, on a transport that blocks."""

    # -- what needs no waiting

    @property
    def name(self) -> str:
        """The app's name."""
        return self.later.name

    @property
    def snapshot(self) -> wire.Snapshot:
        """All that is known of the tick, as it was last asked for."""
        return self.later.snapshot

    @property
    def answers(self) -> Sequence[wire.SettingAnswer]:
        """What the server said to the settings made in this tick: what is in force, and which limit came between."""
        return self.later.answers

    @property
    def late_ticks(self) -> int:
        """Ticks that were over before they could be answered, so far."""
        return self.later.late_ticks

    def notify_solar_change(self, callback: Callable[[float], None], threshold_ratio: float = 0.1) -> None:
        self.later.notify_solar_change(callback, threshold_ratio)

    def notify_carbon_change(self, callback: Callable[[float], None], threshold_ratio: float = 0.1) -> None:
        self.later.notify_carbon_change(callback, threshold_ratio)

    def notify_battery_full(self, callback: Callable[[float], None]) -> None:
        self.later.notify_battery_full(callback)

    def notify_battery_empty(self, callback: Callable[[float], None]) -> None:
        self.later.notify_battery_empty(callback)

    def on_tick(self, callback: C) -> C:
        """Call ``callback(energy, app)`` at every tick that `run` answers. A decorator, too."""
        self.later.on_tick(lambda _, __: callback(self, self))
        return callback

    def stop(self) -> None:
        """Let `run` return when the present tick has been answered; for callbacks."""
        self.later.stop()

    def events(self) -> Iterator[Event]:
        """Everything that happens, in order and without gaps, until the app is closed; see `AsyncApp.events`."""
        while (event := self.next_event()) is not None:
            yield event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    # -- where and when
    refresh = _now(AsyncApp.refresh)
    effective_tick = _Now(AsyncApp.effective_tick)
    now_s = _Now(AsyncApp.now_s)
    tick_s = _Now(AsyncApp.tick_s)

    # -- Table 1
    get_solar_power = _now(AsyncApp.get_solar_power)
    get_grid_power = _now(AsyncApp.get_grid_power)
    get_grid_carbon = _now(AsyncApp.get_grid_carbon)
    get_battery_discharge_rate = _now(AsyncApp.get_battery_discharge_rate)
    get_battery_charge_level = _now(AsyncApp.get_battery_charge_level)
    set_battery_charge_rate = _now(AsyncApp.set_battery_charge_rate)
    set_battery_max_discharge = _now(AsyncApp.set_battery_max_discharge)
    set_container_powercap = _now(AsyncApp.set_container_powercap)
    get_container_powercap = _now(AsyncApp.get_container_powercap)
    get_container_power = _now(AsyncApp.get_container_power)

    # -- sizes
    battery_capacity_wh = _Now(AsyncApp.battery_capacity_wh)
    battery_charge_limit_w = _Now(AsyncApp.battery_charge_limit_w)
    battery_discharge_limit_w = _Now(AsyncApp.battery_discharge_limit_w)
    idle_power_w = _Now(AsyncApp.idle_power_w)

    # -- Table 2
    get_app_power = _now(AsyncApp.get_app_power)
    get_app_energy = _now(AsyncApp.get_app_energy)
    get_app_carbon = _now(AsyncApp.get_app_carbon)
    get_container_energy = _now(AsyncApp.get_container_energy)
    get_container_carbon = _now(AsyncApp.get_container_carbon)
    usage = _now(AsyncApp.usage)
    set_carbon_rate = _now(AsyncApp.set_carbon_rate)
    set_carbon_budget = _now(AsyncApp.set_carbon_budget)

    # -- containers
    list_containers = _now(AsyncApp.list_containers)
    add_container = _now(AsyncApp.add_container)
    remove_container = _now(AsyncApp.remove_container)
    resize_container = _now(AsyncApp.resize_container)
    suspend_container = _now(AsyncApp.suspend_container)
    resume_container = _now(AsyncApp.resume_container)
    scale_containers = _now(AsyncApp.scale_containers)
    set_app_powercap = _now(AsyncApp.set_app_powercap)
    logs = _now(AsyncApp.logs)

    # -- past and future
    history = _now(AsyncApp.history)
    forecast = _now(AsyncApp.forecast)

    # -- ports.AppView
    progress_ratio = _Now(AsyncApp.progress_ratio)
    completed = _Now(AsyncApp.completed)
    metrics = _Now(AsyncApp.metrics)
    report = _now(AsyncApp.report)

    # -- ticks
    run = _now(AsyncApp.run)
    wait_for_tick = _now(AsyncApp.wait_for_tick)
    tick_done = _now(AsyncApp.tick_done)
    next_event = _now(AsyncApp.next_event)

    # -- webhooks
    add_callback = _now(AsyncApp.add_callback)
    list_callbacks = _now(AsyncApp.list_callbacks)
    remove_callback = _now(AsyncApp.remove_callback)

    close = _now(AsyncApp.close)
