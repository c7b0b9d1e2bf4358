"""Stands for your own script: counts primes, and says how far it is. Any program will do; it need not know of ecovisor."""

from __future__ import annotations

import os
import time

from ecovisor import connect
from ecovisor.model.errors import EcovisorError


def is_prime(number: int) -> bool:
    """By trial division, which keeps a processor busy."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def main() -> None:
    """Count until somebody ends it; tell once a second."""
    app = connect() if "ECOVISOR_SOCKET" in os.environ else None  # an ecovisor tells its containers where it is
    number, primes, told_primes, told_s = 1, 0, 0, time.monotonic()
    while True:
        number += 1
        primes += is_prime(number)
        passed_s = time.monotonic() - told_s
        if passed_s < 1.0:
            continue
        per_s = (primes - told_primes) / passed_s
        print(f"{primes} primes up to {number}, {per_s:.0f} a second", flush=True)
        told_primes, told_s = primes, time.monotonic()
        if app is not None:
            try:
                app.report({"primes_per_s": per_s}, work_done=primes)
            except EcovisorError as error:  # it is away; the work goes on
                print(f"not reported: {error}", flush=True)


if __name__ == "__main__":
    main()
