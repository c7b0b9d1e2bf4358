"""Tables 1 and 2 over REST, as coroutines: what `ports.VirtualEnergy` is in process. Its pages say what each function means.

Getters answer from the tick's snapshot (`held`), setters go out at once; what has been changed is asked for anew when it is needed.
`application` adds the application's own side and the ticks.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from ecovisor import wire
from ecovisor.client import endpoints, values
from ecovisor.client.endpoints import Endpoint
from ecovisor.client.exchange import Exchange
from ecovisor.client.held import Held
from ecovisor.library.notifications import Notifier, Subscriptions
from ecovisor.model.errors import Infeasible, SettingRefused, Unavailable
from ecovisor.model.series import Series
from ecovisor.model.units import iso_utc
from ecovisor.ports import ContainerInfo

#: What notifications call: a plain function, or one that is awaited.
Told = Callable[[float], Awaitable[None] | None]


class Energy:
    """An app's virtual energy system on a live server.

    Args:
        exchange: the server.
        held: the first snapshot.
    """

    def __init__(self, exchange: Exchange, held: Held) -> None:
        self._exchange = exchange
        self._held = held
        self._subscriptions = Subscriptions()
        self._told: list[tuple[Told, float]] = []

    # -- where and when

    @property
    def snapshot(self) -> wire.Snapshot:
        """All that is known of the tick, as it was last asked for."""
        return self._held.snapshot

    @property
    def answers(self) -> Sequence[wire.SettingAnswer]:
        """What the server said to the settings made in this tick: what is in force, and which limit came between."""
        return tuple(self._held.answers)

    async def refresh(self) -> wire.Snapshot:
        """Ask the server for its newest snapshot, now.

        Raises:
            Unavailable: it does not answer.
            AuthenticationError: the token is no longer accepted.
        """
        found = await self._exchange.snapshot(self._held.etag)
        now_s = self._exchange.transport.monotonic_s()
        if found is None:
            self._held.confirmed(now_s)
        else:
            self._held.take(*found, now_s)
        return self._held.snapshot

    async def _now(self) -> wire.Snapshot:
        if not self._held.usable(self._exchange.transport.monotonic_s()):
            await self.refresh()
        return self._held.snapshot

    async def effective_tick(self) -> int:
        await self._now()
        return self._held.effective_tick

    async def now_s(self) -> float:
        return (await self._now()).now_s

    async def tick_s(self) -> float:
        return (await self._now()).tick_s

    # -- Table 1

    async def get_solar_power(self) -> float:
        return (await self._now()).solar.power_w

    async def get_grid_power(self) -> float:
        return (await self._now()).grid.power_w

    async def get_grid_carbon(self) -> float:
        return values.known((await self._now()).grid.carbon_intensity_g_per_kwh)

    async def get_battery_discharge_rate(self) -> float:
        return (await self._now()).battery.discharge_w

    async def get_battery_charge_level(self) -> float:
        return (await self._now()).battery.level_wh

    async def set_battery_charge_rate(self, charge_rate_w: float) -> float:
        rate_w = values.finite("set_battery_charge_rate", charge_rate_w, "W", "power")
        answer = await self._set(endpoints.CHANGE_BATTERY, wire.ChangeBattery(charge_rate_w=rate_w))
        return values.in_force(answer, "charge_rate_w")

    async def set_battery_max_discharge(self, max_discharge_w: float) -> float:
        most_w = values.power_w("set_battery_max_discharge", max_discharge_w)
        answer = await self._set(endpoints.CHANGE_BATTERY, wire.ChangeBattery(max_discharge_w=most_w))
        return values.in_force(answer, "max_discharge_w")

    async def set_container_powercap(self, container_id: str, cap_w: float) -> float:
        request = wire.ChangeContainer(cap_w=values.power_w(f"set_container_powercap of {container_id}", cap_w))
        answer = await self._set_container(container_id, request, idle=False)
        return values.in_force(answer, "cap_w")

    async def get_container_powercap(self, container_id: str) -> float:
        return values.unlimited((await self._container(container_id)).cap_w)

    async def get_container_power(self, container_id: str) -> float:
        return (await self._container(container_id)).power_w

    # -- sizes

    async def battery_capacity_wh(self) -> float:
        return (await self._now()).battery.capacity_wh

    async def battery_charge_limit_w(self) -> float:
        return (await self._now()).battery.charge_limit_w

    async def battery_discharge_limit_w(self) -> float:
        return (await self._now()).battery.discharge_limit_w

    async def idle_power_w(self) -> float:
        await self._now()
        if self._held.idle_power_w is None:
            self._held.idle_power_w = (await self._exchange.ask(endpoints.APP)).idle_power_w
        return self._held.idle_power_w

    # -- Table 2

    async def get_app_power(self) -> float:
        return (await self._now()).load.power_w

    async def get_app_energy(self, start_s: float, end_s: float) -> float:
        """Energy served to the app's containers in ``[start_s, end_s)``. [Wh] NaN if a part of it is unknown; `usage` has the rest."""
        return 0.0 if not start_s < end_s else values.complete(await self.usage(start_s, end_s)).load_wh

    async def get_app_carbon(self, start_s: float | None = None, end_s: float | None = None) -> float:
        """Carbon of the app, on import: since it joined, or in an interval. [g] NaN if a part of it is unknown; `usage` has the rest."""
        now = await self._now()
        end_s = now.now_s if end_s is None else end_s
        if start_s is not None:
            return await self._carbon_g(start_s, end_s)
        return now.carbon.total_g - await self._carbon_g(end_s, now.now_s)

    async def get_container_energy(self, container_id: str, start_s: float, end_s: float) -> float:
        """Energy used by a container in ``[start_s, end_s)``. [Wh] NaN if a part of it is unknown; `usage` has the rest."""
        await self._container(container_id)
        return 0.0 if not start_s < end_s else values.complete(await self.usage(start_s, end_s, container_id)).load_wh

    async def get_container_carbon(self, container_id: str, start_s: float, end_s: float) -> float:
        """Carbon of a container in ``[start_s, end_s)``, on import. [g] NaN if a part of it is unknown; `usage` has the rest."""
        await self._container(container_id)
        return await self._carbon_g(start_s, end_s, container_id)

    async def _carbon_g(self, start_s: float, end_s: float, container_id: str | None = None) -> float:
        if not start_s < end_s:
            return 0.0
        usage = values.complete(await self.usage(start_s, end_s, container_id))
        return math.nan if usage.unknown_carbon_wh > 0.0 else usage.carbon_g

    async def usage(self, start_s: float, end_s: float, container_id: str | None = None) -> wire.Usage:
        """All that the ledger knows of ``[start_s, end_s)``, of the app or of one container, with its gaps and qualities.

        Raises:
            SettingRefused: no such container.
            Infeasible: the interval is empty, or not kept.
        """
        query = {"start": repr(float(start_s)), "end": repr(float(end_s))}
        return await self._exchange.ask(
            endpoints.USAGE, query=query if container_id is None else query | {"container": container_id}
        )

    async def set_carbon_rate(self, container_id: str, carbon_rate_g_per_h: float | None) -> None:
        container_id = values.container(container_id)
        rate = None if carbon_rate_g_per_h is None else values.finite("set_carbon_rate", carbon_rate_g_per_h, "g/h", "rate")
        request = wire.SetRate(carbon_rate_g_per_h=rate)
        await self._set(endpoints.SET_RATE, request, containers=True, idle=True, query={"container": container_id})

    async def set_carbon_budget(self, budget_g: float | None) -> None:
        amount_g = None if budget_g is None else values.finite("set_carbon_budget", budget_g, "g", "amount")
        await self._set(endpoints.SET_BUDGET, wire.SetBudget(budget_g=amount_g), containers=True)

    # -- notifications

    def notify_solar_change(self, callback: Told, threshold_ratio: float = 0.1) -> None:
        self._subscriptions.solar.append(Notifier(self._later(callback), threshold_ratio))

    def notify_carbon_change(self, callback: Told, threshold_ratio: float = 0.1) -> None:
        self._subscriptions.carbon.append(Notifier(self._later(callback), threshold_ratio))

    def notify_battery_full(self, callback: Told) -> None:
        self._subscriptions.full.append(Notifier(self._later(callback)))

    def notify_battery_empty(self, callback: Told) -> None:
        self._subscriptions.empty.append(Notifier(self._later(callback)))

    def _later(self, callback: Told) -> Callable[[float], None]:
        return lambda value: self._told.append((callback, value))

    def _observe(self) -> Sequence[tuple[Told, float]]:
        """Whom the tick's changes concern, each with the value to be told."""
        now = self._held.snapshot
        intensity_g_per_kwh = values.known(now.grid.carbon_intensity_g_per_kwh)
        self._told = []
        self._subscriptions.observe(now.solar.power_w, intensity_g_per_kwh, now.battery.level_wh, now.battery.capacity_wh)
        return self._told

    # -- containers

    async def list_containers(self) -> list[ContainerInfo]:
        return [
            ContainerInfo(view.id, view.cores, view.state in {"running", "starting"}, view.power_w, values.unlimited(view.cap_w))
            for view in await self._containers()
        ]

    async def add_container(self, cores: float, command: str | None = None) -> str:
        request = wire.AddContainer(cores=values.some_cores("add_container", cores), command=command)
        answer = await self._set(endpoints.ADD_CONTAINER, request, containers=True, idle=True)
        if answer.id is None:
            raise Unavailable("add_container: the server does not say which container it has added")
        return answer.id

    async def remove_container(self, container_id: str) -> None:
        await self._set(endpoints.REMOVE_CONTAINER, None, containers=True, idle=True, id=values.container(container_id))

    async def resize_container(self, container_id: str, cores: float) -> None:
        await self._set_container(container_id, wire.ChangeContainer(cores=values.some_cores("resize_container", cores)))

    async def suspend_container(self, container_id: str) -> None:
        await self._set_container(container_id, wire.ChangeContainer(running=False))

    async def resume_container(self, container_id: str) -> None:
        await self._set_container(container_id, wire.ChangeContainer(running=True))

    async def scale_containers(self, factor: float) -> None:
        ratio = values.finite("scale_containers", factor, "times the cores", "factor")
        await self._set(endpoints.CHANGE_APP, wire.ScaleApp(scale_ratio=ratio), containers=True)

    async def set_app_powercap(self, cap_w: float) -> None:
        request = wire.ScaleApp(cap_w=values.power_w("set_app_powercap", cap_w))
        await self._set(endpoints.CHANGE_APP, request, containers=True)

    async def logs(self, container_id: str) -> str:
        """The last of what a container wrote, up to 64 KiB. Raises `SettingRefused` if there is no such container."""
        return await self._exchange.ask(endpoints.LOGS, id=values.container(container_id))

    async def _containers(self) -> Sequence[wire.ContainerView]:
        await self._now()
        if self._held.containers is None:
            self._held.containers = await self._exchange.ask(endpoints.CONTAINERS)
        return self._held.containers

    async def _container(self, container_id: str) -> wire.ContainerView:
        views = await self._containers()
        for view in views:
            if view.id == container_id:
                return view
        known = ", ".join(view.id for view in views) or "none"
        raise SettingRefused(f"container {container_id!r} does not exist; this app has: {known}")

    # -- past and future

    async def history(self, metric: str, start_s: float, end_s: float) -> Series:
        unit = values.unit_of(metric)
        if not start_s < end_s:
            return Series(metric, unit, start_s, await self.tick_s(), array("d"))
        query = {"metric": metric, "start": repr(float(start_s)), "end": repr(float(end_s))}
        found = await self._exchange.ask(endpoints.HISTORY, query=query)
        _check_kept(found, start_s, end_s)
        return Series(
            found.metric, found.unit, found.start_s, found.step_s, values.values(found.values), values.quality(found.quality)
        )

    async def forecast(self, signal: str, horizon_s: float) -> Series:
        query = {"horizon": repr(float(horizon_s))}
        found = await self._exchange.ask(endpoints.FORECAST, query=query, signal=signal)
        series, quality = values.values(found.values), values.quality(found.quality)
        return Series(found.signal, found.unit, found.start_s, found.step_s, series, quality, found.origin)

    # -- settings

    async def _set(
        self,
        endpoint: Endpoint[wire.SettingAnswer],
        request: msgspec.Struct | None,
        *,
        containers: bool = False,
        idle: bool = False,
        query: Mapping[str, str] | None = None,
        **parts: str,
    ) -> wire.SettingAnswer:
        answer = await self._exchange.ask(endpoint, request, query=query, **parts)
        self._held.answered(answer, containers=containers, idle=idle)
        return answer

    async def _set_container(self, container_id: str, request: wire.ChangeContainer, *, idle: bool = True) -> wire.SettingAnswer:
        container_id = values.container(container_id)
        return await self._set(endpoints.CHANGE_CONTAINER, request, containers=True, idle=idle, id=container_id)


def _check_kept(found: wire.History, start_s: float, end_s: float) -> None:
    """Raises `Infeasible` for times that the server does not know; gaps within those that it does are NaN."""
    first_s, last_s = found.kept_start_s, found.kept_end_s
    if first_s is None or last_s is None or (start_s >= first_s - found.step_s and end_s <= last_s + found.step_s):
        return
    raise Infeasible(
        f"history: {iso_utc(start_s)} to {iso_utc(end_s)} is not within what is kept, {iso_utc(first_s)} to {iso_utc(last_s)}"
    )
