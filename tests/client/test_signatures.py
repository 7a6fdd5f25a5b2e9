"""The names of FastMCP 2.11.3's client are here, with its parameters in its order; what differs has its reason."""

import importlib.util
import json
import subprocess
import warnings
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conformance.processes import ROOT
from tests.interop.peers import FASTMCP2_BIN

TOOL: Final = ROOT / "tools" / "fastmcp_signatures.py"
DATA: Final = Path(__file__).with_name("fastmcp2.json")
THEIRS: Final[dict[str, dict[str, Any]]] = json.loads(DATA.read_text(encoding="utf-8"))

_SESSION = "their transports make a session of the SDK; ours name a source, which the relay connects to"
_EXTRA = "more can be said: optional, and by name or after theirs"
DIFFERENCES: Final = {
    "client.client.SessionKwargs": _SESSION,
    "client.transports.*.connect_session": _SESSION,
    "client.transports.*.connect": _SESSION,
    "client.transports.*.disconnect": _SESSION,
    "mcp_config.FastMCPBaseModel": "an import of theirs",
    "mcp_config.MCPConfig.validate_mcp_servers": "a validator, not for users",
    "mcp_config.CanonicalMCPConfig.validate_mcp_servers": "a validator, not for users",
    "mcp_config.ToolTransformConfig.apply": "changes are made by the relay, in its messages; there is no tool object",
}
"""What is missing, or has other parameters, by `module.name`; a `*` stands for any name."""
ADDED: Final = {
    "client.client.Client.__init__": "`mode`: the issue's",
    "client.client.Client.call_tool": "`meta`: the issue's",
    "client.client.Client.call_tool_mcp": "`meta`: the issue's",
    "client.client.Client.complete": "`context_arguments`: of 2025-06-18",
    "client.client.Client.complete_mcp": "`context_arguments`: of 2025-06-18",
    "client.client.Client.list_tools_mcp": "`cursor`: the next page",
    "client.client.Client.list_prompts_mcp": "`cursor`: the next page",
    "client.client.Client.list_resources_mcp": "`cursor`: the next page",
    "client.client.Client.list_resource_templates_mcp": "`cursor`: the next page",
}
"""What takes more than theirs, which must be optional."""


def tool() -> Any:
    spec = importlib.util.spec_from_file_location("fastmcp_signatures", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ours(module: str) -> dict[str, Any]:
    described = tool()
    name = module.replace("fastmcp", "isthmus", 1)
    loaded = importlib.import_module(name)
    found: dict[str, Any] = {}
    for each in THEIRS[module]:
        value = getattr(loaded, each, None)
        if isinstance(value, type):
            found[each] = dict(described.members(value))
        elif value is not None:
            found[each] = described.parameters(value) if hasattr(value, "__code__") else None
    return found


def differences() -> tuple[dict[str, str], set[str]]:
    """What is missing or other, with how; and what takes more."""
    wrong: dict[str, str] = {}
    more: set[str] = set()
    for module, names in THEIRS.items():
        mine = ours(module)
        short = module.removeprefix("fastmcp.")
        for name, said in names.items():
            if name not in mine:
                wrong[f"{short}.{name}"] = "missing"
            elif isinstance(said, dict):
                for member, parameters in said.items():
                    compare(f"{short}.{name}.{member}", parameters, mine[name], member, wrong, more)
            else:
                compare(f"{short}.{name}", said, mine, name, wrong, more)
    return wrong, more


def compare(place: str, theirs: Any, mine: Any, name: str, wrong: dict[str, str], more: set[str]) -> None:
    if not isinstance(mine, dict) or name not in mine:
        wrong[place] = "missing"
    elif theirs is not None and mine[name] is not None:
        extra = mine[name][len(theirs) :]
        if mine[name][: len(theirs)] != theirs or any(not each.endswith("=") and each != "*" for each in extra):
            wrong[place] = f"{theirs} is {mine[name]}"
        elif extra:
            more.add(place)


def general(place: str) -> str:
    """The same for any name of the module."""
    head, _, member = place.rpartition(".")
    return f"{head.rpartition('.')[0]}.*.{member}"


def test_every_difference_has_its_reason() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong, more = differences()
    unsaid = {place: how for place, how in wrong.items() if not {place, general(place)} & set(DIFFERENCES)}
    assert not unsaid
    assert set(DIFFERENCES) <= {each for place in wrong for each in (place, general(place))}
    assert more == set(ADDED)


def test_the_data_is_what_fastmcp_has() -> None:
    python = FASTMCP2_BIN / "python"
    if not python.exists():
        pytest.fail("Make the environment first: python tests/environments/make.py fastmcp2")
    made = subprocess.run([python, "-W", "ignore", TOOL], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(made.stdout) == THEIRS
