"""The page on writing a transport: its code runs, and its table is the list of rules."""

import re
from typing import Any

from isthmus.testing import RULES
from tests.conformance.processes import ROOT

PAGE = (ROOT / "docs" / "howto" / "write-a-transport.md").read_text(encoding="utf-8")


def test_the_example() -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    names: dict[str, Any] = {}
    exec(compile(code, "write-a-transport.md", "exec"), names)
    assert names["proxy"].name == "isthmus"
    names["test_tcp"]()


def test_the_table() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows == {name: rule.says for name, rule in RULES.items()}
