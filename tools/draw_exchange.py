"""Draws the machine of a parked call into docs/reference/exchange.md, from its table; with `--check`, only compares.

The drawing has the moves of a call that goes as it should; the tables have all. What states, events and commands mean
is what their definitions say.
"""

import ast
import inspect
import sys
from enum import Enum
from pathlib import Path

from isthmus.protocol import exchange
from isthmus.protocol.exchange import MOVES, Do, Event, State

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "exchange.md"
BEGIN, END = "<!-- Drawn by tools/draw_exchange.py. -->\n", "<!-- End of the drawing. -->\n"
NO_MOVES = (Do.LATE, Do.WRONG, Do.BUG)


def main() -> int:
    """Write the page; or say whether it is as it should be: 1 if not."""
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    drawn = head + BEGIN + drawing() + END + rest.split(END)[1]
    if "--check" in sys.argv[1:]:
        if drawn != text:
            print(f"{PAGE.name} is not what the table says. Run tools/draw_exchange.py.")
        return int(drawn != text)
    PAGE.write_text(drawn, encoding="utf-8")
    return 0


def drawing() -> str:
    """What belongs between the two lines."""
    return "\n".join([_diagram(), _table(), *(_meanings(each) for each in (State, Event, Do))])


def _diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> OPEN"]
    for state, row in MOVES.items():
        arrows: dict[State, list[str]] = {}
        for event, (do, after) in row.items():
            if do not in NO_MOVES:
                arrows.setdefault(after, []).append(f"{event.name} / {do.name}")
        lines += [f"    {state.name} --> {after.name}: {'<br>'.join(labels)}" for after, labels in arrows.items()]
    return "\n".join([*lines, "    OVER --> [*]", "```", ""])


def _table() -> str:
    lines = ["| | " + " | ".join(state.name for state in State) + " |", "|---" * (len(State) + 1) + "|"]
    for event in Event:
        moves = [(MOVES[state][event], state) for state in State]
        cells = [do.name if after is state else f"{do.name} → {after.name}" for (do, after), state in moves]
        lines.append(f"| **{event.name}** | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _meanings(kind: type[Enum]) -> str:
    """The names of an enumeration with the sentence that stands below each in its definition."""
    body = ast.parse(inspect.getsource(exchange)).body
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
