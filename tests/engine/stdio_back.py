"""A back on stdio: `ERA LOG`. What it hears is appended to LOG with its pid; what a tool does stands in its name.

ERA is legacy, modern, both, or mute (answers nothing). It starts fast: standard library only, run with -I -S.
"""

import json
import os
import sys
import threading
import time
from typing import Any

ERA, LOG = sys.argv[1:3]
META = "io.modelcontextprotocol/"
lock = threading.Lock()
asked: dict[Any, Any] = {}
state: dict[str, Any] = {"subscriptions": {}, "asking": 0}


def send(**message: Any) -> None:
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def result(message: Any, **members: Any) -> None:
    send(id=message["id"], result=members)


def say(method: str, **params: Any) -> None:
    send(method=method, params=params)


def error(message: Any, code: int, text: str, **data: Any) -> None:
    send(id=message["id"], error={"code": code, "message": text, **({"data": data} if data else {})})


def ask(message: Any, /, method: str = "elicitation/create", **params: Any) -> None:
    state["asking"] += 1
    id = params.pop("id", f"q{state['asking']}")
    asked[id] = message
    send(id=id, method=method, params=params)


def progress(message: Any, each: float, times: int) -> None:
    for number in range(1, times + 1):
        say("notifications/progress", progressToken=message["params"]["_meta"]["progressToken"], progress=number)
        time.sleep(each)


def call(message: Any) -> None:
    params = message["params"]
    tool = TOOLS.get(params["name"])
    if tool is None:
        error(message, -32602, f"Unknown tool {params['name']}")
    else:
        tool(message, **params.get("arguments", {}))


def echo(message: Any, /, **given: Any) -> None:
    result(message, echo=given, pid=os.getpid())


def hang(message: Any) -> None:
    """Never answers."""


def die(message: Any, /) -> None:
    sys.stderr.write("out of luck\n")
    sys.stderr.flush()
    os._exit(3)


def tick(message: Any, /, each: float, times: int) -> None:
    threading.Thread(target=progress, args=(message, each, times), daemon=True).start()


def count(message: Any, /, times: int, of: Any = None) -> None:
    progress(message, 0, times)
    result(message, counted=times, of=of)


def wrong(message: Any) -> None:
    send(id=987654, result={"stolen": True})


def noise(message: Any) -> None:
    for line in ("Listening…", '{"half": ', "[1,", "null", "\x00\x01"):
        sys.stdout.write(line + "\n")
    result(message, loud=True)


def stderr(message: Any) -> None:
    for _ in range(64):
        sys.stderr.write("x" * 1023 + "\n" + "y" * (63 * 1024) + "\n")
    sys.stderr.flush()
    result(message, wrote=True)


def log_of(message: Any, /, of: Any, times: int) -> None:
    talk(of, times)
    result(message, of=of)


def babble(message: Any, /, of: Any) -> None:
    """Goes on about a call that was cancelled."""
    threading.Thread(target=talk, args=(of, 1000), daemon=True).start()


def talk(of: Any, times: int) -> None:
    for number in range(times):
        say("notifications/message", level="info", data=f"{of}-{number}")
        time.sleep(0.002)


def withdraw(message: Any) -> None:
    ask(message, id="w1")
    say("notifications/cancelled", requestId="w1", reason="never mind")
    result(message, withdrawn=True)


def listen(message: Any) -> None:
    meta = {META + "subscriptionId": message["id"]}
    state["subscriptions"][message["id"]] = message
    say("notifications/subscriptions/acknowledged", _meta=meta, notifications=message["params"]["notifications"])


def change(message: Any) -> None:
    for id in list(state["subscriptions"]):
        say("notifications/tools/list_changed", _meta={META + "subscriptionId": id})
    result(message, told=len(state["subscriptions"]))


def end(message: Any) -> None:
    for each in state["subscriptions"].values():
        result(each, resultType="complete", _meta={META + "subscriptionId": each["id"]})
    state["subscriptions"] = {}
    result(message)


def initialize(message: Any) -> None:
    if ERA == "modern":
        error(message, -32022, "Unsupported protocol version", supported=["2026-07-28"])
        return
    capabilities = {"tools": {"listChanged": True}, "experimental": {"x/y": {"deep": 1}}}
    version = message["params"]["protocolVersion"]
    info = {"name": "the back", "version": "9"}
    result(message, protocolVersion=version, capabilities=capabilities, serverInfo=info, instructions="Be kind.")


def discover(message: Any) -> None:
    if ERA == "legacy":
        error(message, -32601, "Method not found")
        return
    info = {"name": "the back", "version": "9"}
    meta = {META + "serverInfo": info}
    result(message, resultType="complete", supportedVersions=["2026-07-28"], capabilities={"tools": {}}, _meta=meta)


def other(message: Any) -> None:
    method = message["method"]
    if method.startswith("x/"):
        result(message, heard=message["params"])
    elif method in ("logging/setLevel", "resources/subscribe", "resources/unsubscribe", "ping", "tools/list"):
        result(
            message,
            **({"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]} if method == "tools/list" else {}),
        )
    else:
        error(message, -32601, "Method not found")


TOOLS: dict[str, Any] = {
    "echo": echo,
    "hang": hang,
    "die": die,
    "tick": tick,
    "count": count,
    "wrong": wrong,
    "noise": noise,
    "stderr": stderr,
    "log": log_of,
    "babble": babble,
    "ask": ask,
    "withdraw": withdraw,
}
METHODS = {
    "initialize": initialize,
    "server/discover": discover,
    "tools/call": call,
    "subscriptions/listen": listen,
    "x/change": change,
    "x/end": end,
}

with open(LOG, "a") as ledger:
    for line in sys.stdin:
        ledger.write(json.dumps([os.getpid(), line.rstrip("\n")]) + "\n")
        ledger.flush()
        message = json.loads(line)
        if ERA == "mute":
            continue
        if "method" not in message:
            waiting = asked.pop(message["id"], None)
            if waiting is not None:
                result(waiting, answered=message.get("result"), refused=message.get("error"))
        elif "id" in message:
            METHODS.get(message["method"], other)(message)
        elif message["method"] == "notifications/initialized" and os.environ.get("ASKS_AT_ONCE"):
            ask({"id": "nobody"}, "roots/list")
        elif message["method"] == "notifications/cancelled" and ERA != "legacy":
            state["subscriptions"].pop(message["params"]["requestId"], None)
