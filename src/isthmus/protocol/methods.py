"""One row per method: who may send it, in which eras, what routes it. An unknown method has the default row: relay.

Source: the `ClientRequest`, `ServerRequest` and notification unions of each revision's schema.
"""

from typing import Final, NamedTuple

from isthmus.protocol.versions import Era


class Method(NamedTuple):
    """What the proxy knows of a method.

    `eras`: where it is defined; a method in no schema is defined everywhere. `routed`: the member of `params` that
    names the thing, mirrored in `Mcp-Name`. `may_ask`: whether the server may ask the client in the middle of it.
    `is_repeatable`: whether sending it twice does no harm. `is_endless`: whether it ends only with its client.
    `listed`: the member of the result that is a list in pages.
    """

    name: str
    eras: tuple[Era, ...] = (Era.LEGACY, Era.MODERN)
    routed: str | None = None
    may_ask: bool = False
    is_repeatable: bool = False
    is_endless: bool = False
    listed: str | None = None


_BOTH: Final = (Era.LEGACY, Era.MODERN)
_LEGACY: Final = (Era.LEGACY,)
_MODERN: Final = (Era.MODERN,)

METHODS: Final[dict[str, Method]] = {
    row.name: row
    for row in (
        Method("initialize", _LEGACY),
        Method("ping", _LEGACY, is_repeatable=True),
        Method("server/discover", _MODERN, is_repeatable=True),
        Method("tools/list", is_repeatable=True, listed="tools"),
        Method("tools/call", routed="name", may_ask=True),
        Method("resources/list", is_repeatable=True, listed="resources"),
        Method("resources/templates/list", is_repeatable=True, listed="resourceTemplates"),
        Method("resources/read", routed="uri", may_ask=True, is_repeatable=True),
        Method("resources/subscribe", _LEGACY, is_repeatable=True),
        Method("resources/unsubscribe", _LEGACY, is_repeatable=True),
        Method("prompts/list", is_repeatable=True, listed="prompts"),
        Method("prompts/get", routed="name", may_ask=True, is_repeatable=True),
        Method("completion/complete", is_repeatable=True),
        Method("logging/setLevel", _LEGACY, is_repeatable=True),
        Method("subscriptions/listen", _MODERN, is_endless=True),
        Method("tasks/get", is_repeatable=True),
        Method("tasks/result", _LEGACY, is_repeatable=True, may_ask=True),
        Method("tasks/list", _LEGACY, is_repeatable=True),
        Method("tasks/cancel"),
        Method("tasks/update", _MODERN),
        Method("sampling/createMessage", _LEGACY),
        Method("elicitation/create", _LEGACY),
        Method("roots/list", _LEGACY, is_repeatable=True),
    )
}


def row_of(method: str) -> Method:
    """The row of a method; the default row under its name where no schema has it."""
    return METHODS.get(method) or Method(method)
