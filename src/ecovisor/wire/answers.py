"""What the server answers. The snapshot of a tick holds all that an app may know of now; it is serialised once a tick."""

from __future__ import annotations

import msgspec

from ecovisor.wire.requests import Shares


class _Answer(msgspec.Struct, kw_only=True, frozen=True):
    """Base of all answers: readers ignore fields that they do not know."""


# -- the snapshot


class SolarState(_Answer, kw_only=True, frozen=True):
    """The app's virtual solar array."""

    power_w: float
    """Available in the coming tick: the app's share of what was collected in the last one. [W]"""
    quality: str
    """measured, modelled, estimated, forecast or stale."""
    age_s: float
    """Wall time since it was read. [s]"""


class GridState(_Answer, kw_only=True, frozen=True):
    """The app's virtual grid connection."""

    power_w: float
    """Drawn in the last tick, by load and battery. [W]"""
    limit_w: float | None
    """The app's share of the connection, or what its budget leaves of it; null: unlimited. [W]"""
    carbon_intensity_g_per_kwh: float | None
    """Of the coming tick; null: unknown. [g/kWh]"""
    price_per_kwh: float | None
    """null: no price is known. [per kWh]"""
    quality: str
    """Of the intensity."""
    age_s: float
    """Wall time since the intensity was read. [s]"""


class BatteryState(_Answer, kw_only=True, frozen=True):
    """The app's virtual battery."""

    level_wh: float
    """Above the empty line, at the start of the coming tick. [Wh]"""
    capacity_wh: float
    """Usable. [Wh]"""
    charge_limit_w: float
    """[W]"""
    discharge_limit_w: float
    """[W]"""
    charge_rate_w: float
    """The setting, as asked. [W]"""
    max_discharge_w: float | None
    """The setting, as asked; null: as much as the limit allows. [W]"""
    charge_w: float
    """In the last tick, from solar, grid and others. [W]"""
    discharge_w: float
    """In the last tick. [W]"""
    stored_carbon_g: float
    """[g]"""


class LoadState(_Answer, kw_only=True, frozen=True):
    """What the app's containers drew in the last tick."""

    power_w: float
    """[W]"""
    idle_power_w: float
    """What the running containers draw without load. [W]"""
    cap_w: float | None
    """Cap on the app as a whole; null: none. [W]"""
    scale_ratio: float
    """Factor on the containers' cores. [1]"""
    unserved_w: float
    """Asked for and not served (simulated workloads only). [W]"""
    overdraw_w: float
    """Drawn beyond what the app's supply allowed, and billed. [W]"""
    solar_w: float
    """Part served by the sun. [W]"""
    battery_w: float
    """Part served by the battery. [W]"""
    grid_w: float
    """Part served by the grid. [W]"""
    quality: str
    """measured, modelled, …"""


class BudgetState(_Answer, kw_only=True, frozen=True):
    """A carbon budget."""

    budget_g: float
    """[g]"""
    spent_g: float
    """[g]"""
    remaining_g: float
    """[g]"""
    exhausted_s: float | None
    """When it will be spent at the mean rate since it was set; null: never. [s since the epoch, site time]"""
    enforced: bool
    """Whether it limits the app, or is only accounted."""


class CarbonState(_Answer, kw_only=True, frozen=True):
    """The app's carbon account, on import."""

    total_g: float
    """Since the app joined. [g]"""
    on_use_total_g: float
    """The same, charged when energy is used. [g]"""
    unknown_wh: float
    """Imported while the intensity was unknown, and not in the totals. [Wh]"""
    rate_g_per_h: float | None
    """In the last tick; null: unknown. [g/h]"""
    budget: BudgetState | None
    """null: none is set."""


class ContainerView(_Answer, kw_only=True, frozen=True):
    """A container."""

    id: str
    state: str
    """running, suspended, exited, starting or failed."""
    cores: float
    """[cores]"""
    power_w: float
    """Mean over the last tick. [W]"""
    cap_w: float | None
    """In force; null: none. [W]"""
    floor_w: float
    """Its idle power: the least that a cap can be. [W]"""
    command: str
    """Empty for simulated ones."""
    exit_code: int | None
    """null: has not exited."""
    carbon_rate_g_per_h: float | None
    """Limit on its rate of emission; null: none. [g/h]"""
    quality: str
    """Of its power."""


class Energies(_Answer, kw_only=True, frozen=True):
    """Energy since the app joined, or over an interval. [Wh]"""

    load_wh: float
    """Served. [Wh]"""
    solar_to_load_wh: float
    """[Wh]"""
    battery_to_load_wh: float
    """[Wh]"""
    grid_to_load_wh: float
    """[Wh]"""
    solar_to_battery_wh: float
    """[Wh]"""
    grid_to_battery_wh: float
    """[Wh]"""
    received_wh: float
    """From other apps' excess. [Wh]"""
    shared_wh: float
    """[Wh]"""
    exported_wh: float
    """[Wh]"""
    curtailed_wh: float
    """[Wh]"""
    unserved_wh: float
    """[Wh]"""
    overdraw_wh: float
    """Part of grid_to_load beyond the app's supply. [Wh]"""


class Progress(_Answer, kw_only=True, frozen=True):
    """What the app, or its simulated workload, says of itself."""

    work_done: float
    """In a unit of the app's own; core-hours for simulated batch jobs."""
    work_total: float
    """0: no end."""
    metrics: dict[str, float]
    """By name."""


class SourceState(_Answer, kw_only=True, frozen=True):
    """Something external that the site reads."""

    name: str
    """`plant`, `carbon`, `price`, `platform`, `node meter`."""
    quality: str
    """measured, modelled, …, `stale` or `missing`."""
    age_s: float
    """Wall time since the last good value. [s]"""
    detail: str
    """What it is, or why it is stale."""


class Snapshot(_Answer, kw_only=True, frozen=True):
    """``GET /v1/energy``: all that an app knows at a tick.

    Power is the mean of the tick that ended; solar power and carbon intensity are those of the coming one.
    """

    app: str
    tick: int
    """The coming tick."""
    effective_tick: int
    """The tick that settings made now would govern: the coming one, or, once it has begun, the next."""
    time: str
    """Start of the coming tick, site time."""
    now_s: float
    """The same. [s since the epoch]"""
    tick_s: float
    """Length of a tick, site time. [s]"""
    last_dt_s: float
    """Length of the tick that ended; longer than `tick_s` if it was late. [s]"""
    wall_time: str
    """When this was published."""
    compression: float
    """Seconds of site time in a second of wall time. [1]"""
    solar: SolarState
    grid: GridState
    battery: BatteryState
    load: LoadState
    carbon: CarbonState
    containers: list[ContainerView]
    totals: Energies
    progress: Progress
    stale: list[SourceState]
    """Sources whose last value is old or missing; empty when all is well."""
    timezone: str = "UTC"
    """IANA name of the site's zone, for people."""


class SiteSnapshot(_Answer, kw_only=True, frozen=True):
    """``GET /v1/admin/site``: the physical system and all apps, for the operator."""

    site: str
    """Its name."""
    timezone: str
    """IANA name, for people."""
    tick: int
    """The coming tick."""
    time: str
    """Its start, site time."""
    now_s: float
    """The same. [s since the epoch]"""
    tick_s: float
    """[s]"""
    wall_time: str
    compression: float
    """[1]"""
    solar_w: float
    """Collected in the last tick. [W]"""
    import_w: float
    """Metered. [W]"""
    export_w: float
    """Metered. [W]"""
    battery_charge_w: float
    """Metered. [W]"""
    battery_discharge_w: float
    """Metered. [W]"""
    battery_level_wh: float
    """Above the empty line. [Wh]"""
    battery_capacity_wh: float
    """Usable. [Wh]"""
    buffer_wh: float
    """Solar energy collected and not yet given to the apps. [Wh]"""
    node_power_w: float
    """All containers and the overhead. [W]"""
    curtailed_w: float
    """[W]"""
    carbon_intensity_g_per_kwh: float | None
    """null: unknown. [g/kWh]"""
    residual_wh: float
    """What the apps' flows and the physical meters differ by, at most, since the start. [Wh]"""
    late_ticks: int
    """Ticks that took longer than they should, since the start."""
    gaps: int
    """Since the start."""
    sun_ratio: float
    """Factor on the emulated sun, for demonstrations. [1]"""
    platform: str
    """What runs and caps the containers, for people."""
    sources: list[SourceState]
    apps: list[Snapshot]
    """All apps, `_site` last."""
    emulated: bool = False
    """Whether the sun is emulated, so that the operator may scale it."""


# -- answers to settings and questions


class SettingAnswer(_Answer, kw_only=True, frozen=True):
    """What a setting came to."""

    effective_tick: int
    """The tick that it governs first; power caps act at once."""
    asked: dict[str, float | None]
    """By field, as asked."""
    in_force: dict[str, float | None]
    """By field, what acts under the limits of now; null: unlimited."""
    clipped: dict[str, str]
    """By field, which limit made it less than asked. Empty: nothing was clipped."""
    id: str | None = None
    """Of a container that was added."""


class Gap(_Answer, kw_only=True, frozen=True):
    """Time that nobody metered for the app."""

    start: str
    end: str


class Usage(_Answer, kw_only=True, frozen=True):
    """``GET /v1/usage``: energy and carbon over ``[start, end)``, bounds snapped outward to ticks."""

    app: str
    container: str | None
    """null: the whole app."""
    start: str
    end: str
    coverage_ratio: float
    """Part of the interval that was metered. [1]"""
    energies: Energies | None
    """null for a container, of which `load_wh` below is known."""
    load_wh: float
    """[Wh]"""
    carbon_g: float
    """On import, where the intensity was known. [g]"""
    carbon_on_use_g: float | None
    """null for a container. [g]"""
    unknown_carbon_wh: float
    """Imported on an unknown intensity. [Wh]"""
    cost: float | None
    """null: no price is known."""
    qualities: dict[str, float]
    """Part of the metered time by quality of the power. [1]"""
    gaps: list[Gap]


class History(_Answer, kw_only=True, frozen=True):
    """``GET /v1/history``: a column of the ledger on a regular grid."""

    app: str
    metric: str
    """A column of the `flows` table."""
    unit: str
    start: str
    start_s: float
    """[s since the epoch]"""
    end: str
    step_s: float
    """[s]"""
    values: list[float | None]
    """One a step: the mean of power, the last of levels, the sum of amounts; null in gaps."""
    quality: str
    """The worst in the interval."""
    coverage_ratio: float
    """[1]"""
    kept_start_s: float | None = None
    """The ledger knows the time from here; null: it knows nothing. [s since the epoch]"""
    kept_end_s: float | None = None
    """… to here. [s since the epoch]"""


class Forecast(_Answer, kw_only=True, frozen=True):
    """``GET /v1/forecast/{signal}``."""

    signal: str
    unit: str
    start: str
    start_s: float
    """[s since the epoch]"""
    step_s: float
    """[s]"""
    values: list[float | None]
    quality: str
    origin: str


class Notification(_Answer, kw_only=True, frozen=True):
    """An event, by SSE and webhook alike; ``id`` rises, so that a reader can go on where it stopped."""

    id: str
    """`TICK.NUMBER`; the tick event itself is number 0."""
    kind: str
    """`tick`, `solar_change`, `carbon_change`, `battery_full`, `battery_empty`, `budget_80`, `budget_100`, `container_exited`,
    `late`, `gap`, …"""
    app: str
    tick: int
    """The coming tick when it was told."""
    time: str
    """Site time."""
    wall_time: str
    value: float | None = None
    """New solar power, intensity or level. [W, g/kWh, Wh]"""
    detail: str = ""


class CallbackState(_Answer, kw_only=True, frozen=True):
    """A registered webhook."""

    id: str
    url: str
    events: list[str]
    threshold_ratio: float
    """[1]"""
    failures: int
    """Deliveries that failed in a row."""
    dead: bool
    """True once it failed too often; register it anew."""
    last_error: str
    acknowledged: str = ""
    """Id of the last event that its receiver acknowledged, or that it was not to be told."""
    secret: str | None = None
    """The key of the signatures; told once, when it is registered."""


class Credentials(_Answer, kw_only=True, frozen=True):
    """A new token; told once."""

    app: str
    """`_operator` for the operator's."""
    token: str
    """Send it as `Authorization: Bearer TOKEN`."""
    expires: str | None = None
    """Wall time; null: does not expire."""
    effective_tick: int | None = None
    """First tick of an app that was added with it."""


class RateState(_Answer, kw_only=True, frozen=True):
    """``GET /v1/carbon/rate``: the limit on a container's rate of emission."""

    container: str
    carbon_rate_g_per_h: float | None
    """null: none is set. [g/h]"""


class AppEntry(_Answer, kw_only=True, frozen=True):
    """An app, in ``GET /v1/admin/apps``."""

    name: str
    shares: Shares
    webhook_allow: list[str]
    """Targets that it may register for callbacks."""


class Health(_Answer, kw_only=True, frozen=True):
    """``GET /healthz`` and ``GET /readyz``."""

    ok: bool
    reasons: list[str]
    """Why not; empty when all is well."""


class Problem(_Answer, kw_only=True, frozen=True):
    """What went wrong (RFC 9457, ``application/problem+json``)."""

    type: str
    """A short name: `about:blank` or `tag:` followed by what a program can switch on."""
    title: str
    status: int
    detail: str
    field: str | None = None
    """The field or parameter at fault."""
    bound: float | None = None
    """The bound that was broken, where there is one."""
    remedy: str | None = None
    request_id: str | None = None
