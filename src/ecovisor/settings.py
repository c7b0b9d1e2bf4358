"""The one schema of scenario and site files (``schema = 1``), as types: what each field means, its unit, its default and why.

Reading a file into these types, with errors that name file and field, is the business of ``adapters.scenario_files``;
turning them into a running system that of ``assembly``. The scenario reference in the docs is generated from this module.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Ratio = Annotated[float, Meta(ge=0.0, le=1.0)]
Watts = Annotated[float, Meta(ge=0.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class _Group(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, frozen=True):
    """Base of all tables of the schema: unknown keys are errors, values cannot change."""


class Server(_Group, kw_only=True, frozen=True):
    """[site.server] One server of the cluster: how much power it draws at which load."""

    cores: Positive = 4.0
    """Cores of one server. 4 as the microserver of the Ecovisor paper, section 4."""
    power_curve_w: list[Watts] | None = None
    """Power at evenly spaced loads from idle to full, 2 to 21 points [W]; SPECpower publishes 11 (0, 10, …, 100 %)."""
    preset: str | None = None
    """`microserver`, `microserver-gpu` (Ecovisor paper: 1.35 W idle, 5 W CPU, 10 W CPU and GPU), or another known one."""


class Battery(_Group, kw_only=True, frozen=True):
    """[site.battery] The physical battery. Powers are at its terminals."""

    preset: str | None = None
    """`ecovisor-paper`: 1440 Wh, empty at 30 %, 0.25 C charge, 1 C discharge (section 4). Other fields override it."""
    capacity_wh: Positive | None = None
    """Nominal capacity [Wh]."""
    empty_ratio: Ratio | None = None
    """State of charge that counts as empty; the energy below it is never used. Default 0.3, as in the paper."""
    charge_c_rate: Watts | None = None
    """Largest charge power over nominal capacity [1/h]. Default 0.25, as in the paper."""
    discharge_c_rate: Watts | None = None
    """Largest discharge power over nominal capacity [1/h]. Default 1, as in the paper."""
    charge_efficiency: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Energy stored over energy taken at the terminals. Default 0.95: about 0.9 for a round trip, usual for lithium-ion."""
    discharge_efficiency: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Energy given at the terminals over energy drawn from the store. Default 0.95."""
    self_discharge_per_hour: Annotated[float, Meta(ge=0.0, lt=1.0)] | None = None
    """Part of the stored energy lost in an hour. Default 0."""
    initial_ratio: Ratio | None = None
    """Usable level at the start, over usable capacity, the same for every app. Default 0: a run starts with an empty battery, so that
    no energy of unknown carbon is in it."""


class Site(_Group, kw_only=True, frozen=True):
    """[site] The physical energy system and the cluster that share it."""

    name: Name = "site"
    """For titles and run folders."""
    timezone: str = "UTC"
    """Zone of reports and plots (IANA name). Data are always in UTC."""
    grid_limit_w: Watts | None = None
    """Largest import [W]. Default: unlimited; then shares of the grid are not multiplied."""
    export_limit_w: Watts | None = None
    """Largest export [W] where `excess` has `export`. Default: unlimited."""
    excess: list[Literal["share", "export", "curtail"]] = msgspec.field(default_factory=lambda: ["share", "curtail"])
    """What happens to solar power that an app can neither use nor store, in this order. `curtail` always comes last."""
    overhead_w: Watts = 0.0
    """Constant power of what serves everybody (switches, the ecovisor itself) [W]; drawn and paid by `_site`."""
    servers: Annotated[int, Meta(ge=0)] = 0
    """Servers kept powered. The idle power of their unallocated cores is `_site`'s. Default 0: only what apps run draws power."""
    server: Server = msgspec.field(default_factory=Server)
    """What a server is."""
    battery: Battery | None = None
    """Default: no battery."""


class Signal(_Group, kw_only=True, frozen=True):
    """[signals.NAME] Where a time series comes from. `carbon` and `solar` are used by the site, `price` by the report."""

    kind: str
    """`constant`, `file`, `modelled-carbon`, `modelled-solar`, `pvlib`, or a plug-in: an entry point's name or `file.py:Name`."""
    value: float | None = None
    """constant: the value, in the signal's unit (carbon g/kWh, solar W, price per kWh, others W unless `unit` says otherwise)."""
    file: str | None = None
    """file: CSV or Parquet (also .gz), relative to the scenario file; Electricity Maps exports are recognised by header."""
    column: str | None = None
    """file: the value column. Default: the only one whose name carries a fitting unit."""
    time_column: str | None = None
    """file: the time column. Default: recognised by name (`time`, `datetime`, `timestamp`, …)."""
    unit: str | None = None
    """file: unit of the column where its name does not say it (`W`, `kW`, `MW`, `g/kWh`, `kg/MWh`, `lbs/MWh`, `1`, `1/s`). constant: unit
    of the value."""
    timezone: str | None = None
    """file: zone of naive times (IANA name or `UTC`). Without it naive times are an error."""
    scale_to_peak_w: Positive | None = None
    """file, solar: rescale so that the largest value is this power [W], for irradiance, ratios or a bigger plant's output."""
    fill: Literal["error", "previous"] = "error"
    """A missing value is an error, or takes the value before it (marked estimated, up to `max_gap`)."""
    max_gap: str = "1h"
    """Longest gap that `fill = "previous"` may close."""
    resample: Literal["hold", "mean"] = "hold"
    """`mean` lets a trace finer than the tick be averaged; power keeps its energy either way."""
    repeat: bool = False
    """file: repeat the trace from its start when it is shorter than the run."""
    align: Literal["exact", "year"] = "exact"
    """`year` moves the trace by whole years onto the run's year (a 2016 solar year for a run in 2020)."""
    zone: str | None = None
    """modelled-carbon: the grid (`US-CAL-CISO`, `DE`, `FR`, `PL`, …); `ecovisor data --zones` lists them."""
    seed: int | None = None
    """modelled-carbon, modelled-solar: seed of the generator. Default: `run.seed`."""
    step: str | None = None
    """modelled-carbon, modelled-solar, pvlib: step of the series. Default: `1h` for carbon; for the sun the tick, about 5 min to 1 h."""
    peak_w: Positive | None = None
    """modelled-solar, pvlib: rated power of the array [W]."""
    latitude: Annotated[float, Meta(ge=-90.0, le=90.0)] | None = None
    """modelled-solar: where the array stands. pvlib: default that of the TMY3 station that pvlib ships (Greensboro, North Carolina)."""
    longitude: Annotated[float, Meta(ge=-180.0, le=180.0)] | None = None
    """modelled-solar, pvlib."""
    tilt_deg: float | None = None
    """modelled-solar, pvlib: tilt from horizontal. Default: the latitude."""
    azimuth_deg: float | None = None
    """modelled-solar, pvlib: 180 is south; the default faces the equator."""
    weather: str | None = None
    """pvlib: a TMY3 file; default `tmy3`, the typical year that pvlib ships; `clear-sky` needs no weather. modelled-solar: `changeable`,
    the default, has seeded clouds over half the sky on average; or `clear-sky`."""
    forecast: str = "perfect"
    """What `forecast()` answers: `perfect`, `persistence`, `day-before`, or `column:NAME` of the same file."""
    options: dict[str, object] = msgspec.field(default_factory=dict)
    """file: `negative = "zero"` takes negative power (a sensor's offset at night) as 0 instead of an error. Plug-in: its options,
    given to it by keyword."""


class Workload(_Group, kw_only=True, frozen=True):
    """[apps.workload] What the app's containers do."""

    kind: str = "batch"
    """`batch`, `constant`, `trace`; `training`, `task-queue`: batch jobs whose scaling follows from what they do; `stages`, `synchronous`,
    `replicas`: parallel jobs whose containers differ; `web-service`; or a plug-in: an entry point's name or `file.py:Name`. Under `serve`
    also `containers`: real ones, which run the app's `commands`."""
    work_core_hours: Positive | None = None
    """batch, training, task-queue: work, in hours of one core at full speed."""
    start: str | None = None
    """Start: an instant (ISO 8601 with zone) or a duration after the run's start (`6h`). Default: the run's start."""
    deadline: str | None = None
    """batch, training, task-queue: instant or duration after the start; the report says whether it was met."""
    usl_contention: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """batch: serial part of the universal scalability law (0: none)."""
    usl_coherency: Annotated[float, Meta(ge=0.0)] = 0.0
    """batch: cross-talk of the universal scalability law (0: none)."""
    scaling_table: list[list[float]] | None = None
    """batch: speed-up measured at numbers of cores, [[cores, speed-up], …] up to 16 points; instead of the law."""
    checkpoint_interval: str | None = None
    """batch, training, task-queue: progress since the last checkpoint is lost when power falls below idle. Default: every tick's progress
    is kept."""
    checkpoint_duration: str = "0s"
    """batch, training, task-queue: time that writing one takes, at full power and without progress."""
    restart_duration: str = "0s"
    """batch, training, task-queue: time at full power without progress when it resumes after being suspended."""
    idle_when_starved: bool = False
    """batch: cores that wait, because more of them make it no faster, idle: at full speed they are utilised for speed-up over cores.
    Default: they wait at full load."""
    demand_w: Watts | None = None
    """constant: power that the containers ask for [W]."""
    trace: str | None = None
    """trace: name of a signal with power [W] or, in unit 1, the utilisation of the containers. web-service: of one with the request rate
    [1/s]."""
    options: dict[str, object] = msgspec.field(default_factory=dict)
    """training, task-queue, stages, synchronous, replicas, web-service, plug-ins: keywords of the class. A built-in one is given the
    site's server, `run.seed`, the workload's start and its trace where it has a keyword for them (`server`, `seed`, `start_s`, `rate`)."""


class Policy(_Group, kw_only=True, frozen=True):
    """[apps.policy] How the app drives its virtual energy system."""

    kind: str = "carbon-agnostic"
    """`carbon-agnostic`, `suspend-resume`, `wait-and-scale`, `battery-arbitrage`, `static-carbon-rate`; with `options`,
    `dynamic-carbon-budget`, `carbon-rate-workers`, `latency-workers`, `battery-smoothing`, `opportunistic-workers`, `equal-caps`,
    `balanced-caps`, `straggler-replicas`; or a plug-in: an entry point's name or `file.py:Name`. Under `serve` also `remote`: the app
    drives itself, over REST or with the SDK."""
    threshold_g_per_kwh: Watts | None = None
    """suspend-resume, wait-and-scale: suspend above this carbon intensity [g/kWh]."""
    percentile: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    """Instead of a fixed threshold: this percentile of the forecast over `window`. Default 30, as in the paper, section 5.1."""
    window: str | None = None
    """Window of the percentile from the app's start. Default `48h`, as in the paper."""
    refresh: str | None = None
    """Take the percentile anew this often. Default: once, at the start, as in the paper."""
    scale: Positive | None = None
    """wait-and-scale: factor on the app's cores below the threshold. Default 2, the paper's 2×."""
    charge_below_g_per_kwh: Watts | None = None
    """battery-arbitrage: charge from the grid at or below it [g/kWh]. Default: percentile 25 of the window."""
    discharge_above_g_per_kwh: Watts | None = None
    """battery-arbitrage: discharge only at or above it [g/kWh]. Default: percentile 75 of the window."""
    charge_rate_w: Watts | None = None
    """battery-arbitrage: how fast to charge [W]. Default: the app's limit."""
    carbon_rate_g_per_h: Watts | None = None
    """static-carbon-rate: the cap is set so that emissions never exceed it [g/h] (the paper's 20 mg/s are 72 g/h)."""
    options: dict[str, object] = msgspec.field(default_factory=dict)
    """Of the policies that take options, and of plug-ins: keywords of the class."""


class App(_Group, kw_only=True, frozen=True):
    """[[apps]] One tenant application and its shares. What no app holds is the site's own, `_site`."""

    name: Name
    """Unique; `_site` is reserved."""
    share: Ratio | None = None
    """Share of grid, solar, battery energy and battery power at once; the four below override it."""
    grid_share: Ratio | None = None
    """Share of `grid_limit_w`; without a limit it is not used."""
    solar_share: Ratio | None = None
    """Share of the solar array's output."""
    battery_energy_share: Ratio | None = None
    """Share of the usable capacity."""
    battery_power_share: Ratio | None = None
    """Share of the charge and discharge limits. Default: the energy share."""
    containers: Annotated[int, Meta(ge=1)] = 1
    """Containers at the start."""
    cores: Positive = 1.0
    """Cores of each container."""
    count: Annotated[int, Meta(ge=1)] = 1
    """Make this many copies, named `NAME-1`, `NAME-2`, …; each has the shares divided by the count."""
    commands: list[Name] = msgspec.field(default_factory=list)
    """serve: which commands of `[server.commands]` its containers may run; the first is started."""
    webhook_allow: list[str] = msgspec.field(default_factory=list)
    """serve: where its callbacks may be sent, `https://host` or `https://host:port` each. Default: nowhere."""
    workload: Workload = msgspec.field(default_factory=Workload)
    """What its containers do."""
    policy: Policy = msgspec.field(default_factory=Policy)
    """How it drives its energy system. Default: carbon-agnostic."""


class Run(_Group, kw_only=True, frozen=True):
    """[run] What to simulate and what to keep."""

    start: str | None = None
    """First instant (ISO 8601 with zone). Under `serve` the site's time begins here when it is first started; left out, it is
    the time of day."""
    duration: str | None = None
    """Length (`7d`); or give `end`. `serve` runs until it is stopped."""
    end: str | None = None
    """First instant no longer simulated."""
    tick: str = "1min"
    """Length of a tick; the paper's prototype discretises to minutes (section 3.1). It must divide the steps of the traces."""
    seed: int = 0
    """Seed of everything random."""
    record: Literal["all", "totals"] = "all"
    """`all` keeps every tick of every app and container; `totals` only sums, for large runs."""
    baseline: bool = True
    """Also run every app carbon-agnostic, to report carbon relative to it."""
    carbon_attribution: Literal["import", "use"] = "import"
    """Charge carbon when energy is imported (the paper's way) or when it is used; the tables hold both."""
    format: Literal["auto", "parquet", "csv"] = "auto"
    """Format of the tables. Default: Parquet where pyarrow is installed."""


class Command(_Group, kw_only=True, frozen=True):
    """[server.commands.NAME] Something that containers may run."""

    argv: Annotated[list[str], Meta(min_length=1)]
    """Program and arguments; no shell is involved. `{python}` stands for the Python that runs the ecovisor."""
    directory: str | None = None
    """Working directory, relative to this file. Default: one of the container's own."""
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    """Environment variables. Besides these a container has `PATH`, `HOME`, and where to reach the ecovisor."""


class Plant(_Group, kw_only=True, frozen=True):
    """[server.plant] The physical energy system: battery, solar array, grid meter."""

    kind: Literal["emulated", "in-process"] = "emulated"
    """`emulated`: a process of its own that goes on when the server stops, with the battery of `[site.battery]` and the sun of
    `[signals.solar]`; `in-process`: the same within the server, for tests and lockstep."""


class Serving(_Group, kw_only=True, frozen=True):
    """[server] How `serve` runs the site live; `simulate` ignores it."""

    listen: str = "127.0.0.1:7780"
    """Address of the REST interface and the dashboard; port 0 takes a free one."""
    metrics_listen: str | None = None
    """Address of `/metrics` without a token. Default: only for the operator's token, on the main address."""
    tls_certificate: str | None = None
    """File with the certificate chain (PEM); needed beyond loopback."""
    tls_key: str | None = None
    """File with its key (PEM)."""
    allow_insecure: bool = False
    """Listen beyond loopback without TLS: everybody on the way can read the tokens."""
    state_dir: str = "state"
    """Folder of the ledger, tokens, sockets and containers' files, relative to this file."""
    platform: Literal["process", "simulated"] = "process"
    """What runs containers: `process` (process groups, capped), or `simulated` (none are started; their load is made up)."""
    cap_mechanism: Literal["auto", "cgroup-v2", "cgroup-v1", "duty-cycle"] = "auto"
    """How containers' CPU time is capped. Default: cgroups where they can be written, else by stopping and continuing them."""
    separate_users: bool = True
    """Run each app's containers under an unprivileged user of its own, where the server is root; false: as the server's user, so that
    containers can read and stop each other's."""
    meters: list[str] = msgspec.field(default_factory=lambda: ["powercap"])
    """Meters of the node's power, the first that works: `powercap`, or a plug-in (an entry point's name or `file.py:Name`). Without
    any it is modelled from CPU time and `[site.server]`."""
    compression: Annotated[float, Meta(gt=0.0, le=100_000.0)] = 1.0
    """Seconds of site time in a second of wall time, for demonstrations. It scales durations, never power."""
    lockstep: bool = False
    """A tick ends as soon as all `remote` apps have answered it, whatever the clock says; for comparisons with `simulate`."""
    gap_after: str | None = None
    """A tick that would take longer than this is a gap instead. Default: 10 ticks."""
    max_age: str = "15min"
    """Wall time for which the last good value of a source that fails is used, marked stale; after that it is missing."""
    enforce_budgets: bool = True
    """Carbon budgets and rates limit the apps; false: they are only accounted and told."""
    keep_ticks: str = "90d"
    """How long every tick is kept; after that its hours."""
    webhook_failures: Annotated[int, Meta(ge=1)] = 20
    """Failed deliveries in a row after which a callback is dead."""
    commands: dict[Name, Command] = msgspec.field(default_factory=dict)
    """What containers may run, by name."""
    plant: Plant = msgspec.field(default_factory=Plant)
    """The physical energy system."""


class Scenario(_Group, kw_only=True, frozen=True):
    """A whole file."""

    schema: Literal[1]
    """Version of this schema."""
    title: str = ""
    """One line for lists."""
    description: str = ""
    """What the scenario shows."""
    site: Site = msgspec.field(default_factory=Site)
    """The physical energy system and the cluster. Default: a grid connection without limit, nothing else."""
    signals: dict[str, Signal] = msgspec.field(default_factory=dict)
    """By name: `carbon`, `solar`, `price`, and the traces of workloads. Without `carbon` all emissions are unknown, never zero."""
    apps: list[App] = msgspec.field(default_factory=list)
    """The tenants."""
    run: Run
    """What to simulate, and what to keep of it."""
    server: Serving | None = None
    """For `serve`: how the site runs live."""
