"""A back on stdio that asks in rounds, in its era's way: `ERA LOG`, as `stdio_back.py`, for `test_standin.py`.

The tool `survey` logs `says` (levels), tells `steps` of progress, asks `rounds` (a list of questions by key) and then
answers what it was told: answers, the client's capabilities, its log level and its progress token.
"""

import json
import sys
from typing import Any

ERA, LOG = sys.argv[1:3]
META = "io.modelcontextprotocol/"
INFO = {"name": "the back", "version": "9"}
calls: dict[Any, dict[str, Any]] = {}
asked: dict[str, tuple[Any, str]] = {}
session: dict[str, Any] = {"level": None, "capabilities": None}


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def result(id: Any, **members: Any) -> None:
    send(id=id, result=members if ERA == "legacy" else {"resultType": "complete", **members})


def talk(arguments: dict[str, Any], token: Any, level: str | None) -> None:
    if level is not None or ERA == "legacy":
        for each in arguments.get("says", []):
            send(method="notifications/message", params={"level": each, "data": f"a {each}"})
    for number in range(1, arguments.get("steps", 0) + 1):
        if token is not None:
            send(method="notifications/progress", params={"progressToken": token, "progress": number})


def finish(id: Any, token: Any, answers: Any, capabilities: Any, level: Any) -> None:
    result(id, content=[], told={"answers": answers, "capabilities": capabilities, "level": level, "token": token})


def proceed(id: Any) -> None:
    """The next round of a legacy call, or its end."""
    call = calls[id]
    if not call["rounds"]:
        del calls[id]
        finish(id, call["token"], call["answers"], session["capabilities"], session["level"])
        return
    entries = call["rounds"].pop(0)
    for key, entry in entries.items():
        asked[f"{id} {key}"] = id, key
        call["out"].add(key)
        send(id=f"{id} {key}", **entry)


def heard_answer(message: Any) -> None:
    id, key = asked.pop(message["id"])
    call = calls.get(id)
    if call is not None:
        call["answers"][key] = message.get("result", {"error": message.get("error")})
        call["out"].discard(key)
        if not call["out"]:
            proceed(id)


def call_modern(message: Any, arguments: dict[str, Any]) -> None:
    params = message["params"]
    meta = params["_meta"]
    state: dict[str, Any] = json.loads(params.get("requestState", '{"round": 0, "answers": {}}'))
    state["answers"] |= params.get("inputResponses", {})
    if state["round"] == 0:
        talk(arguments, meta.get("progressToken"), meta.get(META + "logLevel"))
    rounds = arguments.get("rounds", [])
    at = state["round"]
    left = {key: each for key, each in rounds[at - 1].items() if key not in state["answers"]} if at > 0 else {}
    if not left and at < len(rounds):
        left = rounds[at]
        state["round"] += 1
    if not left:
        level, capabilities = meta.get(META + "logLevel"), meta[META + "clientCapabilities"]
        finish(message["id"], meta.get("progressToken"), state["answers"], capabilities, level)
        return
    needed = {"resultType": "input_required", "inputRequests": left, "requestState": json.dumps(state)}
    send(id=message["id"], result=needed | {"_meta": {META + "serverInfo": INFO}})


def call_legacy(message: Any, arguments: dict[str, Any]) -> None:
    id, token = message["id"], message["params"].get("_meta", {}).get("progressToken")
    calls[id] = {"rounds": list(arguments.get("rounds", [])), "answers": {}, "token": token, "out": set()}
    talk(arguments, token, session["level"])
    proceed(id)


def request(message: Any) -> None:
    method, id = message["method"], message["id"]
    capabilities: dict[str, Any] = {"tools": {}, "logging": {}}
    if method == "initialize" and ERA == "legacy":
        session["capabilities"] = message["params"]["capabilities"]
        version = message["params"]["protocolVersion"]
        result(id, protocolVersion=version, capabilities=capabilities, serverInfo=INFO)
    elif method == "initialize":
        send(id=id, error={"code": -32022, "message": "Unsupported protocol version"})
    elif method == "server/discover" and ERA == "modern":
        result(id, supportedVersions=["2026-07-28"], capabilities=capabilities, ttlMs=0, cacheScope="private")
    elif method == "logging/setLevel":
        session["level"] = message["params"]["level"]
        result(id)
    elif method == "tools/call":
        arguments = message["params"].get("arguments", {})
        (call_legacy if ERA == "legacy" else call_modern)(message, arguments)
    elif method == "tools/list":
        fresh = {} if ERA == "legacy" else {"ttlMs": 0, "cacheScope": "private"}
        result(id, tools=[{"name": "survey", "inputSchema": {"type": "object"}}], **fresh)
    else:
        send(id=id, error={"code": -32601, "message": "Method not found"})


with open(LOG, "a") as ledger:
    for line in sys.stdin:
        ledger.write(json.dumps([0, line.rstrip("\n")]) + "\n")
        ledger.flush()
        message = json.loads(line)
        if "method" not in message:
            heard_answer(message)
        elif "id" in message:
            request(message)
