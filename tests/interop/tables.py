"""The features of each server."""

import re
from collections.abc import Iterator
from typing import Any

from .features import (
    ASKED_NAME,
    ASKED_URL,
    LOUD,
    PING,
    UPDATED,
    Feature,
    Has,
    Json,
    Step,
    about,
    call,
    changes,
    complete,
    hears,
    logging,
    names,
    one,
    prompt,
    read,
    set_level,
    text,
    updates,
)

SUM = {"result": {"structuredContent": {"sum": 5}, "content": Has({"type": "text"})}}
PICTURE = {"result": {"content": Has({"type": "image", "mimeType": "image/png", "data": re.compile("^iVBOR")})}}
ALL = {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "prompts": {}, "completions": {}}
WITHDRAWN = {"result": {"finished": False, "noticed": True}}


def failed(said: str) -> Json:
    return {"result": {"isError": True, "content": [{"type": "text", "text": re.compile(said)}]}}


def everything() -> Iterator[Feature]:
    yield about({"instructions": re.compile("Call `echo`")}, ALL | {"logging": {}}, "legacy")
    yield about({"instructions": re.compile("Call `echo`")}, ALL, "modern")
    yield PING
    yield Feature("pagination", [names("tools/list", "echo", "stats", "test_trigger_tool_change", pages=7)])
    yield one("tools", call("echo", {"text": "ünïcode ☃ \u0000"}), text("ünïcode ☃ \u0000"))
    yield one("structured output", call("add", {"a": 2, "b": 3}), SUM)
    yield one("image", call("show_media"), {"result": {"content": Has({"type": "audio"}, {"type": "resource_link"})}})
    yield one("image", call("show_media"), PICTURE)
    yield one("tool error", call("test_error_handling"), failed("intentionally"))
    yield one("protocol error", call("no such tool"), {"error": {"code": -32602, "message": re.compile("no such")}})
    yield Feature(
        "resources",
        [
            names("resources/list", "test://static-text", "test://static-binary"),
            names("resources/templates/list", "test://template/{id}/data"),
            read("test://template/7/data", re.compile('"id": "7"'), "application/json"),
            ({"method": "resources/read", "params": {"uri": "test://none"}}, {"error": {"code": -32602}}),
        ],
    )
    arguments = {"arg1": "a", "arg2": "b"}
    said = "Prompt with arguments: arg1='a', arg2='b'"
    listed = names("prompts/list", "test_simple_prompt", "test_prompt_with_arguments")
    yield Feature("prompts", [listed, prompt("test_prompt_with_arguments", arguments, said)])
    yield complete(
        {"type": "ref/prompt", "name": "test_prompt_with_arguments"}, "arg1", "par", "paris", "park", "party"
    )
    # The TypeScript clients drop progress that comes in one piece with the result, also without a proxy.
    steps = Has([0, 3], [1, 3])
    slow = call("slow", {"seconds": 0.3, "steps": 3}, progress=True, until={"progress": 2})
    yield one("progress", slow, text(re.compile("3 steps"), progress=steps))
    yield one("cancellation", call("slow", {"seconds": 10}, cancel="stats"), WITHDRAWN)
    yield one("elicitation", call("ask"), text("accept: Ada") | ASKED_NAME)
    yield one("elicitation declined", call("ask", answer="decline"), text("decline: no answer") | ASKED_NAME)
    yield one("elicitation by URL", call("ask_url"), text("accept") | ASKED_URL)
    asked_all = {"asked": Has("form: What is your name?", "sampling", "roots")}
    yield one("several rounds", call("test_input_required_result_multiple_inputs"), text("3 answers") | asked_all)
    rounds = {"asked": Has(re.compile("Step 1"), re.compile("Step 2"))}
    yield one("several rounds", call("test_input_required_result_multi_round"), text("Ada likes Ada") | rounds)
    yield one("sampling", call("ask_model", {"prompt": "Where?"}), text("interop-model: Paris", asked=["sampling"]))
    yield one("roots", call("show_roots"), text(re.compile("^file:///interop"), asked=["roots"]))
    yield from logging()
    yield from updates("test://watched-resource", "touch_resource")
    yield from changes("toggle_tool")


def own(name: str, pages: int, unknown: Json, logged: Any = LOUD) -> Iterator[Feature]:
    """What the small servers in `servers/` have in common."""
    yield about({"instructions": re.compile(name)}, {"tools": {}, "resources": {}, "prompts": {}}, "legacy")
    yield about({"instructions": re.compile(name)}, {"tools": {}, "resources": {}, "prompts": {}}, "modern")
    yield PING
    yield Feature("pagination", [names("tools/list", "echo", "toggle_tool", pages=pages)])
    yield one("tools", call("echo", {"text": "ünïcode ☃"}), text("ünïcode ☃"))
    yield one("structured output", call("add", {"a": 2, "b": 3}), SUM)
    yield one("image", call("picture"), PICTURE)
    yield one("tool error", call("fail"), failed("as it should"))
    yield one("protocol error", call("no such tool"), unknown)
    yield Feature(
        "resources",
        [
            names("resources/list", "test://note"),
            names("resources/templates/list", "test://item/{number}"),
            read("test://note", "a note"),
            read("test://item/7", "item 7"),
        ],
    )
    yield Feature("prompts", [names("prompts/list", "greet"), prompt("greet", {"name": "Bea"}, "Greet Bea.")])
    slow = call("slow", {"steps": 3, "seconds": 0.3}, progress=True, until={"progress": 2})
    yield one("progress", slow, text("done", progress=Has([1, 3], [2, 3])))
    yield one("cancellation", call("slow", {"steps": 4, "seconds": 10}, cancel="stats"), WITHDRAWN)
    yield one("elicitation", call("ask"), text("accept: Ada") | ASKED_NAME)
    yield one("elicitation declined", call("ask", answer="decline"), text("decline") | ASKED_NAME)
    yield from logging(logged)
    yield from changes("toggle_tool")


def asks() -> Iterator[Feature]:
    yield one("elicitation by URL", call("ask_url"), text("accept") | ASKED_URL)
    yield one("sampling", call("ask_model", {"prompt": "Where?"}), text("interop-model: Paris", asked=["sampling"]))
    yield one("roots", call("show_roots"), text(re.compile("^file:///interop"), asked=["roots"]))


def npm_everything() -> Iterator[Feature]:
    yield about({"instructions": re.compile("Everything")}, ALL | {"logging": {}}, "legacy")
    # A moment after `initialized` it asks for the roots, and logs that it has them: outside of any call.
    synced = {"method": "ping", "until": {"logs": 1}}, {"logs": [["info", re.compile("Roots updated: 1")]]}
    yield Feature("roots", [synced])
    yield PING
    yield Feature("tools", [names("tools/list", "echo", "trigger-sampling-request", "trigger-elicitation-request")])
    yield one("tools", call("echo", {"message": "hi"}), text("Echo: hi"))
    weather = {"result": {"structuredContent": {"temperature": 33, "conditions": "Cloudy"}}}
    yield one("structured output", call("get-structured-content", {"location": "New York"}), weather)
    yield one("image", call("get-tiny-image"), PICTURE)
    yield one("tool error", call("get-sum", {"a": "no number"}), failed("Invalid"))
    fixed = names("resources/list", "demo://resource/static/document/features.md")
    templates = names("resources/templates/list", "demo://resource/dynamic/text/{resourceId}")
    yield Feature("resources", [fixed, templates, read("demo://resource/dynamic/text/3", re.compile("Resource 3"))])
    listed = names("prompts/list", "simple-prompt", "args-prompt", "completable-prompt")
    yield Feature("prompts", [listed, prompt("args-prompt", {"city": "Paris"}, "What's weather in Paris?")])
    yield complete({"type": "ref/prompt", "name": "completable-prompt"}, "department", "E", "Engineering")
    slow = call("trigger-long-running-operation", {"duration": 0.3, "steps": 3}, progress=True, until={"progress": 2})
    yield one("progress", slow, text(re.compile("completed"), progress=Has([1, 3], [2, 3])))
    # The server works on; what counts is that the client gets on.
    long = call("trigger-long-running-operation", {"duration": 0.4, "steps": 4}, cancel=None)
    yield Feature("cancellation", [(long, WITHDRAWN), (call("echo", {"message": "on"}), text("Echo: on"))])
    form = text(re.compile("provided"), asked=Has(re.compile("^form: Please provide")))
    yield one("elicitation", call("trigger-elicitation-request"), form)
    declined = text(re.compile("declined"), asked=Has(re.compile("^form: Please provide")))
    yield one("elicitation declined", call("trigger-elicitation-request", answer="decline"), declined)
    there = {"url": "https://example.com/x", "message": "Please confirm"}
    yield one(
        "elicitation by URL",
        call("trigger-url-elicitation", there),
        text(re.compile("accept"), asked=Has(*ASKED_URL["asked"])),
    )
    sampled = text(re.compile("Paris"), asked=Has("sampling"))
    yield one("sampling", call("trigger-sampling-request", {"prompt": "Where?", "maxTokens": 9}), sampled)
    roots_again = {"method": "notifications/roots/list_changed", "until": {"asked": 1, "logs": 1}}
    told = {"logs": Has(["info", re.compile("Roots updated: 1")]), "asked": Has("roots")}
    yield one("roots", call("get-roots-list"), text(re.compile("file:///interop")))
    yield one("roots changed", roots_again, told)
    toggle = (
        call("toggle-simulated-logging", until={"logs": 1}),
        {"logs": Has([re.compile("."), re.compile("(?i)level")])},
    )
    off = call("toggle-simulated-logging"), text(re.compile("Stopped"))
    yield Feature("logging", [set_level("debug"), toggle, off])
    uri = "demo://resource/dynamic/text/1"
    subscribe: Step = {"method": "resources/subscribe", "params": {"uri": uri}}, {"result": {}, "error": None}
    start = hears(call("toggle-subscriber-updates"), UPDATED, uri)
    stop = call("toggle-subscriber-updates"), text(re.compile("Stopped"))
    yield Feature("subscribe", [subscribe, start, stop])
    data = {"name": "a.txt.gz", "data": "data:text/plain;base64,YQ==", "outputType": "resourceLink"}
    yield Feature("list changed", [hears(call("gzip-file-as-resource", data), "notifications/resources/list_changed")])


def mcp_server_time() -> Iterator[Feature]:
    yield about({}, {"tools": {}}, "legacy")
    yield PING
    yield Feature("tools", [names("tools/list", "get_current_time", "convert_time")])
    there = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    yield one("tools", call("convert_time", there), text(re.compile("T21:00")))
    yield one("tool error", call("get_current_time", {"timezone": "Nowhere"}), failed("(?i)timezone"))


def mcp_server_git() -> Iterator[Feature]:
    yield about({}, {"tools": {}}, "legacy")
    yield PING
    yield Feature("tools", [names("tools/list", "git_status", "git_log")])
    yield one("tools", call("git_status", {"repo_path": "{repository}"}), text(re.compile("No commits yet")))
    yield one("tool error", call("git_status", {"repo_path": "/"}), failed("outside"))


SDK1_NAMES = complete({"type": "ref/prompt", "name": "greet"}, "name", "A", "Ada", "Adam")
MISSING_TOOL: Json = {"error": {"code": -32602}}

TABLES: dict[str, list[Feature]] = {
    "everything": list(everything()),
    "sdk1": [*own("earlier SDK", 3, failed("Unknown tool")), SDK1_NAMES, *asks(), *updates("test://note", "touch")],
    "npm-everything": list(npm_everything()),
    "mcp-server-time": list(mcp_server_time()),
    "mcp-server-git": list(mcp_server_git()),
    "fastmcp2": [*own("FastMCP 2", 1, failed("Unknown tool"))],
    "fastmcp4": [*own("FastMCP 4", 3, failed("Unknown tool"), {"msg": "loud"}), SDK1_NAMES],
    "typescript2": [*own("TypeScript SDK 2", 1, MISSING_TOOL), *asks(), *updates("test://note", "touch")],
}
