"""A process to be killed: it writes ticks into a ledger and says so. `python -m tests.adapters.ledger.child DIR`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.adapters.ledger import made

from ecovisor.adapters.stores.ledger import Ledger

APPS = ("a", "b", "c", "d", "_site")


def tick(number: int, start_s: float) -> made.Made:
    """The tick of this number; the same whoever asks."""
    return made.ticks(1, apps=APPS, dt_s=120.0, start_s=start_s, seed=number, first=number)[0]


def main() -> None:
    """Write until killed: a tick and a fact in turn, each told when it has been committed."""
    with Ledger.open(Path(sys.argv[1])) as ledger:
        last = ledger.last()
        number, start_s = (last.tick + 1, last.end_s) if last and last.tick is not None else (0, made.START_S)
        print("ready", flush=True)
        while True:
            batch = tick(number, start_s).batch(ledger, checkpoint=b"%d" % number * 1000)
            ledger.commit(batch)
            print("tick", number, flush=True)
            ledger.registry.put("seen", "tick", b"%d" % number)
            print("fact", number, flush=True)
            number, start_s = number + 1, batch.end_s


if __name__ == "__main__":
    main()
