"""What each server shows of each feature: the steps of a client, and what its records must have in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .peers import Cell, Era

Json = dict[str, Any]
Step = tuple[Json, Json]  # and what its record must have
SPECIFICATION = "https://modelcontextprotocol.io/specification"
PAGES = {
    "about": "basic/lifecycle",
    "ping": "basic/utilities/ping",
    "tools": "server/tools",
    "pagination": "server/utilities/pagination",
    "structured output": "server/tools#structured-content",
    "image": "server/tools#image-content",
    "tool error": "server/tools#error-handling",
    "protocol error": "server/tools#error-handling",
    "resources": "server/resources",
    "subscribe": "server/resources#subscriptions",
    "prompts": "server/prompts",
    "completion": "server/utilities/completion",
    "logging": "server/utilities/logging",
    "progress": "basic/utilities/progress",
    "cancellation": "basic/utilities/cancellation",
    "list changed": "server/tools#list-changed-notification",
    "elicitation": "client/elicitation",
    "elicitation declined": "client/elicitation#response-actions",
    "elicitation by URL": "client/elicitation#url-mode-elicitation-requests",
    "several rounds": "basic/patterns/mrtr",
    "sampling": "client/sampling",
    "roots": "client/roots",
    "roots changed": "client/roots#root-list-changes",
}


class Has:
    """A list that has these entries among others."""

    def __init__(self, *entries: Any) -> None:
        self.entries = entries

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.entries}"


class Lacks(Has):
    """A list, there or not, that has none of these entries."""


def differences(expected: Any, seen: Any, at: str = "") -> Iterator[str]:
    """Where `seen` lacks what is expected: members of objects, equal values, patterns found in texts."""
    match expected:
        case dict() if isinstance(seen, dict):
            for name, value in expected.items():
                if name in seen:
                    yield from differences(value, seen[name], f"{at}.{name}")
                elif value is not None and not isinstance(value, Lacks):
                    yield f"{at}.{name} is missing in {seen!r}"
        case Lacks() if isinstance(seen, list):
            found = [entry for entry in expected.entries if not all(any(differences(entry, one)) for one in seen)]
            yield from (f"{at} has {entry!r}: {seen!r}" for entry in found)
        case Has() if isinstance(seen, list):
            missing = [entry for entry in expected.entries if all(any(differences(entry, one)) for one in seen)]
            yield from (f"{at} has no {entry!r}: {seen!r}" for entry in missing)
        case list() if isinstance(seen, list) and len(seen) == len(expected):
            for index, (one, other) in enumerate(zip(expected, seen, strict=True)):
                yield from differences(one, other, f"{at}[{index}]")
        case re.Pattern() if isinstance(seen, str):
            if not expected.search(seen):
                yield f"{at} is {seen!r}, without {expected.pattern!r}"
        case _ if expected != seen:
            yield f"{at} is {seen!r}, not {expected!r}"


@dataclass(frozen=True)
class Feature:
    """Steps, and for each what its record must have; for one era, or for both."""

    name: str
    steps: list[Step]
    era: Era | None = None


def text(said: str | re.Pattern[str], **more: Any) -> Json:
    return {"result": {"content": Has({"type": "text", "text": said})}, **more}


def call(name: str, arguments: Json | None = None, **more: Any) -> Json:
    return {"method": "tools/call", "params": {"name": name, "arguments": arguments or {}}, **more}


def one(name: str, step: Json, record: Json, era: Era | None = None) -> Feature:
    return Feature(name, [(step, record)], era)


def about(server: Json, capabilities: Json, era: Era | None = None) -> Feature:
    expected: Json = {"serverInfo": {"name": "isthmus"}, "capabilities": capabilities} | server
    if era is not None:
        expected["protocolVersion"] = {"legacy": "2025-11-25", "modern": "2026-07-28"}[era]
    return one("about", {"method": "about"}, {"result": expected}, era)


def names(kind: str, *listed: str, pages: int | None = None) -> Step:
    member = {"resources/templates/list": "resourceTemplates"}.get(kind, kind.split("/")[0])
    key = {"resources": "uri", "resourceTemplates": "uriTemplate"}.get(member, "name")
    found: Json = {member: Has(*({key: name} for name in listed))}
    return {"method": kind, "pages": True}, {"result": found | ({"pages": pages} if pages else {})}


def read(uri: str, said: str | re.Pattern[str], mime: str = "text/plain") -> Step:
    contents = [{"uri": uri, "mimeType": mime, "text": said}]
    return {"method": "resources/read", "params": {"uri": uri}}, {"result": {"contents": contents}}


def prompt(name: str, arguments: Json, said: str) -> Step:
    message = {"role": "user", "content": {"type": "text", "text": said}}
    return {"method": "prompts/get", "params": {"name": name, "arguments": arguments}}, {
        "result": {"messages": [message]}
    }


def complete(ref: Json, argument: str, value: str, *values: str) -> Feature:
    params = {"ref": ref, "argument": {"name": argument, "value": value}}
    return one(
        "completion",
        {"method": "completion/complete", "params": params},
        {"result": {"completion": {"values": list(values)}}},
    )


def set_level(level: str) -> Step:
    return {"method": "logging/setLevel", "params": {"level": level}}, {"result": {}}


LOUD = re.compile("loud")


def logging(logged: Any = LOUD) -> Iterator[Feature]:
    quiet = call("log_at", {"level": "debug", "message": "quiet"}), {"error": None}
    loud = call("log_at", {"level": "error", "message": "loud"}, until={"logs": 1}), {"logs": [["error", logged]]}
    yield Feature("logging", [set_level("warning"), quiet, loud, set_level("info")], "legacy")
    yield Feature("logging", [quiet, loud], "modern")


PING = one("ping", {"method": "ping"}, {"result": {}, "error": None}, "legacy")
TOOLS_CHANGED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"


def hears(step: Json, method: str, uri: str | None = None) -> Step:
    """It is waited for by its name: what other clients do makes a server say other things meanwhile."""
    return step | {"until": {method: 1}}, {"heard": Has([method, uri])}


def changes(tool: str) -> Iterator[Feature]:
    told = hears(call(tool), TOOLS_CHANGED)
    wanted = {"notifications": {"toolsListChanged": True}}
    listen = {"method": "subscriptions/listen", "params": wanted}, {"result": wanted}
    yield Feature("list changed", [told], "legacy")
    yield Feature("list changed", [listen, told], "modern")


def updates(uri: str, tool: str) -> Iterator[Feature]:
    told = hears(call(tool), UPDATED, uri)
    again = call(tool), {"heard": Lacks([UPDATED, uri])}
    subscribe: Step = {"method": "resources/subscribe", "params": {"uri": uri}}, {"result": {}, "error": None}
    unsubscribe: Step = {"method": "resources/unsubscribe", "params": {"uri": uri}}, {"result": {}, "error": None}
    wanted = {"notifications": {"resourceSubscriptions": [uri]}}
    listen = {"method": "subscriptions/listen", "params": wanted}, {"result": wanted}
    yield Feature("subscribe", [subscribe, told, unsubscribe, again], "legacy")
    yield Feature("subscribe", [listen, told], "modern")


ASKED_NAME = {"asked": ["form: What is your name?"]}
ASKED_URL = {"asked": [re.compile("^url: Please confirm")]}


def features(cell: Cell) -> list[Feature]:
    """Those that both ends of a cell have, in the order in which they are played."""
    from .tables import TABLES

    table = TABLES[cell.server.name]
    return [feature for feature in table if feature.era in (None, cell.client.era) and cell.can(feature.name)]
