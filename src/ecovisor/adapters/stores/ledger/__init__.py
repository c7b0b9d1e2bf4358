"""The durable ledger of a live site, in SQLite: ticks, events, checkpoint, facts, roll-ups.

`Ledger` is what the server opens; ``copies`` has backup and restore. The page about the ledger in the docs says what is promised.
"""

from ecovisor.adapters.stores.ledger.batch import GAP, Batch, TickTables
from ecovisor.adapters.stores.ledger.ledger import Ledger
from ecovisor.adapters.stores.ledger.questions import AppSums, Last, Questions, Tick
from ecovisor.adapters.stores.ledger.retention import Pruned
from ecovisor.adapters.stores.ledger.usage import Gap
from ecovisor.adapters.stores.ledger.writing import Committed

__all__ = ["GAP", "AppSums", "Batch", "Committed", "Gap", "Last", "Ledger", "Pruned", "Questions", "Tick", "TickTables"]
