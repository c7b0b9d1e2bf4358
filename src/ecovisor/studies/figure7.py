"""Figure 7 of the Ecovisor paper, section 5.2.3: carbon rate and containers of two web applications that share a site, over time.

The runs are those of `figure6` at the authors' 48 hours; `figure7_plot` draws them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecovisor.studies.carbon_budgets import APPLICATIONS, RATE_MG_PER_S, Outcome, Setting
from ecovisor.studies.carbon_budgets_inputs import parameters, published
from ecovisor.studies.carbon_budgets_numbers import Pairs, compare
from ecovisor.studies.figure6 import ticks_table
from ecovisor.studies.findings import Claim, Findings, Number
from ecovisor.studies.study import Context

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SECTION = "section 5.2.3"
#: At its limit: within this part of the rate, less than a container's power.
_AT_LIMIT_RATIO = 0.9


class Figure7:
    """Carbon rate and containers of both applications under both policies."""

    name = "fig7"
    title = "Multi-tenancy of carbon budgets: each application spends its own as it needs to"
    source = "Ecovisor (ASPLOS 2023), Figure 7, section 5.2.3"

    def run(self, context: Context) -> Findings:
        """See `Study`."""
        setting = Setting()
        context.progress("the authors' 48 hours", 0.0)
        inputs = published(context.traces, setting)
        base = compare(inputs, setting)
        origins = {"carbon": inputs.carbon.origin}
        origins |= {f"requests of {app.title}": inputs.requests[app.name].origin for app in APPLICATIONS}
        return Findings(
            numbers=_numbers(base),
            claims=_claims(base, setting),
            parameters=parameters(setting, inputs),
            tables={"ticks": ticks_table(base)},
            origins=origins,
            notes=["Both applications run at the same time on one site, as in the paper; figure 6 has the same runs' latency."],
        )

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """See `Study`."""
        from ecovisor.studies.figure7_plot import draw

        return draw(findings)


def _numbers(base: Pairs) -> list[Number]:
    found = []
    for app in APPLICATIONS:
        for policy in ("static", "dynamic"):
            one = getattr(base[app.name], policy)
            found += [
                Number(
                    name=f"{app.title}: mean carbon rate under the {policy} policy",
                    unit="mg/s",
                    paper=None,
                    ours=float(one.carbon_mg_per_s.mean()),
                ),
                Number(
                    name=f"{app.title}: mean containers under the {policy} policy",
                    unit="containers",
                    paper=None,
                    ours=float(one.workers.mean()),
                ),
            ]
    return found


def _claims(base: Pairs, setting: Setting) -> list[Claim]:
    pairs = [base[app.name] for app in APPLICATIONS]
    first, second = (pair.dynamic for pair in pairs)
    low = first.intensity_g_per_kwh < first.intensity_g_per_kwh.mean()
    return [
        Claim(
            text="while carbon is low, both applications run fewer containers under the dynamic policy, and emit less",
            held=all(_fewer(pair.dynamic, pair.static, low) for pair in pairs),
            evidence="; ".join(
                f"{app.title}: on average {base[app.name].dynamic.workers[low].mean():.1f} against "
                f"{base[app.name].static.workers[low].mean():.1f} containers, {base[app.name].dynamic.carbon_mg_per_s[low].mean():.1f} "
                f"against {base[app.name].static.carbon_mg_per_s[low].mean():.1f} mg/s"
                for app in APPLICATIONS
            ),
            source=f"{_SECTION}; low is taken for below the mean",
        ),
        Claim(
            text="under the dynamic policy containers are only those that the objective needs: their number follows the requests",
            held=all(_follows(pair.dynamic) > 0.95 for pair in pairs),
            evidence="; ".join(
                f"{app.title}: correlation {_follows(base[app.name].dynamic):.2f} with requests" for app in APPLICATIONS
            ),
            source=f"{_SECTION}; follows is taken for a correlation above 0.95",
        ),
        Claim(
            text="the static policy uses as many resources as its carbon rate allows, as far as there are containers",
            held=all(_at_limit(pair.static, setting) > 0.95 for pair in pairs),
            evidence="; ".join(
                f"{app.title}: at {_AT_LIMIT_RATIO:.0%} of the rate or above, or with all {setting.most_workers} containers, in "
                f"{_at_limit(base[app.name].static, setting):.0%} of the time"
                for app in APPLICATIONS
            ),
            source=_SECTION,
        ),
        Claim(
            text="carbon emissions and container capacity of the two applications differ, though they share the cluster and the time",
            held=_differ(first, second) > 0.5,
            evidence=f"their containers differ by a quarter or more in {_differ(first, second):.0%} of the time under the dynamic policy",
            source=f"{_SECTION}; differ is taken for a quarter of the larger, in most of the time",
        ),
    ]


def _fewer(one: Outcome, other: Outcome, where: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bool:
    return bool(
        one.workers[where].mean() < other.workers[where].mean()
        and one.carbon_mg_per_s[where].mean() < other.carbon_mg_per_s[where].mean()
    )


def _follows(one: Outcome) -> float:
    return float(np.corrcoef(one.workers, one.requests_per_s)[0, 1])


def _at_limit(one: Outcome, setting: Setting) -> float:
    at_limit = (one.carbon_mg_per_s >= _AT_LIMIT_RATIO * RATE_MG_PER_S) | (one.workers >= setting.most_workers)
    return float(at_limit.mean())


def _differ(first: Outcome, second: Outcome) -> float:
    larger = np.maximum(first.workers, second.workers)
    return float((np.abs(first.workers - second.workers) >= 0.25 * larger).mean())
