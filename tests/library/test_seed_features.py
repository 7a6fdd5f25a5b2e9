"""What a proxy forwards of advanced features, and how that is switched off or done otherwise. Source: the seed's page,
Advanced MCP Features, Supported Features and Customizing Feature Support."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from isthmus import Client, FastMCP, FastMCPProxy, ProxyClient, ToolError
from isthmus.client.elicitation import ElicitResult
from isthmus.client.logging import LogMessage
from isthmus.server.proxy import default_proxy_roots_handler
from tests.library.ways import SURVEY, User, command, every_era, every_mode, features, heard, play

PROXIES: dict[str, Any] = {
    "ProxyClient": lambda back: FastMCP.as_proxy(ProxyClient(back)),
    "the server itself": FastMCP.as_proxy,
    "a plain Client": lambda back: FastMCP.as_proxy(Client(back)),
    "a factory": lambda back: FastMCPProxy(client_factory=lambda: ProxyClient(back)),
}
every_proxy = pytest.mark.parametrize("made", PROXIES)
HANDLERS = ("roots", "sampling_handler", "elicitation_handler", "log_handler", "progress_handler")
ASK = {
    "roots": {"method": "roots/list"},
    "sampling": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5}},
    "elicitation": {
        "method": "elicitation/create",
        "params": {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}},
    },
}


# -- forwarded --------------------------------------------------------------------------------------------------------


@every_proxy
@every_mode
def test_roots(made: str, mode: Any) -> None:
    async def script() -> None:
        user = User()
        async with user.client(PROXIES[made](features()), mode) as client:
            assert (await client.call_tool("roots")).data == ["file:///home/user"]
        assert user.asked == ["roots"]

    play(script())


@every_proxy
@every_mode
def test_sampling(made: str, mode: Any) -> None:
    async def script() -> None:
        user = User()
        async with user.client(PROXIES[made](features()), mode) as client:
            assert (await client.call_tool("sample")).data == "seven"
        assert user.asked == ["sample How many? Be short. 7"]

    play(script())


@every_proxy
@every_mode
def test_elicitation(made: str, mode: Any) -> None:
    async def script() -> None:
        user = User()
        async with user.client(PROXIES[made](features()), mode) as client:
            assert (await client.call_tool("elicit")).data == "accept Alice"
        assert user.asked == ["elicit Your name?"]

    play(script())


@every_mode
@pytest.mark.parametrize("is_connected", [False, True])
def test_the_handlers_of_a_plain_client_answer(mode: Any, is_connected: bool) -> None:
    """As with FastMCP; what such a client has no handler for goes on to the client in front."""
    asked: list[str] = []

    async def own(message: str, kind: Any, params: Any, context: Any) -> Any:
        asked.append(message)
        return kind(value="Bob")

    async def script() -> None:
        user, plain = User(), Client(features(), elicitation_handler=own)
        ready = plain if is_connected else nullcontext()
        async with ready, user.client(FastMCP.as_proxy(plain), mode) as client:
            assert (await client.call_tool("elicit")).data == "accept Bob"
            assert (await client.call_tool("sample")).data == "seven"
        assert (asked, user.asked) == (["Your name?"], ["sample How many? Be short. 7"])

    play(script())


@every_mode
@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_an_elicitation_that_is_not_accepted(mode: Any, action: Any) -> None:
    async def refuse(*_: Any) -> Any:
        return ElicitResult(action=action)

    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(features()))
        async with User().client(proxy, mode, elicitation_handler=refuse) as client:
            assert (await client.call_tool("elicit")).data == f"{action} None"

    play(script())


@every_proxy
@every_mode
def test_logging(made: str, mode: Any) -> None:
    async def script() -> None:
        user = User()
        async with user.client(PROXIES[made](features()), mode) as client:
            assert (await client.call_tool("log")).data == "logged"
        assert user.logged == [("warning", "clock", {"msg": "It is late.", "extra": {"hour": 23}})]

    play(script())


@every_proxy
@every_mode
def test_progress(made: str, mode: Any) -> None:
    async def script() -> None:
        user = User()
        async with user.client(PROXIES[made](features()), mode) as client:
            assert (await client.call_tool("progress")).data == "done"
        assert user.steps == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]

    play(script())


@every_mode
@pytest.mark.parametrize(("tool", "handler"), [("roots", "roots"), ("sample", "sampling"), ("elicit", "elicitation")])
def test_what_the_client_in_front_can_t_the_back_is_told(mode: Any, tool: str, handler: str) -> None:
    async def script() -> None:
        without = {"roots" if handler == "roots" else f"{handler}_handler": None}
        async with User().client(FastMCP.as_proxy(features()), mode, **without) as client:
            with pytest.raises(ToolError, match=handler):
                await client.call_tool(tool)

    play(script())


# -- switched off -----------------------------------------------------------------------------------------------------


def told(log: Path, era: str) -> dict[str, Any]:
    """What a back was told of its client: capabilities, log levels, and whether progress is wanted."""
    (call,) = [message for _, message in heard(log, "tools/call")]
    meta = call["params"].get("_meta", {})
    if era == "modern":
        levels = [meta[key] for key in meta if key.endswith("/logLevel")]
        (able,) = [meta[key] for key in meta if key.endswith("/clientCapabilities")]
    else:
        levels = [message["params"]["level"] for _, message in heard(log, "logging/setLevel")]
        able = [message["params"]["capabilities"] for _, message in heard(log, "initialize")][-1]
    return {"able": set(able) & set(ASK), "levels": levels, "progress": "progressToken" in meta}


@every_mode
@every_era
@pytest.mark.parametrize("off", [None, *HANDLERS])
def test_none_switches_one_off(mode: Any, era: str, off: str | None, tmp_path: Path) -> None:
    """And leaves the others as they are."""

    async def script() -> None:
        user, log = User(), tmp_path / "log"
        target: Any = command(SURVEY, era, log)
        proxy = FastMCP.as_proxy(ProxyClient(target, **({off: None} if off is not None else {})))
        async with user.client(proxy, mode) as client:
            if mode == "legacy" and off != "log_handler":
                await client.set_logging_level("debug")
            await client.call_tool("survey", {"says": ["info"], "steps": 2})
        seen = told(log, era)
        assert seen["able"] == {"roots", "sampling", "elicitation"} - {str(off).removesuffix("_handler")}
        assert seen["progress"] is (off != "progress_handler")
        assert len(user.steps) == (0 if off == "progress_handler" else 2)
        if off == "log_handler":
            assert seen["levels"] == [] and user.logged == []
        else:
            assert set(seen["levels"]) == {"debug"} and user.logged == [("info", None, "a info")]

    play(script())


@every_mode
def test_all_switched_off(mode: Any) -> None:
    async def script() -> None:
        user = User()
        proxy = FastMCP.as_proxy(ProxyClient(features(), **dict.fromkeys(HANDLERS)))
        async with user.client(proxy, mode) as client:
            for tool in ("roots", "sample", "elicit"):
                with pytest.raises(ToolError):
                    await client.call_tool(tool)
            assert (await client.call_tool("log")).data == "logged"
            assert (await client.call_tool("progress")).data == "done"
        assert (user.asked, user.logged, user.steps) == ([], [], [])

    play(script())


# -- done otherwise ---------------------------------------------------------------------------------------------------


@every_mode
def test_functions_answer_in_the_clients_stead(mode: Any) -> None:
    """Even where the client in front can do nothing."""
    notes: list[Any] = []

    def roots(context: Any) -> list[str]:
        return ["file:///of/the/proxy"]

    def sample(messages: Any, params: Any, context: Any) -> str:
        return f"the proxy, of {messages[0].content.text}"

    async def elicit(message: str, response_type: Any, params: Any, context: Any) -> Any:
        return {"value": f"the proxy, of {message}"}

    async def log(message: LogMessage) -> None:
        notes.append(message.data["msg"])

    async def progress(step: float, total: float | None, message: str | None) -> None:
        notes.append((step, total, message))

    async def script() -> None:
        own: Any = {"roots": roots, "sampling_handler": sample, "elicitation_handler": elicit}
        proxy = FastMCP.as_proxy(ProxyClient(features(), **own, log_handler=log, progress_handler=progress))
        async with Client(proxy, mode=mode) as client:
            assert (await client.call_tool("roots")).data == ["file:///of/the/proxy"]
            assert (await client.call_tool("sample")).data == "the proxy, of How many?"
            assert (await client.call_tool("elicit")).data == "accept the proxy, of Your name?"
            await client.call_tool("log")
            await client.call_tool("progress")
        assert notes == ["It is late.", (1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]

    play(script())


@every_mode
def test_functions_do_something_and_forward_after_all(mode: Any) -> None:
    """A modern client makes its call again with the answers; the function then runs again, and is answered at once."""
    notes: list[str] = []

    async def roots(context: Any) -> Any:
        notes.append("roots")
        return await default_proxy_roots_handler(context)

    async def sample(messages: Any, params: Any, context: Any) -> Any:
        notes.append("sample")
        answer = await ProxyClient.default_sampling_handler(messages, params, context)
        answer.content.text += ", says the client"  # type: ignore[union-attr]
        return answer

    async def elicit(message: str, response_type: Any, params: Any, context: Any) -> Any:
        notes.append("elicit")
        return await ProxyClient.default_elicitation_handler(f"{message} Please!", response_type, params, context)

    async def log(message: LogMessage) -> None:
        notes.append("log")
        await ProxyClient.default_log_handler(message)

    async def progress(step: float, total: float | None, message: str | None) -> None:
        notes.append("progress")
        await ProxyClient.default_progress_handler(step * 10, total, message)

    async def script() -> None:
        user = User()
        own: Any = {"roots": roots, "sampling_handler": sample, "elicitation_handler": elicit}
        proxy = FastMCP.as_proxy(ProxyClient(features(), **own, log_handler=log, progress_handler=progress))
        async with user.client(proxy, mode) as client:
            assert (await client.call_tool("roots")).data == ["file:///home/user"]
            assert (await client.call_tool("sample")).data == "seven, says the client"
            assert (await client.call_tool("elicit")).data == "accept Alice"
            await client.call_tool("log")
            await client.call_tool("progress")
        assert user.asked == ["roots", "sample How many? Be short. 7", "elicit Your name? Please!"]
        assert user.logged == [("warning", "clock", {"msg": "It is late.", "extra": {"hour": 23}})]
        assert [step for step, *_ in user.steps] == [10, 20, 30]
        assert list(dict.fromkeys(notes)) == ["roots", "sample", "elicit", "log", "progress"]

    play(script())


def test_a_default_handler_outside_of_a_proxy_says_so() -> None:
    async def script() -> None:
        with pytest.raises(RuntimeError, match="proxy"):
            await default_proxy_roots_handler(None)

    play(script())
