"""Functions as prompts: their arguments and messages."""

from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import EmbeddedResource, TextContent, TextResourceContents

from isthmus.components.context import Context
from isthmus.components.local import LocalServer
from isthmus.components.prompts import Message, Prompt, PromptArgument
from isthmus.exceptions import PromptError
from tests.components.ways import every_way, meet, play


async def talk(topic: str, ctx: Context, times: int = 1) -> list[Any]:
    """Talks."""
    return [f"{topic} {times + 1} {ctx.fastmcp.name}", Message("yes", "assistant"), {"a": times}]


def fail(how: str) -> str:
    if how == "said":
        raise PromptError("There is nothing to say.")
    raise RuntimeError("the secret is 42")


@every_way
def test_a_function_is_listed_and_rendered(way: str) -> None:
    async def script() -> None:
        local = LocalServer("local")
        local.add(Prompt.from_function(talk, title="Talk", tags={"t"}))
        async with meet(local, way) as client:
            (listed,) = (await client.list_prompts()).prompts
            assert (listed.name, listed.title, listed.description) == ("talk", "Talk", "Talks.")
            assert listed.meta == {"_fastmcp": {"tags": ["t"]}}
            assert listed.arguments is not None
            topic, times = listed.arguments
            assert (topic.name, topic.required, topic.description) == ("topic", True, None)
            assert (times.name, times.required) == ("times", False)
            assert times.description is not None and '{"type":"integer"}' in times.description
            result = await client.get_prompt("talk", {"topic": "rain", "times": "2"})
            assert result.description == "Talks."
            said = [(each.role, each.content.text) for each in result.messages]  # type: ignore[union-attr]
            assert said == [("user", "rain 3 local"), ("assistant", "yes"), ("user", '{"a":2}')]

    play(script())


@every_way
@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("talk", {}, "Error rendering prompt 'talk': The prompt 'talk' needs the argument 'topic'."),
        ("talk", {"topic": "a", "times": "many"}, "The argument 'times' of the prompt 'talk' is not"),
        ("fail", {"how": "said"}, "There is nothing to say."),
        ("fail", {"how": "else"}, "Error rendering prompt 'fail': the secret is 42"),
        ("none", {}, "Unknown prompt: 'none'"),
    ],
)
def test_what_can_not_be_rendered(way: str, name: str, arguments: dict[str, str], told: str) -> None:
    async def script() -> None:
        local = LocalServer("local")
        local.add(Prompt.from_function(talk))
        local.add(Prompt.from_function(fail))
        async with meet(local, way) as client:
            with pytest.raises(MCPError) as caught:
                await client.get_prompt(name, arguments)
            assert caught.value.error.message.startswith(told)

    play(script())


def test_messages() -> None:
    resource = EmbeddedResource(resource=TextResourceContents(uri="a://b", text="c"))
    assert Message("a").role == "user" and Message("a").content == TextContent(text="a")
    assert Message(resource, "assistant").content == resource


@pytest.mark.parametrize("given", ["[1, 2]", [1, 2]])
def test_what_is_no_text_is_read_as_json(given: Any) -> None:
    def total(numbers: list[int]) -> str:
        return str(sum(numbers))

    async def script() -> None:
        (message,) = await Prompt.from_function(total).render({"numbers": given})
        assert message.content == TextContent(text="3")

    play(script())


def test_one_message_is_enough() -> None:
    async def script() -> None:
        (message,) = await Prompt.from_function(lambda: Message("a", "assistant"), name="one").render()
        assert message.role == "assistant"
        prompt = Prompt(name="p", arguments=[PromptArgument(name="a")])
        with pytest.raises(NotImplementedError):
            await prompt.render()

    play(script())


def test_a_keyword_that_there_is_not_is_refused() -> None:
    wrong: Any = {"titel": "Wrong"}
    with pytest.raises(TypeError, match="titel="):
        Prompt.from_function(talk, **wrong)
