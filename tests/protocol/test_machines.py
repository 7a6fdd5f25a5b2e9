"""What holds for every machine of `protocol/`: its table is total, and all that it names is in use."""

from types import ModuleType
from typing import Any, Final

import pytest

from isthmus.protocol import asking, exchange, handshake

ENDINGS: Final[dict[ModuleType, set[str]]] = {
    exchange: {"LEFT", "EXPIRED"},
    asking: {"LEFT", "FAILED"},
    handshake: {"ENDED"},
}
"""The events of each machine that need no peer's good will: at least one of them leads out of every state."""
MACHINES = pytest.mark.parametrize("machine", ENDINGS, ids=lambda each: each.__name__.rpartition(".")[2])


@MACHINES
def test_no_cell_is_empty(machine: Any) -> None:
    assert set(machine.MOVES) == set(machine.State)
    for state, row in machine.MOVES.items():
        assert set(row) == set(machine.Event), state
        assert all(isinstance(do, machine.Do) and isinstance(after, machine.State) for do, after in row.values())


@MACHINES
def test_everything_to_do_is_done_somewhere(machine: Any) -> None:
    assert {do for row in machine.MOVES.values() for do, _ in row.values()} == set(machine.Do)


@MACHINES
def test_what_is_not_done_moves_nothing(machine: Any) -> None:
    for state, row in machine.MOVES.items():
        for event, (do, after) in row.items():
            if do.name in ("LATE", "WRONG", "BUG"):
                assert after is state, (state, event)


@MACHINES
def test_the_end_is_the_end(machine: Any) -> None:
    assert {after for _, after in machine.MOVES[machine.State.OVER].values()} == {machine.State.OVER}
    assert {do.name for do, _ in machine.MOVES[machine.State.OVER].values()} <= {"LATE", "WRONG", "BUG"}


@MACHINES
def test_every_state_is_reached_and_can_be_left_for_good(machine: Any) -> None:
    reached = [next(iter(machine.State))]
    for state in reached:
        reached += {after for _, after in machine.MOVES[state].values()} - set(reached)
        ends = {after for event, (_, after) in machine.MOVES[state].items() if event.name in ENDINGS[machine]}
        assert machine.State.OVER in ends, state
    assert set(reached) == set(machine.State)
