"""`isthmus call`: one tool of a server, called from the terminal as an interactive client would."""

import asyncio
import difflib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from isthmus.cli.arguments import Typed, fit_arguments, read_words
from isthmus.cli.ask import CAPABILITIES, Declined, Questions
from isthmus.cli.peer import LISTINGS, Client, Peer, Refused, Server, list_all, open_peer, result_of, value_of
from isthmus.cli.show import View, show
from isthmus.cli.terminal import Terminal, one_line, plain
from isthmus.errors import ConfigError, Fault
from isthmus.limits import INPUT_ROUNDS, Limits
from isthmus.protocol import edits
from isthmus.protocol.names import CANCELLED, MESSAGE, PROGRESS
from isthmus.run import run_loop
from isthmus.transports.target import Target
from isthmus.wire.codec import decode, identify
from isthmus.wire.envelope import Envelope, Kind

_URL_NEEDED: Final = -32042
"""Legacy servers' error that names URLs to visit first (2025-11-25 client/elicitation)."""
_DECLINED: Final = -1
"""What a declined sampling request is answered with (2025-11-25 client/sampling, *Error Handling*)."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be called, and how its result is shown."""

    tool: str
    words: tuple[str, ...] = ()
    as_json: bool = False
    is_full: bool = False
    save: Path | None = None
    roots: tuple[Path, ...] = ()


def call(target: Target, bounds: Limits, order: Order) -> int:
    """Call a tool; 0, or 1 if it fails.

    Raises:
        ConfigError: there is no such tool, or its arguments can't be read.
    """
    return run_loop(_call(target, bounds, order, read_words(order.words)))


async def _call(target: Target, bounds: Limits, order: Order, typed: list[Typed]) -> int:
    server = Server(target, bounds)
    terminal = Terminal()
    try:
        return await _Conversation(target.name, server, terminal, order).run(typed)
    except Refused as error:
        terminal.say(f"isthmus: {plain(error)}")
        _say_urls(terminal, error.error)
    except Fault as fault:
        terminal.say(f"isthmus: {fault.why}")
    except Declined as declined:
        terminal.say(f"isthmus: {declined} The call was not finished.")
    except TimeoutError:
        terminal.say("isthmus: The question was not answered in time. The call was not finished.")
    finally:
        terminal.clear()
        await server.close()
    return 1


class _Conversation:
    """One call and what is asked in the middle of it."""

    def __init__(self, name: str, server: Server, terminal: Terminal, order: Order) -> None:
        self._name = name
        self._server = server
        self._terminal = terminal
        self._order = order
        self._questions = Questions(terminal, name, order.roots or (Path.cwd(),))
        self._asking: dict[int | str | None, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()
        self._peer: Peer | None = None

    async def run(self, typed: list[Typed]) -> int:
        """Find the tool, call it, show what comes."""
        order = self._order
        peer = self._peer = await open_peer(self._server, Client("isthmus-call", CAPABILITIES, self._hear))
        schema = await _find(peer, order.tool)
        params = {"name": order.tool, "arguments": fit_arguments(typed, schema)}
        answer = await self._follow(peer, params)
        self._terminal.clear()
        result = value_of(answer)
        if order.as_json:
            sys.stdout.flush()
            sys.stdout.buffer.write(result_of(answer) + b"\n")
            sys.stdout.flush()
        else:
            show(result, View(order.tool, order.save, order.is_full))
        return 1 if result.get("isError") is True else 0

    async def _follow(self, peer: Peer, params: dict[str, Any]) -> Envelope:
        """The final answer; in between the server may ask for input (2026-07-28 basic/patterns/mrtr)."""
        more: dict[str, Any] = {}
        for _ in range(INPUT_ROUNDS):
            answer = await peer.ask("tools/call", params | more, follows=True)
            result = value_of(answer)
            if peer.era != "modern" or result.get("resultType") != "input_required":
                return answer
            asked = result.get("inputRequests")
            responses = {}
            for key, question in asked.items() if isinstance(asked, dict) else ():
                given = question if isinstance(question, dict) else {}
                responses[key] = await self._answer(str(given.get("method")), given.get("params"))
            more = {"inputResponses": responses} if responses else {}
            if "requestState" in result:
                more["requestState"] = result["requestState"]
        raise Fault(f"{self._name} asked for input {INPUT_ROUNDS} times in a row; the call was given up.")

    async def _answer(self, method: str, params: Any) -> dict[str, Any]:
        """Ask, one question at a time."""
        async with self._turn, asyncio.timeout(self._server.limits.answer_wait):
            return await self._questions.answer(method, params if isinstance(params, dict) else {})

    def _hear(self, envelope: Envelope) -> None:
        """What comes before the answer."""
        if envelope.kind is Kind.REQUEST:
            task = self._server.tasks.start(self._reply(envelope))
            self._asking[envelope.key] = task
            task.add_done_callback(lambda _: self._asking.pop(envelope.key, None))
            return
        params = _params(envelope)
        if envelope.method == PROGRESS:
            self._terminal.progress(params.get("progress"), params.get("total"), params.get("message"))
        elif envelope.method == MESSAGE:
            data = params.get("data")
            said = data if isinstance(data, str) else repr(data)
            self._terminal.say(f"{self._name}: {one_line(params.get('level'))}: {one_line(said)}")
        elif envelope.method == CANCELLED:
            raw = edits.param(envelope, "requestId")
            task = self._asking.get(identify(raw)) if raw is not None else None  # type: ignore[assignment]
            if task is not None:
                self._terminal.say("The question was withdrawn.")
                task.cancel()

    async def _reply(self, envelope: Envelope) -> None:
        """Answer a question of a legacy server."""
        assert self._peer is not None
        id = envelope.id or b"null"
        try:
            self._peer.reply(id, await self._answer(envelope.method, _params(envelope)))
        except Declined as declined:
            is_known = envelope.method == "sampling/createMessage"
            self._peer.refuse(id, _DECLINED if is_known else -32601, str(declined))
        except TimeoutError:
            self._peer.refuse(id, -32603, "The user did not answer in time.")


async def _find(peer: Peer, tool: str) -> Any:
    """The tool's input schema; None where the server does not list its tools, or may have more than it lists now.

    Raises:
        ConfigError: it lists them, and this one is not among them.
    """
    try:
        listed = [decode(item) for item in await list_all(peer, LISTINGS["tools"])]
    except (Refused, RecursionError):
        return None
    tools = {str(each.get("name")): each for each in listed if isinstance(each, dict)}
    if tool in tools:
        return tools[tool].get("inputSchema")
    if not tools or peer.missing:
        return None  # of many servers one is not there: whose tool this is, the proxy says
    near = difflib.get_close_matches(tool, tools, n=3, cutoff=0.5)
    hint = (
        f"Did you mean {' or '.join(map(one_line, near))}?" if near else f"isthmus list names the {len(tools)} it has."
    )
    raise ConfigError(f"There is no tool {tool!r}. {hint}")


def _params(envelope: Envelope) -> dict[str, Any]:
    raw = envelope.members.get("params")
    try:
        value = decode(raw) if raw is not None else {}
    except RecursionError:
        value = {}
    return value if isinstance(value, dict) else {}


def _say_urls(terminal: Terminal, error: dict[str, Any]) -> None:
    """The URLs of an error that asks for a visit first."""
    data = error.get("data")
    listed = data.get("elicitations") if error.get("code") == _URL_NEEDED and isinstance(data, dict) else None
    for each in listed if isinstance(listed, list) else []:
        if isinstance(each, dict):
            terminal.say(f"  {one_line(each.get('message'))}: {one_line(each.get('url'))}")
    if listed:
        terminal.say("  Visit it if you trust it, then call again.")
