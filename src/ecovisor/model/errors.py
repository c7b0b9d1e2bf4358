"""Every exception that ecovisor raises on purpose.

    EcovisorError
    ├── InputError            a file, field, row or argument a person gave us cannot be used
    │   ├── SettingsError     a scenario, site file, `--set` or command-line value
    │   └── SeriesError       a time series: missing, unsorted, with gaps, too short, in the wrong unit
    ├── SettingRefused        a value given to a setter is no power (NaN, infinite, negative) or names nothing
    ├── Infeasible            a valid request that the virtual or physical system cannot meet, with the bound
    ├── UnknownApp            no app of this name
    ├── AuthenticationError   a server does not know who asks, or does not let them
    ├── Unavailable           a device, platform, store or service did not answer, or not usefully; it may later
    ├── Refused               a device, platform or service will not do what it was asked, with its reason
    ├── StoreError            a state directory or ledger cannot be used: locked, full, read-only, damaged, from a newer version
    └── PolicyError           a policy (or a plug-in workload) raised; names the app and the tick

The command line prints the message of any of them as one line and exits with status 2.
"""

from __future__ import annotations


class EcovisorError(Exception):
    """Base of all errors raised on purpose."""


class InputError(EcovisorError):
    """Input that cannot be used, told as one line: where, what, and what to do about it.

    Args:
        where: file, and field or row in it (``site.toml: apps[0].solar_share``, ``ci.csv: row 17``).
        problem: the value and the bound that it breaks.
        remedy: what the reader can do.
    """

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        self.where = where
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{where}: {problem}" + (f"; {remedy}" if remedy else ""))


class SettingsError(InputError):
    """A scenario, site file or command-line value is wrong."""


class SeriesError(InputError):
    """A time series is missing, malformed, in the wrong unit or too short."""


class SettingRefused(EcovisorError, ValueError):
    """A setter was given something that is no power or names nothing; nothing changed."""


class Infeasible(EcovisorError, ValueError):
    """A valid request that the system cannot meet; the message states the bound.

    Args:
        message: one line, with the value, the bound and what to do about it.
        bound: the bound as a number, where it is one.
    """

    def __init__(self, message: str, bound: float | None = None) -> None:
        self.bound = bound
        super().__init__(message)


class UnknownApp(EcovisorError, LookupError):
    """There is no app of this name."""


class AuthenticationError(EcovisorError):
    """A server does not accept the token, or none was given, or the token is not enough for what was asked."""


class Unavailable(EcovisorError):
    """A device, platform, store or service did not answer, or not usefully. Trying again later may help."""


class Refused(EcovisorError):
    """A device, platform or service will not do what it was asked; the message has its reason. Trying again will not help."""


class StoreError(EcovisorError):
    """A state directory or ledger cannot be used; the message names the file, what is wrong, and the remedy."""


class PolicyError(EcovisorError):
    """A policy or a plug-in workload raised, or asked for the impossible.

    Args:
        app: the application whose it is.
        tick: number of the tick, from 0.
        time: start of that tick, ISO 8601.
        cause: what was raised.
        part: `policy` or `workload`.
    """

    def __init__(self, app: str, tick: int, time: str, cause: BaseException, part: str = "policy") -> None:
        self.app = app
        self.tick = tick
        self.time = time
        self.cause = cause
        super().__init__(f"apps.{app}.{part}: tick {tick} ({time}): {type(cause).__name__}: {cause}; the run was stopped")
