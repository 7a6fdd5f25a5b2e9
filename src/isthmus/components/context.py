"""`Context`: what a function of a component can do with the request it runs for.

It is in a context variable while the user's code runs, and only then; nothing that relays messages reads one.
"""

import copy
import uuid
import warnings
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token  # noqa: TID251 around user code only
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

from mcp.server.connection import allowed_log_levels
from mcp.types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    ListRootsRequest,
    ListRootsResult,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
    ModelHint,
    ModelPreferences,
    Root,
    SamplingMessage,
    TextContent,
)

from isthmus.client.results import readable
from isthmus.components.component import Kind
from isthmus.components.elicitation import (
    AcceptedElicitation,
    CancelledElicitation,
    DeclinedElicitation,
    Form,
)

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel.helper_types import ReadResourceContents
    from mcp.server.session import ServerSession

T = TypeVar("T")
Level = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
Question = ElicitRequest | CreateMessageRequest | ListRootsRequest
_LEVELS: tuple[Level, ...] = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_MAX_TOKENS = 512
_NOT_HANDED_ON = frozenset(
    (
        *("host", "content-length", "connection", "transfer-encoding", "upgrade", "te", "keep-alive", "expect"),
        *("accept", "proxy-authenticate", "proxy-authorization", "proxy-connection", "mcp-session-id"),
    )
)

_current: ContextVar["Context | None"] = ContextVar("isthmus.context", default=None)
_headers: ContextVar[Mapping[str, str] | None] = ContextVar("isthmus.headers", default=None)


class Port(Protocol):
    """The way from a function to the client of its call."""

    level: Level
    """The least level of log messages that the client asked for."""

    async def ask(self, context: "Context", question: Question, answer: type[T]) -> T:
        """Ask the client in a call, and wait for its answer, which is to be of a type."""

    def tell(self, kind: Kind) -> None:
        """Say that what is listed of a kind is other than before."""


class Context:
    """What a function can do with the request that it runs for. It is given to a parameter of this type.

    Args:
        fastmcp: the server whose component runs.
        request_context: the request, as the SDK has it; None outside of one.
        port: the way to the client.
        session_id: the session's id, where there is a session.
    """

    def __init__(
        self,
        fastmcp: Any,
        request_context: "ServerRequestContext[Any, Any] | None" = None,
        port: Port | None = None,
        session_id: str | None = None,
    ) -> None:
        self.fastmcp = fastmcp
        self._request = request_context
        self._port = port
        self._session_id = session_id
        self._state: dict[str, Any] = {}
        self._tokens: list[Token[Context | None]] = []

    async def __aenter__(self) -> "Context":
        """Make it the current one; what the one around it knows, it knows too."""
        if (around := _current.get()) is not None:
            self._state = copy.deepcopy(around._state)
        self._tokens.append(_current.set(self))
        return self

    async def __aexit__(self, *_: object) -> None:
        _current.reset(self._tokens.pop())

    def go_on(self, request: "ServerRequestContext[Any, Any]") -> None:
        """The call was made again, with the answers: what is said and asked from now on goes to that request."""
        self._request = request

    # -- the request --------------------------------------------------------------------------------------------------

    @property
    def request_context(self) -> "ServerRequestContext[Any, Any]":
        """The request, as the SDK has it; of a call that was asked on the way, the one that came last.

        Raises:
            ValueError: there is none.
        """
        if self._request is None:
            raise ValueError("There is no request here: a Context has one while a tool, resource or prompt runs.")
        return self._request

    @property
    def session(self) -> "ServerSession":
        """The SDK's session, for what is not offered here."""
        return self.request_context.session

    @property
    def request_id(self) -> str:
        """The request's id."""
        return str(self.request_context.request_id)

    @property
    def client_id(self) -> str | None:
        """What the client calls itself in the request's `_meta`, as `client_id`."""
        said = (self.request_context.meta or {}).get("client_id")
        return said if isinstance(said, str) else None

    @property
    def session_id(self) -> str:
        """An id of the session: the transport's, or one that was made up. Modern requests have no session: each gets
        one of its own."""
        if self._session_id is None:
            headers = getattr(self.request_context.request, "headers", None) or {}
            self._session_id = headers.get("mcp-session-id") or str(uuid.uuid4())
        return self._session_id

    def get_http_request(self) -> Any:
        """The HTTP request, where the SDK's HTTP server serves this one; `get_http_headers` knows more.

        Raises:
            RuntimeError: there is none.
        """
        warnings.warn("Use get_http_request() of isthmus instead.", DeprecationWarning, stacklevel=2)
        return get_http_request()

    # -- words to the client ------------------------------------------------------------------------------------------

    async def log(
        self,
        message: str,
        level: Level | None = None,
        logger_name: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Send a log message to the client, if it wants messages of this level.

        Args:
            message: the text, sent as `msg` of the data.
            level: info if not given.
            logger_name: who logs.
            extra: more for the data, sent as its `extra`.
        """
        level, request = level or "info", self.request_context
        wanted = _LEVELS.index(level) >= _LEVELS.index(self._port.level if self._port is not None else "debug")
        if not wanted or level not in allowed_log_levels(request.protocol_version, request.meta):
            return
        data = {"msg": message, "extra": dict(extra) if extra is not None else None}
        params = LoggingMessageNotificationParams(level=level, data=data, logger=logger_name)
        await self.session.send_notification(LoggingMessageNotification(params=params), request.request_id)

    async def debug(self, message: str, logger_name: str | None = None, extra: Mapping[str, Any] | None = None) -> None:
        """As `log`, with level debug."""
        await self.log(message, "debug", logger_name, extra)

    async def info(self, message: str, logger_name: str | None = None, extra: Mapping[str, Any] | None = None) -> None:
        """As `log`, with level info."""
        await self.log(message, "info", logger_name, extra)

    async def warning(
        self, message: str, logger_name: str | None = None, extra: Mapping[str, Any] | None = None
    ) -> None:
        """As `log`, with level warning."""
        await self.log(message, "warning", logger_name, extra)

    async def error(self, message: str, logger_name: str | None = None, extra: Mapping[str, Any] | None = None) -> None:
        """As `log`, with level error."""
        await self.log(message, "error", logger_name, extra)

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far it is, if the client asked to be told: `progress` of `total` (if known), and a `message`."""
        await self.session.report_progress(progress, total, message)

    async def send_tool_list_changed(self) -> None:
        """Say that the tools are others than before."""
        self._changed("tools")

    async def send_resource_list_changed(self) -> None:
        """Say that the resources are others than before."""
        self._changed("resources")

    async def send_prompt_list_changed(self) -> None:
        """Say that the prompts are others than before."""
        self._changed("prompts")

    def _changed(self, kind: Kind) -> None:
        if self._port is None:
            raise ValueError("There is no client to be told here.")
        self._port.tell(kind)

    # -- questions to the client --------------------------------------------------------------------------------------

    async def ask(self, question: Question, answer: type[T]) -> T:
        """Ask the client, and wait for its answer.

        Args:
            question: the SDK's request.
            answer: the SDK's type of its result.

        Raises:
            ValueError: there is no client here.
            McpError: the client can't be asked this, or answered with an error.
        """
        if self._port is None:
            raise ValueError("There is no client to be asked here.")
        return readable(await self._port.ask(self, question, answer))

    async def list_roots(self) -> list[Root]:
        """The client's roots."""
        return (await self.ask(ListRootsRequest(), ListRootsResult)).roots

    async def sample(
        self,
        messages: str | Sequence[str | SamplingMessage],
        system_prompt: str | None = None,
        include_context: Literal["none", "thisServer", "allServers"] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        model_preferences: ModelPreferences | str | list[str] | None = None,
    ) -> Any:
        """Let the client's model answer, and give its content block.

        Args:
            messages: a text, or texts and messages.
            system_prompt: what the model is told first.
            include_context: whose context the client adds.
            temperature: as the model has it.
            max_tokens: at most this long; 512 if not given.
            model_preferences: preferences, or the names of models.
        """
        said = [messages] if isinstance(messages, str) else messages
        params = CreateMessageRequestParams(
            messages=[
                SamplingMessage(role="user", content=TextContent(text=each)) if isinstance(each, str) else each
                for each in said
            ],
            system_prompt=system_prompt,
            include_context=include_context,
            temperature=temperature,
            max_tokens=max_tokens if max_tokens is not None else _MAX_TOKENS,
            model_preferences=_preferences(model_preferences),
        )
        return (await self.ask(CreateMessageRequest(params=params), CreateMessageResult)).content

    @overload
    async def elicit(
        self, message: str, response_type: None = None
    ) -> AcceptedElicitation[dict[str, Any]] | DeclinedElicitation | CancelledElicitation: ...

    @overload
    async def elicit(
        self, message: str, response_type: type[T]
    ) -> AcceptedElicitation[T] | DeclinedElicitation | CancelledElicitation: ...

    @overload
    async def elicit(
        self, message: str, response_type: list[str]
    ) -> AcceptedElicitation[str] | DeclinedElicitation | CancelledElicitation: ...

    async def elicit(self, message: str, response_type: Any = None) -> Any:
        """Ask the client's user.

        Args:
            message: what is asked.
            response_type: what is to be answered: a dataclass, a model or a `TypedDict` of plain fields, a plain type,
                a `Literal`, an enum, or a list of the texts to choose from; None for yes or no alone.

        Raises:
            TypeError: a form can't have such fields.
            ValueError: the answer is not of this type.
        """
        form = Form(response_type)
        params = ElicitRequestFormParams(message=message, requested_schema=form.schema)
        return form.read(await self.ask(ElicitRequest(params=params), ElicitResult))

    # -- the server ---------------------------------------------------------------------------------------------------

    async def read_resource(self, uri: str) -> "list[ReadResourceContents]":
        """What a resource of this server contains.

        Args:
            uri: the resource's, or one that a template makes.

        Raises:
            NotFoundError: it has no such resource.
        """
        found: list[ReadResourceContents] = await self.fastmcp._mcp_read_resource(str(uri))
        return found

    def set_state(self, key: str, value: Any) -> None:
        """Keep a `value` under a `key` for as long as the request lasts."""
        self._state[key] = value

    def get_state(self, key: str) -> Any:
        """What was kept under a `key`; None if nothing was."""
        return self._state.get(key)


def _preferences(given: ModelPreferences | str | list[str] | None) -> ModelPreferences | None:
    if given is None or isinstance(given, ModelPreferences):
        return given
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise ValueError("model_preferences wants ModelPreferences, a model's name, or a list of names.")
    return ModelPreferences(hints=[ModelHint(name=each) for each in names])


# -- anywhere in user code --------------------------------------------------------------------------------------------


def get_context() -> Context:
    """The `Context` of the request for which this code runs.

    Raises:
        RuntimeError: it runs for none.
    """
    if (context := _current.get()) is None:
        raise RuntimeError("There is no Context here: it exists while a tool, resource or prompt runs.")
    return context


def get_http_request() -> Any:
    """The HTTP request for which this code runs, where the SDK's HTTP server serves it.

    Raises:
        RuntimeError: it runs for none.
    """
    context = _current.get()
    request = context._request.request if context is not None and context._request is not None else None
    if request is None:
        raise RuntimeError("There is no HTTP request here.")
    return request


def get_http_headers(include_all: bool = False) -> dict[str, str]:
    """The headers of the HTTP request for which this code runs, with names in small letters; none outside of one.

    Args:
        include_all: also those that are of no use in another request, such as Host and Content-Length.
    """
    headers = _headers.get()
    if headers is None:
        try:
            headers = get_http_request().headers
        except RuntimeError:
            return {}
    named = {name.lower(): str(value) for name, value in headers.items()}
    return named if include_all else {name: value for name, value in named.items() if name not in _NOT_HANDED_ON}


class http_headers:
    """While it is entered, these are the headers that `get_http_headers` finds."""

    def __init__(self, headers: Mapping[str, str] | None) -> None:
        self._given = headers

    def __enter__(self) -> None:
        self._token = _headers.set(self._given)

    def __exit__(self, *_: object) -> None:
        _headers.reset(self._token)
