"""The series that studies run on: the published data sets where the caller has them, modelled ones otherwise, each saying which.

Reading is done by `data_files` and `adapters.signals`, modelling by `modelled_traces` and `adapters.signals`; this module knows only
which file, column, zone and stretch a study asks for, and why that one. Every series says in its origin what was done to it.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ecovisor.model.errors import SeriesError
from ecovisor.model.nearest import did_you_mean
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import iso_utc
from ecovisor.studies import modelled_traces
from ecovisor.studies.data_files import DataFolder, as_series, closed

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0

_CAISO = "carbon/em_caiso_2020_2022_hourly_mix.csv.gz"
_ZONES = "carbon/em_hourly_2022_123zones.csv.gz"
_CARBONCAST = "carbon/carboncast_CISO_2019_2022_hourly.csv.gz"
_DAY_AHEAD = "carbon/carboncast_CISO_2019_2022_hourly_with_forecast.csv.gz"
_FIVE_MINUTES = "carbon/caiso_2021_5min_supply_co2.csv.gz"
_AUTHORS = "carbon/ecovisor_repo_carbon_trace_48h.csv"
_SRRL = "solar/nrel_srrl_2012-05-17_1min_tmy3.csv"
_LYNGBY = "solar/dtu_lyngby_irradiance_1min_2016.csv.gz"
_WIKIMEDIA = "requests/casper_wikimedia_6dc_hourly_2022-08-11_2022-09-30_utc.csv"
_TWITTER = "requests/twitter_2021-08_requests_per_second.tbz2"

#: All files that a study may read, by name in the data folder.
FILES = (_CAISO, _ZONES, _CARBONCAST, _DAY_AHEAD, _FIVE_MINUTES, _AUTHORS, _SRRL, _LYNGBY, _WIKIMEDIA, _TWITTER)

#: Series of some days, whose own dates do not matter to a study, begin here. [s since the epoch]
STUDY_START_S = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
_MOVED = f"moved to begin at {iso_utc(STUDY_START_S)}"

#: Longest stretch of changeable days in `_LYNGBY`, from 18 June 2016 on, and how many. Local time there is an hour ahead of UTC.
_LYNGBY_START_S = datetime(2016, 6, 17, 23, tzinfo=UTC).timestamp()
_LYNGBY_DAYS = 11
#: The first Tuesday of `_WIKIMEDIA`; no site was out of order in the four days after. Column `ap-southeast-2` is the site in Singapore.
_WIKIMEDIA_START_S = datetime(2022, 8, 16, tzinfo=UTC).timestamp()
_WIKIMEDIA_SITES = (("eu-central-1", "Amsterdam"), ("ap-southeast-2", "Singapore"))


class Traces:
    """Where a study's series come from.

    Args:
        folder: the data sets, as `docs/studies.md` lists them; None: everything is modelled.
        seed: of what is modelled.

    Every method raises `SeriesError` where a file is not there or does not hold what is asked for.
    """

    def __init__(self, folder: Path | None = None, *, seed: int = 0) -> None:
        self.folder = folder
        self.seed = seed
        self._data = None if folder is None else DataFolder(folder)

    @property
    def modelled(self) -> bool:
        """Whether the series are modelled, for want of data sets."""
        return self._data is None

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each file read so far, by name."""
        return {} if self._data is None else dict(self._data.digests)

    # -- carbon [g/kWh]

    def zones(self) -> list[str]:
        """Zones that `carbon_year` knows: in 2022, and California also in 2020 and 2021."""
        if self._data is None:
            return modelled_traces.zones()
        return sorted({*self._data.table(_ZONES).names[1:]})

    def carbon_year(self, zone: str = "US-CAL-CISO", year: int = 2020) -> Series:
        """Hourly carbon intensity over a year, life-cycle where the data are real. [g/kWh]"""
        bounds = _year(year)
        if self._data is None:
            return modelled_traces.carbon(zone, *bounds, _HOUR_S, self.seed)
        if zone == "US-CAL-CISO" and year in (2020, 2021):
            return self._hourly(_CAISO, "carbon_intensity_avg", bounds, "California, life-cycle average, Electricity Maps")
        if zone not in self.zones():
            raise SeriesError(f"{_ZONES}: column {zone!r}", "there is no such zone", did_you_mean(zone, self.zones()))
        return self._hourly(_ZONES, zone, bounds, f"{zone}, life-cycle average, Electricity Maps", zone_name=None)

    def carbon_year_direct(self, year: int = 2020) -> Series:
        """Hourly carbon intensity of California over a year, direct emissions alone. [g/kWh]"""
        if self._data is None:
            return modelled_traces.carbon("US-CAL-CISO", *_year(year), _HOUR_S, self.seed)
        return self._hourly(_CARBONCAST, "ci_direct_g_per_kwh", _year(year), "California, direct emissions, CarbonCast (EIA)")

    def carbon_with_day_ahead(self, year: int = 2020) -> tuple[Series, Series]:
        """Hourly carbon intensity of California and what was forecast for the same hours the day before, direct emissions. [g/kWh]

        They end before the first hour that one of them lacks (in 2020: the last day).
        """
        bounds = _year(year)
        if self._data is None:
            actual = modelled_traces.carbon("US-CAL-CISO", *bounds, _HOUR_S, self.seed)
            return actual, modelled_traces.day_ahead(actual, self.seed)
        read = partial(self._data.grid, _DAY_AHEAD, unit="g/kWh", zone="UTC")
        grids = [self._data.window(read(column), *bounds) for column in ("carbon_intensity", "avg_carbon_intensity_forecast")]
        hours = min(next((k for k, value in enumerate(grid.values) if math.isnan(value)), len(grid.values)) for grid in grids)
        actual_grid, forecast_grid = (replace(grid, values=grid.values[:hours]) for grid in grids)
        basis = f"{_DAY_AHEAD}: California, direct emissions, CarbonCast (EIA)"
        forecast = as_series("carbon", "g/kWh", forecast_grid, f"{basis}, forecast of the day before")
        return as_series("carbon", "g/kWh", actual_grid, basis), replace(forecast, quality=Quality.FORECAST)

    def carbon_5min_2021(self) -> Series:
        """Carbon intensity of California's supply in 2021, in steps of 5 minutes, direct emissions. [g/kWh]

        The file is in Pacific time with summer time: the hour that it lacks in autumn, and one sample with 50 GW of renewables, take
        the value before them.
        """
        start_s, end_s = datetime(2021, 1, 1, 8, tzinfo=UTC).timestamp(), datetime(2022, 1, 1, 8, tzinfo=UTC).timestamp()
        if self._data is None:
            return modelled_traces.carbon("US-CAL-CISO", start_s, end_s, 300.0, self.seed)
        read = partial(self._data.grid, _FIVE_MINUTES, zone="America/Los_Angeles")
        intensity, renewables = read("ci_kg_per_mwh", "g/kWh"), read("mw_renewables", "MW")
        values = array(
            "d", [math.nan if mw > 40_000.0 else value for value, mw in zip(intensity.values, renewables.values, strict=True)]
        )
        grid, estimated = closed(replace(intensity, values=values), _HOUR_S)
        origin = f"{_FIVE_MINUTES}: California, CO2 of the supply over its power, CAISO Today's Outlook"
        return as_series("carbon", "g/kWh", grid, origin, estimated=estimated)

    def carbon_48h(self) -> Series:
        """The carbon intensity of the Ecovisor authors' own 48 hours, in steps of 3 minutes, from `STUDY_START_S`. [g/kWh]"""
        if self._data is None:
            return modelled_traces.carbon("US-CAL-CISO", STUDY_START_S, STUDY_START_S + 2 * _DAY_S, 180.0, self.seed)
        grid = self._data.window(self._data.grid(_AUTHORS, "2", "g/kWh"), 0.0, 2 * _DAY_S)
        origin = f"{_AUTHORS}: the Ecovisor authors' trace, its own origin unknown; {_MOVED}"
        return as_series("carbon", "g/kWh", replace(grid, start_s=STUDY_START_S), origin)

    # -- solar [W]

    def solar_day(self, peak_w: float) -> Series:
        """One day of sun, by the minute from local midnight (`STUDY_START_S`), scaled to a peak. [W]"""
        if self._data is None:
            return modelled_traces.solar(1, peak_w, STUDY_START_S, self.seed)
        values, note = _scaled_to_peak(self._data.srrl_day(_SRRL), peak_w)
        origin = f"{_SRRL}: irradiance at Golden, Colorado, on 17 May 2012, changeable; {note}; {_MOVED}"
        return Series("solar", "W", STUDY_START_S, _MINUTE_S, values, Quality.MEASURED, origin)

    def solar_days(self, days: int, peak_w: float) -> Series:
        """Up to eleven changeable days on end, by the minute from local midnight (`STUDY_START_S`), scaled to a peak. [W]"""
        if self._data is None:
            return modelled_traces.solar(days, peak_w, STUDY_START_S, self.seed)
        if days > _LYNGBY_DAYS:
            raise SeriesError(_LYNGBY, f"{days} days are asked for, {_LYNGBY_DAYS} changeable ones stand on end", "ask for fewer")
        grid = self._data.window(self._data.grid(_LYNGBY, "GHI", "W/m2"), _LYNGBY_START_S, _LYNGBY_START_S + days * _DAY_S)
        grid, estimated = closed(grid, _HOUR_S)
        values, note = _scaled_to_peak(grid.values, peak_w)
        origin = f"{_LYNGBY}: irradiance at Lyngby, Denmark, {days} days from 18 June 2016, changeable; {note}; {_MOVED}"
        return as_series("solar", "W", replace(grid, start_s=STUDY_START_S, values=values), origin, estimated=estimated)

    # -- requests [1/s]

    def requests_48h(self, which: int, mean_per_s: float) -> Series:
        """Request rate of a web service over 48 hours by the minute from `STUDY_START_S`, scaled to a mean. [1/s]

        Args:
            which: 0 or 1, Wikimedia's sites in Amsterdam and Singapore on a Tuesday and Wednesday, hourly with lines between the
                hours: the paper's applications serve a copy of Wikipedia, and its two patterns are not published. 2: a Twitter stream
                counted by the second, with its bursts.
            mean_per_s: of the 48 hours.
        """
        if self._data is None:
            return modelled_traces.requests(f"requests/{which}", 2, mean_per_s, STUDY_START_S, self.seed, bursts=which == 2)
        if which == 2:
            return self._twitter_48h(mean_per_s)
        return self._wikimedia(which, 2, mean_per_s)

    def requests_daytime(self, mean_per_s: float, *, days: int = 1, from_h: float = 8.0, to_h: float = 18.0) -> Series:
        """Request rate of a service that sleeps at night, by the minute from `STUDY_START_S`; none outside ``[from_h, to_h)``. [1/s]

        Args:
            mean_per_s: over the hours in which it is awake.
            days: up to four.
            from_h, to_h: hours of the day.
        """
        if self._data is None:
            whole = modelled_traces.requests("requests/day", days, mean_per_s, STUDY_START_S, self.seed)
        else:
            whole = self._wikimedia(0, days, mean_per_s)
        awake = [from_h * 60.0 <= k % 1440 < to_h * 60.0 for k in range(len(whole.values))]
        mean = math.fsum(value for value, is_awake in zip(whole.values, awake, strict=True) if is_awake) / sum(awake)
        values = array(
            "d", [value * mean_per_s / mean if is_awake else 0.0 for value, is_awake in zip(whole.values, awake, strict=True)]
        )
        return replace(whole, values=values, origin=f"{whole.origin}; none outside {from_h:g} to {to_h:g} h")

    def _hourly(self, file: str, column: str, bounds: tuple[float, float], what: str, *, zone_name: str | None = "UTC") -> Series:
        data = self._folder()
        zone = None if "_utc" in data.table(file).names[0] else zone_name
        grid, estimated = closed(data.window(data.grid(file, column, "g/kWh", zone=zone), *bounds), 24 * _HOUR_S)
        return as_series("carbon", "g/kWh", grid, f"{file}: {what}", estimated=estimated)

    def _wikimedia(self, which: int, days: int, mean_per_s: float) -> Series:
        column, place = _WIKIMEDIA_SITES[which]
        data = self._folder()
        until_s = _WIKIMEDIA_START_S + (days * 24 + 1) * _HOUR_S
        hourly = data.window(data.grid(_WIKIMEDIA, column, "1/s"), _WIKIMEDIA_START_S, until_s).values
        lines = [hourly[k] + (hourly[k + 1] - hourly[k]) * minute / 60.0 for k in range(days * 24) for minute in range(60)]
        factor = mean_per_s * len(lines) / math.fsum(lines)
        origin = (
            f"{_WIKIMEDIA}: requests to Wikimedia's site in {place}, {days} days from Tuesday, 16 August 2022, UTC, hourly, "
            f"on lines between the hours; scaled to a mean of {mean_per_s:g}/s; {_MOVED}"
        )
        values = array("d", [value * factor for value in lines])
        return Series("requests", "1/s", STUDY_START_S, _MINUTE_S, values, Quality.ESTIMATED, origin)

    def _twitter_48h(self, mean_per_s: float) -> Series:
        """Minutes of the first 48 hours; those without any count are gaps in the collection (half an hour at each day's end)."""
        counts = self._folder().counts_per_second(_TWITTER, 2 * 86400)
        minutes = [math.fsum(counts[k : k + 60]) / 60.0 for k in range(0, len(counts), 60)]
        missing = 0
        for k, rate in enumerate(minutes):
            if rate == 0.0:
                minutes[k], missing = minutes[k - 1], missing + 1
        factor = mean_per_s * len(minutes) / math.fsum(minutes)
        origin = (
            f"{_TWITTER}: a Twitter stream, its first 48 hours; {missing} minutes without any count took the one before; "
            f"scaled to a mean of {mean_per_s:g}/s; {_MOVED}"
        )
        values = array("d", [rate * factor for rate in minutes])
        return Series("requests", "1/s", STUDY_START_S, _MINUTE_S, values, Quality.ESTIMATED, origin)

    def _folder(self) -> DataFolder:
        assert self._data is not None, "asked only where there are data sets"
        return self._data


def _year(year: int) -> tuple[float, float]:
    return datetime(year, 1, 1, tzinfo=UTC).timestamp(), datetime(year + 1, 1, 1, tzinfo=UTC).timestamp()


def _scaled_to_peak(irradiance: array[float], peak_w: float) -> tuple[array[float], str]:
    """Irradiance as the power of an array whose output is in proportion to it, and what was done, for people."""
    largest = max(irradiance)
    negative = sum(value < 0.0 for value in irradiance)
    note = f"scaled from {largest:g} W/m2 to a peak of {peak_w:g} W"
    if negative:
        note += f", {negative} negative values at night (the sensor's offset) are 0"
    return array("d", [max(value, 0.0) * peak_w / largest for value in irradiance]), note
