"""A modern client of a back whose revision reads the client's capabilities otherwise."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine.clients import ModernClient, gateway, run, script

OLD = """
import json, os, sys
for line in sys.stdin:
    m = json.loads(line)
    with open(sys.argv[1], "a") as log:
        log.write(line)
    if m["method"] == "server/discover":
        answer = {"error": {"code": -32601, "message": "Method not found"}}
    elif m["method"] == "initialize":
        answer = {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {}}}
    else:
        answer = {"result": {"tools": []}}
    if "id" in m:
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **answer}), flush=True)
"""


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"url": {}}, [{"elicitation": {"url": {}}, "roots": {}}, {"roots": {}}]),
        ({"form": {}, "url": {}}, [{"elicitation": {"form": {}, "url": {}}, "roots": {}}]),
        ({}, [{"elicitation": {}, "roots": {}}]),
    ],
)
def test_a_client_without_forms_is_no_client_with_forms(declared: Any, told: list[Any], tmp_path: Path) -> None:
    """Before 2025-11-25 any `elicitation` meant forms: the back is opened again without it."""

    async def scenario() -> None:
        async with gateway(script(OLD, str(tmp_path / "log"))) as proxy:
            capabilities = {"elicitation": declared, "roots": {}}
            meta = {"io.modelcontextprotocol/clientCapabilities": capabilities}
            assert (await ModernClient(proxy).request(1, "tools/list", meta=meta).result())["tools"] == []
        heard = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert [each["params"]["capabilities"] for each in heard if each["method"] == "initialize"] == told
        assert [each["method"] for each in heard].count("notifications/initialized") == 1

    run(scenario)
