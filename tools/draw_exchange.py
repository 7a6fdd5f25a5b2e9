"""Draws the machines of `protocol/` into docs/reference/exchange.md, from their tables; with `--check`, only compares.

A drawing has the moves of what goes as it should; the tables have all. What states, events and commands mean
is what their definitions say.
"""

import ast
import inspect
import sys
from enum import Enum
from pathlib import Path
from typing import Any, Final

from isthmus.protocol import asking, exchange, handshake

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "exchange.md"
MACHINES: Final[tuple[Any, ...]] = (exchange, asking, handshake)
BEGIN, END = "<!-- {} is drawn by tools/draw_exchange.py. -->\n", "<!-- End of the drawing. -->\n"
NO_MOVES = ("LATE", "WRONG", "BUG")


def main() -> int:
    """Write the page; or say whether it is as it should be: 1 if not."""
    text = PAGE.read_text(encoding="utf-8")
    drawn = text
    for machine in MACHINES:
        head, begin, rest = drawn.partition(BEGIN.format(machine.__name__.rpartition(".")[2]))
        drawn = head + begin + drawing(machine) + "".join(rest.partition(END)[1:])
    if "--check" in sys.argv[1:]:
        if drawn != text:
            print(f"{PAGE.name} is not what the tables say. Run tools/draw_exchange.py.")
        return int(drawn != text)
    PAGE.write_text(drawn, encoding="utf-8")
    return 0


def drawing(machine: Any) -> str:
    """What belongs between the two lines of a machine."""
    kinds = (machine.State, machine.Event, machine.Do)
    return "\n".join([_diagram(machine), _table(machine), *(_meanings(machine, each) for each in kinds)])


def _diagram(machine: Any) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(machine.State)).name}"]
    for state, row in machine.MOVES.items():
        arrows: dict[Enum, list[str]] = {}
        for event, (do, after) in row.items():
            if do.name not in NO_MOVES:
                arrows.setdefault(after, []).append(f"{event.name} / {do.name}")
        lines += [f"    {state.name} --> {after.name}: {'<br>'.join(labels)}" for after, labels in arrows.items()]
    return "\n".join([*lines, "    OVER --> [*]", "```", ""])


def _table(machine: Any) -> str:
    states = list(machine.State)
    lines = ["| | " + " | ".join(state.name for state in states) + " |", "|---" * (len(states) + 1) + "|"]
    for event in machine.Event:
        moves = [(machine.MOVES[state][event], state) for state in states]
        cells = [do.name if after is state else f"{do.name} → {after.name}" for (do, after), state in moves]
        lines.append(f"| **{event.name}** | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _meanings(machine: Any, kind: type[Enum]) -> str:
    """The names of an enumeration with the sentence that stands below each in its definition."""
    body = ast.parse(inspect.getsource(machine)).body
    (definition,) = [node for node in body if isinstance(node, ast.ClassDef) and node.name == kind.__name__]
    lines, name = [f"| {kind.__name__} | |", "|---|---|"], ""
    for node in definition.body[1:]:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.Expr):
            lines.append(f"| {name} | {ast.literal_eval(node.value)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
