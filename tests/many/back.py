"""One of many backs on stdio: `ERA NAME LOG`. Its tools, prompts and resources have the same names as every other's.

ERA is legacy, modern, or mute (answers nothing). What it hears is appended to LOG with its name, and that it started.
It starts fast: standard library only, run with -I -S. In its environment: TTL and SCOPE of its lists, PAGE (items on a
page), TOOLS (more of them), CURSORS (circle, endless), ODD (JSON instead of a list), REFUSE (so many lists, with the
words WHY), LOST (so many lists are not answered), SLOW (seconds
before it reads), DIES (at once, while this file is there), MUTE (methods that it does not answer), UNKNOWN (methods
that it does not know), GATE (the file that the tool `wait` waits for), STUBBORN (it leaves late), HALF (half a pair of
surrogates is in whatever it says of itself, in its cursors, and in the names of its tools).
"""

import json
import os
import sys
import threading
import time
from typing import Any

ERA, NAME, LOG = sys.argv[1:4]
TTL = int(os.environ.get("TTL", "0"))
SCOPE = os.environ.get("SCOPE", "private")
PAGE = int(os.environ.get("PAGE", "1000"))
TOOLS = int(os.environ.get("TOOLS", "0"))
META = "io.modelcontextprotocol/"
MODERN = ERA == "modern"
lock = threading.Lock()
CURSORS = os.environ.get("CURSORS", "")
HALF = "\ud83d" if "HALF" in os.environ else ""
REFUSE = int(os.environ.get("REFUSE", "0"))
LOST = [None] * int(os.environ.get("LOST", "0"))
asked: dict[Any, Any] = {}
refused: list[Any] = []
listening: list[Any] = []
extra: list[str] = []


def send(**message: Any) -> None:
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def result(message: Any, **members: Any) -> None:
    if MODERN:
        members = {"resultType": "complete", **members}
    send(id=message["id"], result=members)


def error(message: Any, code: int, text: str, **data: Any) -> None:
    send(id=message["id"], error={"code": code, "message": text, **({"data": data} if data else {})})


def tool(name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    return {"name": name, "title": f"{name} of {NAME}", "description": "A tool.", "inputSchema": schema}


def lists() -> dict[str, tuple[str, list[dict[str, Any]]]]:
    names = ["echo", "link", "ask", "hang", "die", "grow", *(f"tool{number}{HALF}" for number in range(TOOLS)), *extra]
    resources = [
        {"uri": "note://here", "name": "note", "mimeType": "text/plain"},
        {"uri": f"https://example.com/{NAME}", "name": "page"},
    ]
    templates = {"note://by/{name}": "by name", f"urn:{NAME}:{{x}}": "urn"}
    return {
        "tools/list": ("tools", [tool(name) for name in names]),
        "prompts/list": ("prompts", [{"name": "hello", "arguments": [{"name": "who"}]}]),
        "resources/list": ("resources", resources),
        "resources/templates/list": (
            "resourceTemplates",
            [{"uriTemplate": template, "name": name} for template, name in templates.items()],
        ),
    }


def listed(message: Any) -> None:
    if LOST:
        LOST.pop()
        return
    if len(refused) < REFUSE:
        refused.append(message)
        error(message, -32000, os.environ.get("WHY", "Not now"))
        return
    key, items = lists()[message["method"]]
    at = int((message.get("params") or {}).get("cursor", "0").strip(HALF or None))
    more = {"nextCursor": str(at + PAGE) + HALF} if at + PAGE < len(items) or CURSORS == "endless" else {}
    if CURSORS == "circle" and not more:
        more = {"nextCursor": "0"}
    fresh = {"ttlMs": TTL, "cacheScope": SCOPE} if MODERN else {}
    said = items[at : at + PAGE] if "ODD" not in os.environ else json.loads(os.environ["ODD"])
    result(message, **{key: said}, **more, **fresh)


def call(message: Any) -> None:
    params = message["params"]
    name, given = params["name"], params.get("arguments", {})
    if name == "hang":
        return
    if name == "die":
        os._exit(3)
    if name == "wait":
        threading.Thread(target=wait, args=(message,), daemon=True).start()
    elif name == "link":
        result(message, content=[{"type": "resource_link", "uri": "note://here", "name": "note"}])
    elif name == "ask":
        ask(message)
    elif name == "grow":
        extra.append("grown")
        changed()
        result(message, content=[])
    elif name in [each["name"] for each in lists()["tools/list"][1]]:
        echo(message, name, given)
    else:
        error(message, -32602, f"Unknown tool {name}")


def echo(message: Any, name: str, given: Any) -> None:
    said = {"from": NAME, "tool": name, "given": given, "pid": os.getpid()}
    result(message, content=[{"type": "text", "text": json.dumps(said)}])


def wait(message: Any) -> None:
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.01)
    echo(message, "wait", {})


def ask(message: Any) -> None:
    question: dict[str, Any] = {"message": f"{NAME} asks", "requestedSchema": {"type": "object", "properties": {}}}
    params = message["params"]
    if "token" in params.get("arguments", {}):
        question["_meta"] = {"progressToken": params["arguments"]["token"]}
    if not MODERN:
        asked["q"] = message
        send(id="q", method="elicitation/create", params=question)
    elif "inputResponses" in params:
        result(message, content=[{"type": "text", "text": json.dumps([NAME, params["inputResponses"]])}])
    else:
        request = {"method": "elicitation/create", "params": {"mode": "form", **question}}
        send(id=message["id"], result={"resultType": "input_required", "inputRequests": {"one": request}})


def changed() -> None:
    if not MODERN:
        send(method="notifications/tools/list_changed")
    for id in listening:
        send(method="notifications/tools/list_changed", params={"_meta": {META + "subscriptionId": id}})


def listen(message: Any) -> None:
    listening.append(message["id"])
    meta = {META + "subscriptionId": message["id"]}
    granted = message["params"]["notifications"]
    send(method="notifications/subscriptions/acknowledged", params={"_meta": meta, "notifications": granted})
    for uri in granted.get("resourceSubscriptions", []):
        send(method="notifications/resources/updated", params={"uri": uri, "_meta": meta})


def read(message: Any) -> None:
    uri = message["params"]["uri"]
    if uri == "note://gone":
        error(message, -32602 if MODERN else -32002, "Resource not found", uri=uri)
    else:
        result(message, contents=[{"uri": uri, "text": f"{uri} of {NAME}"}])


def subscribe(message: Any) -> None:
    result(message)
    send(method="notifications/resources/updated", params={"uri": message["params"]["uri"]})


CAPABILITIES = {
    "tools": {"listChanged": True},
    "prompts": {},
    "resources": {"subscribe": True},
    "completions": {},
    "logging": {},
    "experimental": {"half": {"is": HALF}},
}
METHODS = {
    **dict.fromkeys(lists(), listed),
    "tools/call": call,
    "resources/read": read,
    "prompts/get": lambda m: result(
        m, messages=[{"role": "user", "content": {"type": "text", "text": f"{m['params']['name']} of {NAME}"}}]
    ),
    "completion/complete": lambda m: result(m, completion={"values": [NAME, json.dumps(m["params"]["ref"])]}),
}
LEGACY = {
    "initialize": lambda m: result(
        m,
        protocolVersion=m["params"]["protocolVersion"],
        capabilities=CAPABILITIES,
        serverInfo={"name": NAME, "version": "1"},
        instructions=f"Use {NAME}.{HALF}",
    ),
    "ping": lambda m: result(m),
    "logging/setLevel": lambda m: result(m),
    "resources/subscribe": subscribe,
    "resources/unsubscribe": lambda m: result(m),
}
NEW = {
    "server/discover": lambda m: result(
        m,
        supportedVersions=["2026-07-28"],
        capabilities=CAPABILITIES,
        instructions=f"Use {NAME}.{HALF}",
        ttlMs=TTL,
        cacheScope=SCOPE,
    ),
    "subscriptions/listen": listen,
}


def note(message: Any) -> None:
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(json.dumps([NAME, message]) + "\n")


def take(message: Any) -> None:
    note(message)
    if ERA == "mute":
        return
    if "method" not in message:
        waiting = asked.pop(message["id"], None)
        if waiting is not None:
            said = json.dumps([NAME, message.get("result")])
            result(waiting, content=[{"type": "text", "text": said}])
    elif "id" in message:
        known: dict[str, Any] = METHODS | (NEW if MODERN else LEGACY)
        handler = known.get(message["method"])
        if message["method"] in os.environ.get("MUTE", "").split():
            return
        if handler is None or message["method"] in os.environ.get("UNKNOWN", "").split():
            error(message, -32601, f"Method not found: {message['method']}")
        else:
            handler(message)


note({"method": "started"})
if os.path.exists(os.environ.get("DIES", "")):
    sys.exit("Not today.")
time.sleep(float(os.environ.get("SLOW", "0")))
for line in sys.stdin:
    take(json.loads(line))
if "STUBBORN" in os.environ:
    time.sleep(0.5)
