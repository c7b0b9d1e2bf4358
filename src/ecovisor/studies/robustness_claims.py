"""What the robustness study claims, with its verdicts, and the parameters that it rests on. The claims are ours."""

from __future__ import annotations

import numpy as np

from ecovisor.studies.findings import Claim, Parameter
from ecovisor.studies.robustness_forecasts import DAY_AHEAD, DAY_BEFORE, PERFECT, PERSISTENCE, ErrorModel
from ecovisor.studies.robustness_results import Results, break_even_cv, rank_correlation, titles
from ecovisor.studies.robustness_runs import (
    ARBITRAGE,
    BATTERY_H,
    FULL_W,
    JOB_H,
    PERCENT,
    POLICIES,
    SUSPEND_RESUME,
    TAIL_H,
    THRICE,
    TWICE,
    WAITING,
    WINDOW_H,
)

_SOURCE = "ours"
_KEPT_RATIO, _CORRELATED = 0.9, 0.8


def claims_of(results: Results) -> list[Claim]:
    """All of them, in the order of reading."""
    return [
        _waiting_always_saves(results),
        _scaling_costs_where_nothing_varies(results),
        _arbitrage_costs_where_nothing_varies(results),
        _saving_follows_variation(results),
        _day_ahead_is_nearly_as_good(results),
        _persistence_is_worst(results),
        _worse_forecasts_take_longer(results),
        _scaling_is_sooner(results),
    ]


def _waiting_always_saves(results: Results) -> Claim:
    saved = results.saved_by_month(SUSPEND_RESUME, PERFECT)
    worst = np.unravel_index(np.nanargmin(saved), saved.shape)
    return Claim(
        text="With a perfect forecast, suspend-resume emits less than carbon-agnostic in every zone and month",
        held=bool(np.nanmin(saved) > 0.0),
        evidence=f"{int((saved > 0.0).sum())} of {saved.size} zone-months; least {_percent(saved[worst])} ({results.zones[worst[0]]}, "
        f"month {worst[1] + 1}), most {_percent(np.nanmax(saved))}",
        source=_SOURCE,
    )


def _scaling_costs_where_nothing_varies(results: Results) -> Claim:
    flattest = _flattest(results)
    twice, thrice = (results.saved_by_zone(policy, PERFECT)[flattest] for policy in (TWICE, THRICE))
    return Claim(
        text="Where intensity hardly varies, scaling up training costs carbon, even with a perfect forecast, and more at 3× than at 2×",
        held=bool(thrice < twice < 0.0),
        evidence=f"{results.zones[flattest]}: {_percent(twice)} at 2×, {_percent(thrice)} at 3×",
        source=_SOURCE,
    )


def _arbitrage_costs_where_nothing_varies(results: Results) -> Claim:
    flattest = _flattest(results)
    saved = results.saved_by_zone(ARBITRAGE, PERFECT)
    losing = [zone for zone, value in zip(results.zones, saved, strict=True) if value < 0.0]
    return Claim(
        text="Where intensity hardly varies, a battery that does arbitrage costs carbon: its losses are more than the difference",
        held=bool(saved[flattest] < 0.0),
        evidence=f"{results.zones[flattest]}: {_percent(saved[flattest])}; below zero in {', '.join(losing) or 'no zone'}; "
        f"break-even at a variation of {100 * break_even_cv(results, ARBITRAGE, PERFECT):.1f} % within {WINDOW_H} h",
        source=_SOURCE,
    )


def _saving_follows_variation(results: Results) -> Claim:
    cv = np.concatenate([results.cv[zone] for zone in results.zones])
    found = {policy: rank_correlation(cv, results.saved_by_month(policy, DAY_AHEAD).ravel()) for policy in POLICIES}
    return Claim(
        text=f"Variation within {WINDOW_H} h decides what a policy saves: rank correlation over {_CORRELATED} for every policy",
        held=min(found.values()) > _CORRELATED,
        evidence="; ".join(f"{titles(policy)} {value:.2f}" for policy, value in found.items()) + f", over {len(cv)} zone-months",
        source=_SOURCE,
    )


def _day_ahead_is_nearly_as_good(results: Results) -> Claim:
    """A job that was not done has saved nothing here."""
    kept = {
        policy: float(np.nan_to_num(results.saved[policy, DAY_AHEAD]).mean() / np.nan_to_num(results.saved[policy, PERFECT]).mean())
        for policy in (SUSPEND_RESUME, TWICE)
    }
    return Claim(
        text=f"A day-ahead forecast keeps {100 * _KEPT_RATIO:.0f} % and more of what a perfect one saves (suspend-resume, Wait&Scale 2×)",
        held=min(kept.values()) >= _KEPT_RATIO,
        evidence="; ".join(f"{titles(policy)} {100 * value:.0f} %" for policy, value in kept.items())
        + ", jobs that were not done counted as saving nothing",
        source=_SOURCE,
    )


def _persistence_is_worst(results: Results) -> Claim:
    worse = {
        policy: results.saved_by_zone(policy, PERSISTENCE)
        < np.min([results.saved_by_zone(policy, forecast) for forecast in (PERFECT, DAY_AHEAD, DAY_BEFORE)], axis=0)
        for policy in WAITING
    }
    return Claim(
        text="The last value alone is the worst forecast for every waiting policy in every zone",
        held=all(bool(values.all()) for values in worse.values()),
        evidence="; ".join(f"{titles(policy)} in {int(values.sum())} of {len(values)} zones" for policy, values in worse.items()),
        source=_SOURCE,
    )


def _worse_forecasts_take_longer(results: Results) -> Claim:
    means_h = {forecast: _mean_delay_h(results, forecast) for forecast in (PERFECT, DAY_AHEAD, DAY_BEFORE, PERSISTENCE)}
    return Claim(
        text="What a worse forecast costs is time: jobs are delayed longer with any of them than with a perfect one",
        held=all(value > means_h[PERFECT] for forecast, value in means_h.items() if forecast != PERFECT),
        evidence="mean delay of the waiting policies: "
        + ", ".join(f"{forecast} {value:.0f} h" for forecast, value in means_h.items()),
        source=_SOURCE,
    )


def _scaling_is_sooner(results: Results) -> Claim:
    waits_h, scales_h = (results.delay_by_zone_h(policy, DAY_AHEAD) for policy in (SUSPEND_RESUME, TWICE))
    return Claim(
        text="With a day-ahead forecast, Wait&Scale 2× is sooner done than suspend-resume in every zone",
        held=bool((scales_h < waits_h).all()),
        evidence=f"in {int((scales_h < waits_h).sum())} of {len(waits_h)} zones; mean delay {scales_h.mean():.0f} h "
        f"against {waits_h.mean():.0f} h",
        source=_SOURCE,
    )


def parameters_of(model: ErrorModel, arrivals: int, *, modelled: bool) -> list[Parameter]:
    """What the study had to assume."""
    fit = "its modelled constants" if modelled else "carboncast_CISO_2019_2022_hourly_with_forecast, 2022, by least squares"
    rows = [
        (
            "job",
            f"{JOB_H:g} h of training on one microserver of four cores",
            "assumed",
            "between an hour and the days of a large one",
        ),
        ("scaling of training", "1.61× on 2 servers, 2.02× on 3", "assumed", "ResNet-34 over gigabit Ethernet, workloads.training"),
        ("threshold", f"percentile {PERCENT:g} of the forecast over {WINDOW_H} h, once, at arrival", "paper", "section 5.1.1"),
        (
            "arrivals",
            f"{arrivals} in each month, one in each equal part of it, at random hours",
            "assumed",
            "all seasons and hours alike",
        ),
        ("longest job", f"{TAIL_H / 24:.0f} d after the month's last arrival", "assumed", "later ones count as not done"),
        (
            "battery",
            f"{BATTERY_H:g} h of a constant {FULL_W:g} W above its empty line; 0.25 C, 95 % each way",
            "assumed",
            "the rates are the paper's (section 4), the size is usual for storage of a site",
        ),
        ("battery thresholds", "percentiles 25 and 75 of the coming 24 h, anew each day", "assumed", "the default of the policy"),
        ("day-ahead error", str(model), "fitted", fit),
    ]
    return [Parameter(name=name, value=value, kind=kind, source=source) for name, value, kind, source in rows]  # type: ignore[arg-type]  # the literals above


def _mean_delay_h(results: Results, forecast: str) -> float:
    return float(np.mean([np.nanmean(results.delay_h[policy, forecast]) for policy in WAITING]))


def _flattest(results: Results) -> int:
    """The zone that varies least."""
    return int(np.argmin([results.cv[zone].mean() for zone in results.zones]))


def _percent(ratio: float) -> str:
    return f"{100 * float(ratio):.1f} %".replace("-", "−")
