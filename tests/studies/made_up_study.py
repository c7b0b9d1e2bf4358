"""Studies for tests of what runs, writes and reports them; small enough to know every number of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ecovisor.studies.findings import Claim, Findings, Number, Parameter, Rerun, Table
from ecovisor.studies.study import Context

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAILED_CLAIM = "Waiting is <quicker> than not waiting"


class Waiting:
    """All parts of findings once, one claim that holds and one that does not."""

    name = "fig4"
    title = "Waiting against not waiting"
    source = "Made up, Figure 4"

    def run(self, context: Context) -> Findings:
        """Numbers that are known beforehand."""
        context.progress("waiting", 0.5)
        carbon = context.traces.carbon_year()
        return Findings(
            numbers=[
                Number(name="Carbon", unit="%", paper=-25.01, ours=-22.25, spread=4.0, year=-21.0, year_spread=6.0, optimum=-31.0),
                Number(name="Run time", unit="×", paper=7.4, ours=6.1, explanation="Shorter jobs."),
                Number(name="Not had", unit="ms", paper=60.0, ours=math.nan),
                Number(name="Of ours alone", unit="g", paper=None, ours=1234.5),
            ],
            claims=[
                Claim(text="Waiting emits less", held=True, evidence="14.2 g against 25.1 g", source="section 1"),
                Claim(text=FAILED_CLAIM, held=False, evidence="2 h against 1 h", source="section 2"),
            ],
            parameters=[Parameter(name="job", value="4 h", kind="assumed", source="not stated")],
            tables={
                "hours": Table(columns={"hour_h": [0.0, 1.0, 2.0], "carbon_g_per_kwh": [0.1, math.nan, 1e-17]}),
                "policies": Table(columns={"policy": ["1", "a, b"], "carbon_g": [1.0, 2.0]}),
            },
            reruns=[
                Rerun(name=FAILED_CLAIM, changed="job of 8 h", before=2.0, after=math.nan, unit="h", conclusion="It never ends."),
                Rerun(name="Run time", changed="direct emissions", before=6.1, after=7.0, unit="×", conclusion="Half of it."),
                Rerun(name="Something else", changed="nothing", before=1.0, after=1.0, unit="", conclusion="Nothing."),
            ],
            origins={"carbon": carbon.origin},
            notes=["Power is modelled."],
        )

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """One line."""
        from matplotlib import pyplot

        columns = findings.tables["hours"].columns
        figure, axes = pyplot.subplots(figsize=(4, 2), layout="constrained")
        axes.plot(columns["hour_h"], columns["carbon_g_per_kwh"])
        return {"hours": (figure, "Carbon by the hour.")}


class Calm(Waiting):
    """Nothing but a claim that holds."""

    name = "fig5"
    title = "Calm"

    def run(self, context: Context) -> Findings:
        """One claim."""
        claims = [Claim(text="It is calm", held=True, evidence="no wind", source="section 3")]
        return Findings(numbers=[], claims=claims, parameters=[], tables={})

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """Nothing."""
        return {}


class Broken(Calm):
    """It raises what nobody raises on purpose."""

    name = "broken"

    def run(self, context: Context) -> Findings:
        """A mistake."""
        raise ValueError("one two\nthree")


class BadlyDrawn(Calm):
    """It can be run, not drawn."""

    name = "badly"

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """A mistake."""
        raise KeyError("hours")


class Dying(Calm):
    """Its process ends under it."""

    name = "dying"

    def run(self, context: Context) -> Findings:
        """The end."""
        import os

        os._exit(7)


class Endless(Calm):
    """It says that it has begun, and does not end."""

    name = "endless"

    def run(self, context: Context) -> Findings:
        """For a minute."""
        import time

        context.progress("sleeping", 0.5)
        time.sleep(60.0)
        raise AssertionError("nobody ended it")
