"""Carbon budgets as they stand, and who is told when four fifths of one, or all of it, are spent."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ecovisor import wire
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem

#: Parts at which the app is told. [%]
TOLD_PERCENT = (80, 100)


def budget_state(energy: VirtualEnergySystem, *, enforced: bool) -> wire.BudgetState | None:
    """An app's budget; None: it has none."""
    budget = energy.budget
    if budget is None:
        return None
    carbon_g = energy.get_app_carbon()
    return wire.BudgetState(
        budget_g=budget.budget_g,
        spent_g=carbon_g - budget.spent_before_g,
        remaining_g=budget.remaining_g(carbon_g),
        exhausted_s=budget.exhausted_s(carbon_g, energy.now_s),
        enforced=enforced,
    )


class BudgetWatch:
    """Remembers what was spent of each budget.

    Args:
        tell: app, kind and detail of an event.
    """

    def __init__(self, tell: Callable[[str, str, str], None]) -> None:
        self._tell = tell
        self._spent: dict[str, float] = {}

    def resume(self, energies: Iterable[VirtualEnergySystem]) -> None:
        """What is spent already was told by another process."""
        for energy in energies:
            budget = energy.budget
            if budget is not None and budget.budget_g > 0.0:
                self._spent[energy.name] = 1.0 - budget.remaining_g(energy.get_app_carbon()) / budget.budget_g

    def observe(self, energies: Iterable[VirtualEnergySystem]) -> None:
        """Look at all apps' budgets after a tick."""
        for energy in energies:
            budget = energy.budget
            if budget is None or budget.budget_g <= 0.0:
                self._spent.pop(energy.name, None)
                continue
            spent = 1.0 - budget.remaining_g(energy.get_app_carbon()) / budget.budget_g
            before = self._spent.get(energy.name, 0.0)
            for percent in TOLD_PERCENT:
                if before < percent / 100.0 <= spent:
                    self._tell(energy.name, f"budget_{percent}", f"{spent * budget.budget_g:g} of {budget.budget_g:g} g are spent")
            self._spent[energy.name] = spent
