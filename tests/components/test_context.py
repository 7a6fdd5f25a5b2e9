"""What functions can do with the request that they run for."""

import asyncio
import contextlib
import enum
from dataclasses import dataclass
from typing import Any, Literal, cast

import mcp.types as types
import pytest
from mcp.types import TextContent

from isthmus.components.context import Context, get_context, get_http_headers, get_http_request, http_headers
from isthmus.components.elicitation import AcceptedElicitation, Form
from isthmus.components.local import LocalServer
from isthmus.components.prompts import Prompt
from isthmus.components.resources import Resource
from isthmus.components.templates import ResourceTemplate
from isthmus.components.tools import Tool
from tests.components.ways import WAYS, every_way, meet, play, text
from tests.limits_watch import watched

modern_ways = pytest.mark.parametrize("way", [way for way in WAYS if way.endswith("modern")])


@dataclass
class Person:
    name: str
    age: int = 0


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Asked:
    """A client's handlers; `heard` is what they were asked and told."""

    def __init__(self, content: Any = None, action: Any = "accept") -> None:
        self.heard: list[Any] = []
        self._content = content
        self._action = action

    def handlers(self) -> dict[str, Any]:
        return {
            "elicitation_callback": self.elicit,
            "sampling_callback": self.sample,
            "list_roots_callback": self.roots,
            "logging_callback": self.log,
        }

    async def elicit(self, _: Any, params: Any) -> types.ElicitResult:
        self.heard.append((params.message, params.requested_schema))
        content = self._content(params.message) if callable(self._content) else self._content
        return types.ElicitResult(action=self._action, content=content)

    async def sample(self, _: Any, params: Any) -> types.CreateMessageResult:
        self.heard.append(params)
        return types.CreateMessageResult(role="assistant", content=TextContent(text="so it is"), model="m")

    async def roots(self, _: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///here")])  # type: ignore[arg-type]

    async def log(self, params: Any) -> None:
        self.heard.append((params.level, params.logger, params.data))


@every_way
def test_the_user_is_asked(way: str) -> None:
    async def ask(ctx: Context) -> str:
        chosen = await ctx.elicit("Which?", ["red", "green"])
        many = await ctx.elicit("How many?", int)
        who = await ctx.elicit("Who?", Person)
        assert isinstance(chosen, AcceptedElicitation) and isinstance(who, AcceptedElicitation)
        assert isinstance(many, AcceptedElicitation)
        return f"{many.data} {chosen.data} for {who.data.name}, {who.data.age}"

    answers = {"Which?": {"value": "red"}, "How many?": {"value": 3}, "Who?": {"name": "Ada"}}

    async def script() -> None:
        local, asked = LocalServer("local"), Asked(lambda message: answers[message])
        local.add(Tool.from_function(ask))
        async with meet(local, way, **asked.handlers()) as client:
            assert text(await client.call_tool("ask", {})) == "3 red for Ada, 0"
        assert [message for message, _ in asked.heard] == ["Which?", "How many?", "Who?"]
        assert asked.heard[0][1]["properties"]["value"]["enum"] == ["red", "green"]

    play(script())


@every_way
@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_the_user_says_no(way: str, action: str) -> None:
    async def ask(ctx: Context) -> str:
        return (await ctx.elicit("May I?", None)).action

    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(ask))
        async with meet(local, way, **Asked(None, action).handlers()) as client:
            assert text(await client.call_tool("ask", {})) == action

    play(script())


@every_way
def test_the_model_and_the_roots_are_asked(way: str) -> None:
    async def ask(ctx: Context) -> str:
        said = await ctx.sample(["Is it?"], system_prompt="Be brief.", model_preferences="small")
        return f"{said.text}, {(await ctx.list_roots())[0].uri}"

    async def script() -> None:
        local, asked = LocalServer("local"), Asked()
        local.add(Tool.from_function(ask))
        async with meet(local, way, **asked.handlers()) as client:
            assert text(await client.call_tool("ask", {})) == "so it is, file:///here"
        (params,) = asked.heard
        assert (params.system_prompt, params.max_tokens) == ("Be brief.", 512)
        assert params.messages[0].content.text == "Is it?"
        assert params.model_preferences.hints[0].name == "small"

    play(script())


@every_way
def test_questions_together(way: str) -> None:
    async def ask(ctx: Context) -> str:
        both = await asyncio.gather(ctx.elicit("a", str), ctx.elicit("b", str))
        return " ".join(each.data for each in both if isinstance(each, AcceptedElicitation))

    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(ask))
        asked = Asked(lambda message: {"value": message.upper()})
        async with meet(local, way, **asked.handlers()) as client:
            assert text(await client.call_tool("ask", {})) == "A B"

    play(script())


@every_way
def test_resources_and_prompts_ask_too(way: str) -> None:
    async def ask(ctx: Context) -> str:
        answer = await ctx.elicit("Who?", str)
        return f"by {answer.data}" if isinstance(answer, AcceptedElicitation) else "by nobody"

    async def made(ctx: Context, what: str) -> str:
        return f"{what} {await ask(ctx)}"

    async def script() -> None:
        local = LocalServer("local")
        local.add(Resource.from_function(ask, "note://one"))
        local.add(ResourceTemplate.from_function(made, "note://of/{what}"))
        local.add(Prompt.from_function(ask))
        async with meet(local, way, **Asked({"value": "Ada"}).handlers()) as client:
            read = [await client.read_resource(uri) for uri in ("note://one", "note://of/it")]
            assert [each.contents[0].text for each in read] == ["by Ada", "it by Ada"]  # type: ignore[union-attr]
            (message,) = (await client.get_prompt("ask")).messages
            assert message.content == TextContent(text="by Ada")

    play(script())


@every_way
def test_a_client_that_can_not_be_asked_is_not(way: str) -> None:
    async def ask(ctx: Context) -> str:
        return str(await ctx.elicit("Who?", str))

    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(ask))
        async with meet(local, way) as client:
            result = await client.call_tool("ask", {})
            assert result.is_error and "can't be asked for elicitation" in text(result)

    play(script())


@every_way
@pytest.mark.filterwarnings("ignore:The logging capability is deprecated")
def test_words_on_the_way(way: str) -> None:
    told: list[Any] = []

    async def work(ctx: Context) -> str:
        await ctx.debug("one")
        await ctx.info("two", logger_name="worker", extra={"n": 2})
        await ctx.warning("three")
        await ctx.error("four")
        await ctx.report_progress(1, 2, "half")
        return ctx.request_id

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async def script() -> None:
        local, asked = LocalServer("local"), Asked()
        local.add(Tool.from_function(work))
        more = {"log_level": "info"} if way.endswith("modern") else {}
        async with meet(local, way, **asked.handlers(), **more) as client:
            if way.endswith("legacy"):
                await client.set_logging_level("info")
            result = await client.call_tool("work", {}, progress_callback=progress)
            assert not result.is_error
        assert [(level, data["msg"]) for level, _, data in asked.heard] == [
            ("info", "two"),
            ("warning", "three"),
            ("error", "four"),
        ]
        assert asked.heard[0][1:] == ("worker", {"msg": "two", "extra": {"n": 2}})
        assert told == [(1, 2, "half")]

    play(script())


@every_way
def test_it_is_the_current_one_around_user_code_only(way: str) -> None:
    async def nested(ctx: Context) -> str:
        ctx.set_state("a", [1])
        async with Context(ctx.fastmcp) as inner:
            assert get_context() is inner and inner.get_state("a") == [1]
            inner.get_state("a").append(2)
        assert get_context() is ctx and ctx.get_state("a") == [1] and ctx.get_state("b") is None
        (read,) = await ctx.read_resource("note://one")
        return f"{read.content!r} {ctx.session_id == ctx.session_id} {ctx.client_id}"

    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(nested))
        local.add(Resource.from_function(lambda: "1", "note://one", name="one"))
        async with meet(local, way) as client:
            result = await client.call_tool("nested", {}, meta=cast(Any, {"client_id": "me"}))
            assert text(result) == "'1' True me"
            with pytest.raises(RuntimeError, match="no Context here"):
                get_context()

    play(script())


@pytest.mark.parametrize(("way", "is_same"), [("itself-legacy", True), ("itself-modern", False)])
def test_a_session_has_an_id_where_there_is_a_session(way: str, is_same: bool) -> None:
    def who(ctx: Context) -> str:
        return ctx.session_id

    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(who))
        async with meet(local, way) as client, meet(local, way) as other:
            ids = [text(await each.call_tool("who", {})) for each in (client, client, other)]
        assert (ids[0] == ids[1]) is is_same and ids[1] != ids[2]

    play(script())


@every_way
def test_a_function_knows_the_headers(way: str) -> None:
    def who() -> str:
        return get_http_headers()["authorization"]

    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(who))
        local.headers_of = lambda request: {"Authorization": f"for {request.method}"}
        async with meet(local, way) as client:
            assert text(await client.call_tool("who", {})) == "for tools/call"

    play(script())


def test_headers_of_the_request() -> None:
    assert get_http_headers() == {}
    with http_headers({"Host": "here", "Authorization": "Bearer x", "Mcp-Session-Id": "1"}):
        assert get_http_headers() == {"authorization": "Bearer x"}
        assert get_http_headers(include_all=True)["host"] == "here"
    assert get_http_headers() == {}
    with pytest.raises(RuntimeError):
        get_http_request()


def test_a_context_without_a_request() -> None:
    async def script() -> None:
        ctx = Context(None)
        with pytest.raises(ValueError, match="no request"):
            _ = ctx.request_context
        with pytest.raises(ValueError, match="no client"):
            await ctx.list_roots()
        with pytest.raises(ValueError, match="no client"):
            await ctx.send_tool_list_changed()

    play(script())


FORMS: list[tuple[Any, Any, Any]] = [
    (str, {"value": "a"}, "a"),
    (bool, {"value": True}, True),
    (Literal["a", "b"], {"value": "b"}, "b"),
    (Colour, {"value": "red"}, Colour.RED),
    (["a", "b"], {"value": "a"}, "a"),
    (Person, {"name": "Ada", "age": 3}, Person("Ada", 3)),
    (None, None, {}),
]


@pytest.mark.parametrize(("wanted", "content", "value"), FORMS)
def test_forms(wanted: Any, content: Any, value: Any) -> None:
    form = Form(wanted)
    assert form.schema["type"] == "object"
    assert form.read(types.ElicitResult(action="accept", content=content)).data == value


def test_forms_that_can_not_be() -> None:
    @dataclass
    class Nested:
        who: Person

    with pytest.raises(TypeError, match="field 'who'"):
        Form(Nested)
    with pytest.raises(TypeError, match="plain fields"):
        Form(list[int])
    with pytest.raises(ValueError, match="texts"):
        Form([1, 2])
    with pytest.raises(ValueError):
        Form(int).read(types.ElicitResult(action="accept", content={"value": "many"}))
    with pytest.raises(ValueError, match="yes or no"):
        Form(None).read(types.ElicitResult(action="accept", content={"value": "many"}))


@every_way
def test_words_after_an_answer_go_to_the_request_that_brought_it(way: str) -> None:
    told: list[float] = []

    async def ask(ctx: Context) -> str:
        before = ctx.request_id
        await ctx.elicit("Who?", str)
        await ctx.report_progress(1)
        await ctx.info("on")
        return f"{before == ctx.request_id}"

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async def script() -> None:
        local, asked = LocalServer("local"), Asked({"value": "Ada"})
        local.add(Tool.from_function(ask))
        more = {"log_level": "info"} if way.endswith("modern") else {}
        async with meet(local, way, **asked.handlers(), **more) as client:
            result = await client.call_tool("ask", {}, progress_callback=progress)
            assert text(result) == str(way.endswith("legacy"))
        assert told == [1] and asked.heard[-1][2]["msg"] == "on"

    play(script())


def test_no_wait_on_a_client_is_without_a_limit() -> None:
    async def ask(ctx: Context) -> str:
        await ctx.info("asking")
        return (await ctx.elicit("Which?", ["red"])).action

    async def script() -> None:
        for way in WAYS:
            local = LocalServer("local")
            local.add(Tool.from_function(ask))
            async with asyncio.timeout(20), meet(local, way, **Asked({"value": "red"}).handlers()) as client:
                assert text(await client.call_tool("ask", {})) == "accept"

    watch = watched(script)
    assert "Turns._until_asked" in watch.seen and "Turns.ask" in watch.seen and not watch.unlimited


# -- calls that wait for answers --------------------------------------------------------------------------------------


def test_a_retry_of_nothing_is_refused() -> None:
    async def ask(ctx: Context) -> str:
        return str(await ctx.elicit("Who?", str))

    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(ask))
        local.add(Tool.from_function(ask, name="other"))
        async with meet(local, "itself-modern", **Asked().handlers()) as client:
            first = await client.session.call_tool("ask", {}, allow_input_required=True)
            assert isinstance(first, types.InputRequiredResult) and first.request_state
            for name, state in (("ask", "made up"), ("other", first.request_state)):
                with pytest.raises(Exception, match="no longer waited for"):
                    await client.session.call_tool(name, {}, request_state=state, allow_input_required=True)
            again = await client.session.call_tool(
                "ask", {}, request_state=first.request_state, allow_input_required=True
            )
            assert isinstance(again, types.InputRequiredResult)
            assert again.request_state != first.request_state
            assert again.input_requests == first.input_requests

    play(script())


def test_what_nobody_answers_is_given_up() -> None:
    ended = asyncio.Event()

    async def ask(ctx: Context) -> str:
        try:
            return str(await ctx.elicit("Who?", str))
        finally:
            ended.set()

    async def script() -> None:
        local = LocalServer("local")
        local.turns.wait = 0.05
        local.add(Tool.from_function(ask))
        async with meet(local, "itself-modern", **Asked().handlers()) as client:
            await client.session.call_tool("ask", {}, allow_input_required=True)
            await ended.wait()

    play(script())


@modern_ways
def test_a_call_that_is_cancelled_ends_its_function(way: str) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(hang))
        async with meet(local, way) as client:
            call = asyncio.ensure_future(client.call_tool("hang", {}))
            await started.wait()
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
            await ended.wait()

    play(script())
