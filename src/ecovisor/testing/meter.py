"""What every meter of a machine's energy must do: see `NodeMeterContract`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from ecovisor.model.errors import Unavailable
from ecovisor.model.series import Quality
from ecovisor.ports.live import EnergyCounter, NodeMeter
from ecovisor.testing.expectations import close

_QUALITIES = (Quality.MEASURED, Quality.ESTIMATED, Quality.MODELLED)


class NodeMeterContract:
    """Inherit, and give `make()`, `use(energy_j)`, `hide()` and `show()`.

    Counters only grow within their epoch and count what is used, however many ask; what cannot be read is `Unavailable` or None,
    never a number; afterwards the counter goes on, or says by a new epoch that it does not.

    Attributes:
        tolerance: of an energy, relative.
    """

    tolerance: float = 1e-9

    def make(self) -> NodeMeter:
        """A meter that can be read."""
        raise NotImplementedError("give make()")

    def use(self, energy_j: float) -> None:
        """The machine uses energy, within as much time as that takes it. [J]"""
        raise NotImplementedError("give use()")

    def hide(self) -> None:
        """From now on what is measured cannot be read."""
        raise NotImplementedError("give hide()")

    def show(self) -> None:
        """It can be read again."""
        raise NotImplementedError("give show()")

    def _run(self, body: Callable[[NodeMeter], Awaitable[None]]) -> None:
        async def main() -> None:
            await body(self.make())

        asyncio.run(main())

    def test_describes_itself_in_one_line(self) -> None:
        async def body(meter: NodeMeter) -> None:
            for _ in range(2):
                line = meter.describe()
                assert line.strip(), "say what is measured"
                assert "\n" not in line, "describe() is one line"
                await meter.read()

        self._run(body)

    def test_a_reading_is_an_amount_of_energy_with_its_quality(self) -> None:
        async def body(meter: NodeMeter) -> None:
            counter = await _reading(meter)
            assert math.isfinite(counter.energy_j), f"read {counter.energy_j!r}"
            assert counter.energy_j >= 0.0, f"read {counter.energy_j!r}"
            assert counter.quality in _QUALITIES, f"quality {counter.quality!r} is none of a meter's"

        self._run(body)

    def test_counts_what_is_used(self) -> None:
        async def body(meter: NodeMeter) -> None:
            first = last = await _reading(meter)
            total_j = 0.0
            for energy_j in (1.0, 250.0, 0.5, 1800.0):
                self.use(energy_j)
                total_j += energy_j
                now = await _reading(meter)
                assert now.epoch == first.epoch, "a new epoch without need"
                assert now.energy_j >= last.energy_j, "the counter fell"
                last = now
            assert close(last.energy_j - first.energy_j, total_j, self.tolerance), (
                f"counted {last.energy_j - first.energy_j} J of {total_j} J"
            )

        self._run(body)

    def test_whoever_asks_gets_the_same_counter(self) -> None:
        async def body(meter: NodeMeter) -> None:
            first = await _reading(meter)
            self.use(100.0)
            answers = await asyncio.gather(*(_reading(meter) for _ in range(8)))
            for answer in answers:
                assert close(answer.energy_j - first.energy_j, 100.0, self.tolerance), f"counted {answer} after {first}"

        self._run(body)

    def test_what_cannot_be_read_is_never_a_number(self) -> None:
        async def body(meter: NodeMeter) -> None:
            await _reading(meter)
            self.hide()
            try:
                for _ in range(2):
                    answer = await _answer(meter)
                    assert answer is None or isinstance(answer, Unavailable), f"read {answer} from what cannot be read"
                    assert answer is None or str(answer).strip(), "say what cannot be read"
                    assert "\n" not in meter.describe()
            finally:
                self.show()

        self._run(body)

    def test_afterwards_it_goes_on_or_starts_a_new_epoch(self) -> None:
        async def body(meter: NodeMeter) -> None:
            first = await _reading(meter)
            self.hide()
            try:
                self.use(300.0)
                await _answer(meter)
            finally:
                self.show()
            again = await _reading(meter)
            if again.epoch == first.epoch:
                assert close(again.energy_j - first.energy_j, 300.0, self.tolerance), "lost what was used meanwhile"
            self.use(20.0)
            last = await _reading(meter)
            assert last.epoch == again.epoch, "a new epoch without need"
            assert close(last.energy_j - again.energy_j, 20.0, self.tolerance), f"counted {last} after {again}"

        self._run(body)


async def _answer(meter: NodeMeter) -> EnergyCounter | Unavailable | None:
    try:
        return await meter.read()
    except Unavailable as error:
        return error


async def _reading(meter: NodeMeter) -> EnergyCounter:
    counter = await meter.read()
    assert counter is not None, f"there is nothing to read: {meter.describe()}"
    return counter
