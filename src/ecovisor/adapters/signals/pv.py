"""The output of a solar array by pvlib, from the typical year that pvlib's wheel ships, a TMY3 file, or a clear sky.

The chain, as in NREL's PVWatts (Dobos, "PVWatts Version 5 Manual", NREL/TP-6A20-62641, 2014, doi:10.2172/1158421): sun's
position → irradiance on the tilted array (isotropic sky) → cell temperature (Faiman 2008, doi:10.1002/pip.813) → DC power
with -0.4 %/K → 14.08 % losses → inverter of 96 %. ``peak_w`` is the array's rated DC power at 1000 W/m² and 25 °C. It lies on steps
no longer than an hour; a step's value is its mean power. The result is always `modelled`. pvlib (and with it pandas and
NumPy) is imported when a series is made.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from ecovisor.model.errors import SeriesError, SettingsError
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import duration_s
from ecovisor.settings import Signal

_HOUR_S = 3600.0
_YEAR_HOURS = 8760
#: The sun is looked at at least this often. [s]
_SUN_STEP_S = 300.0
_SHORTEST_STEP_S = 60.0
_GAMMA_PER_K = -0.004


@dataclass(frozen=True, slots=True)
class _Weather:
    """A typical year of a station, one value per hour of local standard time from 1 January 00:00; irradiance in W/m², °C, m/s."""

    label: str
    latitude: float
    longitude: float
    utc_offset_h: float
    ghi: Any
    dni: Any
    dhi: Any
    air_c: Any
    wind: Any


@dataclass(frozen=True, slots=True)
class _Array:
    """A fixed array: where it stands, how it is tilted and turned (180: south), and its rated DC power."""

    latitude: float
    longitude: float
    tilt_deg: float
    azimuth_deg: float
    peak_w: float


def load_pv(
    name: str, signal: Signal, *, folder: Path, start_s: float, end_s: float, tick_s: float
) -> tuple[Series, list[tuple[str, str]], list[str]]:
    """The array's output over ``[start_s, end_s)`` and a day around it [W], the files read, and notes.

    Raises:
        SettingsError: the signal is no power, a field is missing or out of bounds, or pvlib is not installed.
        SeriesError: the weather file is no typical year.
    """
    where = f"signals.{name}"
    if name in ("carbon", "price"):
        raise SettingsError(f"{where}.kind", "'pvlib' gives W", "use it for solar")
    if signal.peak_w is None:
        raise SettingsError(f"{where}.peak_w", "is missing", "give the array's rated power, for example peak_w = 400.0")
    step_s = _step_s(signal, tick_s, where)
    try:
        pvlib: Any = import_module("pvlib")  # it ships no types
    except ImportError:
        raise SettingsError(f"{where}.kind", "'pvlib' is not installed", "pip install 'ecovisor[solar]'") from None
    files: list[tuple[str, str]] = []
    notes: list[str] = []
    weather = None
    if signal.weather == "clear-sky":
        if signal.latitude is None or signal.longitude is None:
            raise SettingsError(f"{where}.weather", "'clear-sky' needs latitude and longitude", "give both")
        latitude, longitude = signal.latitude, signal.longitude
    else:
        shipped = signal.weather in (None, "tmy3")
        path = Path(pvlib.__file__).parent / "data" / "723170TYA.CSV" if shipped else folder / str(signal.weather)
        weather = _read_tmy3(path, "tmy3" if shipped else str(signal.weather))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append((f"pvlib/data/{path.name}" if shipped else str(signal.weather), digest))
        latitude = weather.latitude if signal.latitude is None else signal.latitude
        longitude = weather.longitude if signal.longitude is None else signal.longitude
        if abs(latitude - weather.latitude) > 1.0 or abs(longitude - weather.longitude) > 1.0:
            notes.append(f"weather of {weather.label} under the sun of {latitude:g}, {longitude:g}")
    tilt = abs(latitude) if signal.tilt_deg is None else signal.tilt_deg
    azimuth = (180.0 if latitude >= 0.0 else 0.0) if signal.azimuth_deg is None else signal.azimuth_deg
    first_s, last_s = _window(start_s, end_s, step_s)
    panel = _Array(latitude, longitude, tilt, azimuth, signal.peak_w)
    values = _power(weather, panel, first_s=first_s, last_s=last_s, step_s=step_s)
    sky = "clear sky" if weather is None else f"typical year of {weather.label}"
    origin = f"modelled by pvlib {pvlib.__version__}: {signal.peak_w:g} W at {latitude:g}, {longitude:g}, {sky}"
    return Series(name, "W", first_s, step_s, values, Quality.MODELLED, ", ".join([origin, *notes])), files, notes


def _step_s(signal: Signal, tick_s: float, where: str) -> float:
    """The asked step; by default the tick, at most 1 h, and where that is short a few ticks: 5 min, or about a minute."""
    if signal.step is None:
        if tick_s >= _SHORTEST_STEP_S:
            return tick_s / math.ceil(tick_s / _HOUR_S) if tick_s >= _SUN_STEP_S or _SUN_STEP_S % tick_s else _SUN_STEP_S
        return _SUN_STEP_S if _SUN_STEP_S % tick_s == 0.0 else tick_s * math.ceil(_SHORTEST_STEP_S / tick_s)
    try:
        step_s = duration_s(signal.step)
    except ValueError as error:
        raise SettingsError(f"{where}.step", str(error), "write for example '5min'") from None
    if not _SHORTEST_STEP_S <= step_s <= _HOUR_S:
        raise SettingsError(f"{where}.step", f"{signal.step} is out of bounds, 1min to 1h", "the weather itself is hourly")
    return step_s


def _window(start_s: float, end_s: float, step_s: float) -> tuple[float, float]:
    """A day more than the run on either side: from midnight where that lies on the run's steps, else in steps from its start."""
    if 86400.0 % step_s == 0.0 and start_s % step_s == 0.0:
        return (start_s // 86400.0 - 1) * 86400.0, (math.ceil(end_s / 86400.0) + 1) * 86400.0
    around = math.ceil(86400.0 / step_s) * step_s
    return start_s - around, start_s + math.ceil((end_s - start_s) / step_s) * step_s + around


def _read_tmy3(path: Path, label: str) -> _Weather:
    """A TMY3 file as hours of a year.

    TMY3 labels the *end* of each hour, in local standard time, and takes its months from different years: row k is the hour
    from k:00 on, whatever year it was.
    """
    pvlib: Any = import_module("pvlib")
    try:
        frame, station = pvlib.iotools.read_tmy3(str(path), coerce_year=2001, map_variables=True)
    except OSError as error:
        raise SeriesError(label, f"cannot be read ({error.strerror} {path})", "give a TMY3 file, tmy3 or clear-sky") from None
    except (ValueError, KeyError, IndexError) as error:
        told = " ".join(str(error).split())[:120]
        raise SeriesError(label, f"is no TMY3 file ({told})", "give a TMY3 file, tmy3 or clear-sky") from None
    if len(frame) != _YEAR_HOURS:
        raise SeriesError(
            label, f"has {len(frame)} rows, a typical year has {_YEAR_HOURS} hours", 'use kind = "file" for a measured series'
        )
    columns = {name: frame[name].to_numpy(float) for name in ("ghi", "dni", "dhi", "temp_air", "wind_speed")}
    for name in ("ghi", "dni", "dhi", "wind_speed"):
        lowest = columns[name].min()
        if not lowest >= 0.0:
            row = int(columns[name].argmin()) + 3
            raise SeriesError(f"{label}: row {row}, column {name!r}", f"{lowest:g} is negative or missing", "repair the row")
    return _Weather(
        f"{str(station['Name']).strip(chr(34)).title()} ({label})" if label == "tmy3" else label,
        float(station["latitude"]),
        float(station["longitude"]),
        float(station["TZ"]),
        columns["ghi"],
        columns["dni"],
        columns["dhi"],
        columns["temp_air"],
        columns["wind_speed"],
    )


def _power(weather: _Weather | None, panel: _Array, *, first_s: float, last_s: float, step_s: float) -> array[float]:
    """Mean power of each step over ``[first_s, last_s)``. [W]"""
    import numpy as np
    import pandas as pd

    pvlib: Any = import_module("pvlib")
    parts = math.ceil(step_s / _SUN_STEP_S)
    sun_step_s = step_s / parts
    middles = first_s + (np.arange(round((last_s - first_s) / sun_step_s)) + 0.5) * sun_step_s
    times = pd.to_datetime((middles * 1e6).astype("int64"), unit="us", utc=True)
    sun = pvlib.solarposition.get_solarposition(times, panel.latitude, panel.longitude)
    zenith, bearing = sun["apparent_zenith"].to_numpy(), sun["azimuth"].to_numpy()
    if weather is None:
        sky = pvlib.clearsky.simplified_solis(90.0 - zenith)
        ghi, dni, dhi, air_c, wind = sky["ghi"], sky["dni"], sky["dhi"], 20.0, 1.0
    else:
        ghi, dni, dhi, air_c, wind = _hourly_weather(weather, panel.longitude, middles, zenith)
    on_array = pvlib.irradiance.get_total_irradiance(panel.tilt_deg, panel.azimuth_deg, zenith, bearing, dni, ghi, dhi)[
        "poa_global"
    ]
    irradiance = np.nan_to_num(np.asarray(on_array), nan=0.0).clip(min=0.0)
    cell_c = pvlib.temperature.faiman(irradiance, air_c, wind)
    dc_w = pvlib.pvsystem.pvwatts_dc(irradiance, cell_c, panel.peak_w, _GAMMA_PER_K)
    dc_w = dc_w * (1.0 - pvlib.pvsystem.pvwatts_losses() / 100.0)
    ac_w = np.nan_to_num(pvlib.inverter.pvwatts(dc_w, panel.peak_w), nan=0.0).clip(min=0.0)
    means = ac_w.reshape(-1, parts).mean(axis=1)
    return array("d", means.astype("float64").tobytes())


def _hourly_weather(weather: _Weather, longitude: float, middles: Any, zenith: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The typical year's hours at the instants ``middles``, irradiance spread within each hour as the sun's height is.

    So the irradiance of each hour is that of the file, whatever the step. Elsewhere than at the station, the weather keeps its
    hours of local standard time. 29 February takes the day before.
    """
    import numpy as np

    offset_h = weather.utc_offset_h + round((longitude - weather.longitude) / 15.0)
    local_hours = np.floor((middles + offset_h * _HOUR_S) / _HOUR_S).astype("int64")
    distinct, group = np.unique(local_hours, return_inverse=True)
    rows = np.array([_hour_of_year(hour) for hour in distinct.tolist()])
    height = np.cos(np.radians(zenith)).clip(min=0.0)
    counts = np.bincount(group)
    mean_height = np.bincount(group, weights=height) / counts
    shape = np.where(mean_height[group] > 0.0, height / np.where(mean_height > 0.0, mean_height, 1.0)[group], 0.0)
    hour = rows[group]
    dni = np.where(height > 0.0, weather.dni[hour], 0.0)
    return weather.ghi[hour] * shape, dni, weather.dhi[hour] * shape, weather.air_c[hour], weather.wind[hour]


def _hour_of_year(local_hour: int) -> int:
    """Row of a typical year of 365 days for an hour counted from 1970-01-01 local standard time."""
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=local_hour)
    day = when.replace(day=28) if (when.month, when.day) == (2, 29) else when
    return ((day.replace(year=2001) - datetime(2001, 1, 1, tzinfo=UTC)).days) * 24 + when.hour
