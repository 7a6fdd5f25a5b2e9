"""The rules of a transport. Each is a conversation; its docstring is the rule."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from isthmus.errors import BackUnavailable
from isthmus.protocol.names import CANCELLED, PROGRESS, PROGRESS_KEY
from isthmus.testing.stage import Broken, Era, FarEnd, Near, Stage, inside
from isthmus.wire.envelope import Envelope, Kind, notification_message, request_message, result_message

_CALLS: Final = 100
_MESSAGES: Final = 200
_SILENCE: Final = 0.1
"""For what must not come: seconds in which it would have."""

_VALUES: Final = (
    b'""',
    '"é \U0001f30d \u2028 \u2029 \x7f"'.encode(),
    b'"\\" \\\\ \\b \\f \\n \\r \\t \\u0000 \\u001f \\u00e9 \\ud83c\\udf0d"',
    b"[0,-1,0.5,1e3,9007199254740993,123456789012345678901234567890,true,false,null]",
    '{"":{"data: x":[[],{}]},"ключ":"event: y\\n\\nid: z"}'.encode(),
    b"[" * 50 + b"]" * 50,
)
"""What must come through everywhere."""

_SPELLINGS: Final = (
    b'"\\/ \\u0041 \\u00E9"',
    b'"\\ud800"',
    b"[1.0,1e400,-0,-0.0,1E+2]",
    b'{"a":1,"a":2,"\\u0061":3}',
    b'{ "spaced" : [ 1 , 2 ] }',
    b"[" * 400 + b"]" * 400,
)
"""What comes through where nothing is decoded."""


async def _whole(stage: Stage) -> None:
    """A message arrives whole, however long it is."""
    near = await stage.near()
    largest = stage.terms.largest
    sizes = sorted({min(size, largest) for size in (1, 100, 4096, 65_535, 65_536, 65_537, 300_000, largest)})
    for id, size in enumerate(sizes, 1):
        text = b'{"v":"%b"}' % (b"0123456789abcdef" * (size // 16 + 1))[:size]
        await stage.echo(near, id, text, text)


async def _exact(stage: Stage) -> None:
    """What is in a message means what it meant, and is the same bytes unless the transport says otherwise."""
    near = await stage.near()
    for id, value in enumerate(_VALUES + (_SPELLINGS if stage.terms.exact else ()), 1):
        text = b'{"v":%b}' % value
        await stage.echo(near, id, text, text)


async def _order(stage: Stage) -> None:
    """Messages arrive in the order in which they were sent, and none is lost or doubled."""
    near = await stage.near()
    near.call(1, token="t")
    far, request = await stage.asked()
    await _report(stage, far, request, _MESSAGES)
    await stage.answer(far, request)
    await near.answer(1)
    came = [_number(each) for each in near.heard if each.method == PROGRESS]
    _must_count(came, _MESSAGES, "The client heard of the progress")
    if near.heard[-1].kind is not Kind.ANSWER:
        raise Broken("What was sent before the answer came after it.")
    for number in range(_MESSAGES if stage.terms.ordered else 0):
        near.channel.write(notification_message("notifications/x", {"progress": number}))
    told = [_number((await stage.asked("a notification"))[1]) for _ in range(_MESSAGES if stage.terms.ordered else 0)]
    _must_count(told, len(told), "The server heard")


async def _many(stage: Stage) -> None:
    """Calls that are answered in another order than they were made each get their own answer, once."""
    near = await stage.near()
    for id in range(1, _CALLS + 1):
        near.call(id, b'{"n":%d}' % id)
    asked = [await stage.asked(f"{_CALLS} calls at once") for _ in range(_CALLS)]
    for far, request in reversed(asked):
        await stage.answer(far, request, b'{"of":%b}' % inside(request, "params", "arguments", "n"))
    for id in range(1, _CALLS + 1):
        of = inside(await near.answer(id), "result", "structuredContent", "of")
        if int(of) != id:
            raise Broken(f"Call {id} was answered with what belongs to call {of.decode()}.")


async def _apart(stage: Stage) -> None:
    """Two clients that use the same ids do not hear each other."""
    nears = [await stage.near(), await stage.near()]
    for number, near in enumerate(nears):
        near.call(1, b'{"n":%d}' % number, token="same")
    asked = [await stage.asked("the call of each client") for _ in nears]
    for far, request in reversed(asked):
        await _report(stage, far, request, 3)
        await stage.answer(far, request, b'{"of":%b}' % inside(request, "params", "arguments", "n"))
    for number, near in enumerate(nears):
        of = inside(await near.answer(1), "result", "structuredContent", "of")
        if int(of) != number:
            raise Broken("A client got the answer to the other's call.")
        _must_count([_number(each) for each in near.heard if each.method == PROGRESS], 3, "A client heard")


async def _questions(stage: Stage) -> None:
    """The server may ask in the middle of a call, and each question gets its own answer."""
    near = await stage.near()
    near.call(1)
    far, request = await stage.asked()
    texts = {f"q{n}": f'{{"message":"é \\"{n}\\"","requestedSchema":{{}}}}' for n in (1, 2)}
    for id, params in texts.items():
        await far.send(request_message(json.dumps(id).encode(), "elicitation/create", _raw(params)))
    await near.until(lambda: len(_requests(near)) == 2, "the second of two questions")
    for question, params in reversed(list(zip(_requests(near), texts.values(), strict=True))):
        stage.compare(params.encode(), inside(question, "params"), "a question")
        result = b'{"action":"accept","content":%b}' % inside(question, "params")
        near.channel.write(result_message(question.id or b"null", _raw(result)))
    for _ in list(texts):
        _, answer = await stage.asked("the answer to a question")
        if answer.kind is not Kind.ANSWER or answer.key not in texts:
            raise Broken(f"The server, waiting for answers to {list(texts)}, received {answer!r}.")
        stage.compare(texts.pop(str(answer.key)).encode(), inside(answer, "result", "content"), "an answer")
    await stage.answer(far, request)
    await near.answer(1)


async def _cancel(stage: Stage) -> None:
    """A cancellation reaches the server and names the call there; others go on."""
    near = await stage.near()
    near.call(1)
    near.call(2)
    asked = [await stage.asked() for _ in range(2)]
    near.channel.write(notification_message(CANCELLED, {"requestId": 1}))
    _, told = await stage.asked("the cancellation")
    named = json.loads(inside(told, "params", "requestId"))
    keys = [request.key for _, request in asked]
    if told.method != CANCELLED or named not in keys:
        raise Broken(f"The server, which has the calls {keys}, received {told!r} about {named!r}.")
    far, other = asked[1 - keys.index(named)]
    await stage.answer(far, other)
    await near.answer(2)
    if near.answers(1):
        raise Broken("The cancelled call was answered.")


async def _end(stage: Stage) -> None:
    """When the server's end is gone, whoever waits hears so at once, in a sentence; the next connection is as good."""
    near = await stage.near()
    ids = (1, 2)
    for id in ids:
        near.call(id)
    asked = [await stage.asked() for _ in ids]
    await asked[0][0].close()
    await near.until(
        lambda: near.ends or all(near.answers(id) for id in ids), "word of the end, lost or errors for all calls,"
    )
    whys = near.ends or [json.loads(inside(near.answers(id)[0], "error", "message")) for id in ids]
    if not all(len(why) > 10 and " " in why.strip() for why in whys):
        raise Broken(f"What is said about it is no sentence: {whys}.")
    if near.ends:
        _must_be_dead(near, "lost")
    again = await stage.near()
    await stage.echo(again, 1, b"{}", b"{}")


async def _stop(stage: Stage) -> None:
    """`stop` ends the channel in bounded time, however often it is called, and the server's end learns of it."""
    near = await stage.near()
    await stage.echo(near, 1, b"{}", b"{}")
    async with stage.within("stop's return"):
        await asyncio.gather(near.channel.stop(), near.channel.stop())
        await near.channel.stop()
    near.is_stopped = True
    _must_be_dead(near, "stop")
    await near.until(lambda: near.ends, "a call of lost, which stop causes too,")
    if stage.terms.era == "legacy":
        async with stage.within("the end at the far end"):
            await stage.gone.wait()


async def _busy(stage: Stage) -> None:
    """`stop` ends a channel on which much is said, and nothing is heard after it."""
    near = await stage.near()
    near.call(1, token="t")
    near.call(2, token="u")
    (far, request), _ = await stage.asked(), await stage.asked()  # whichever came first

    async def flood() -> None:
        with suppress(Exception):  # the far end may say that nobody is there any more
            while True:
                await _report(stage, far, request, 10)
                await asyncio.sleep(0)

    stage.start(flood())
    await near.until(lambda: any(each.method == PROGRESS for each in near.heard), "the first progress")
    async with stage.within("stop's return"):
        await near.channel.stop()
    near.is_stopped = True
    await asyncio.sleep(_SILENCE)


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold, in which eras, and the conversation that shows it."""

    check: Callable[[Stage], Awaitable[None]]
    eras: tuple[Era, ...] = ("legacy", "modern")

    @property
    def says(self) -> str:
        """The rule."""
        return " ".join((self.check.__doc__ or "").split())


RULES: Final = {
    "whole": Rule(_whole),
    "exact": Rule(_exact),
    "order": Rule(_order),
    "many": Rule(_many),
    "apart": Rule(_apart),
    "questions": Rule(_questions, ("legacy",)),
    "cancel": Rule(_cancel),
    "end": Rule(_end),
    "stop": Rule(_stop),
    "busy": Rule(_busy),
}
"""Every rule by its name. In the modern era a server asks nothing, so there are no questions to carry."""


def _raw(text: str | bytes) -> Any:
    from msgspec import Raw

    return Raw(text.encode() if isinstance(text, str) else text)


async def _report(stage: Stage, far: FarEnd, request: Envelope, times: int) -> None:
    token = _raw(inside(request, "params", "_meta", PROGRESS_KEY))
    for number in range(times):
        await far.send(notification_message(PROGRESS, {PROGRESS_KEY: token, "progress": number}))


def _number(envelope: Envelope) -> int:
    return int(float(inside(envelope, "params", "progress")))


def _requests(near: Near) -> list[Envelope]:
    return [each for each in near.heard if each.kind is Kind.REQUEST]


def _must_count(numbers: list[int], times: int, who: str) -> None:
    wanted = list(range(times))
    if numbers != wanted:
        at = next(
            (n for n, (one, other) in enumerate(zip(numbers, wanted, strict=False)) if one != other), len(numbers)
        )
        raise Broken(f"{who} {len(numbers)} messages out of {times}, and from the {at + 1}. on {numbers[at:][:5]}.")


def _must_be_dead(near: Near, after: str) -> None:
    if near.channel.is_alive:
        raise Broken(f"After {after} the channel says that it is alive.")
    try:
        near.call(99)
    except BackUnavailable:
        return
    raise Broken(f"After {after}, write takes a message where it must raise BackUnavailable.")
