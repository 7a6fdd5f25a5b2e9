"""Who answers and who hears: the functions that a user gave to a client. Nothing of the SDK is loaded to hold them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus.client.elicitation import ElicitationHandler
    from isthmus.client.logging import LogHandler
    from isthmus.client.messages import MessageHandlerT
    from isthmus.client.progress import ProgressHandler
    from isthmus.client.roots import RootsHandler, RootsList
    from isthmus.client.sampling import SamplingHandler


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """The functions of a client; None where there is none, and the server is told that it can't ask."""

    roots: "RootsList | RootsHandler | None" = None
    sampling: "SamplingHandler | None" = None
    elicitation: "ElicitationHandler[Any] | None" = None
    log: "LogHandler | None" = None
    message: "MessageHandlerT | None" = None
    progress: "ProgressHandler | None" = None

    def callbacks(self) -> dict[str, Any]:
        """The arguments of the SDK's `Client` that stand for them."""
        from isthmus.client.elicitation import create_elicitation_callback
        from isthmus.client.logging import create_log_callback
        from isthmus.client.messages import heard_by
        from isthmus.client.roots import create_roots_callback
        from isthmus.client.sampling import create_sampling_callback

        found: dict[str, Any] = {"logging_callback": create_log_callback(self.log)}
        if self.message is not None:
            found["message_handler"] = heard_by(self.message)
        if self.roots is not None:
            found["list_roots_callback"] = self._told(create_roots_callback(self.roots), "ListRootsRequest")
        if self.sampling is not None:
            found["sampling_callback"] = self._told(create_sampling_callback(self.sampling), "CreateMessageRequest")
        if self.elicitation is not None:
            found["elicitation_callback"] = self._told(create_elicitation_callback(self.elicitation), "ElicitRequest")
        return found

    def _told(self, answer: Callable[..., Awaitable[Any]], kind: str) -> Callable[..., Awaitable[Any]]:
        """The same answer, of whose question the message handler hears first."""
        hear = self.message
        if hear is None:
            return answer
        from mcp import types

        from isthmus.client.messages import Question
        from isthmus.client.results import readable

        model = getattr(types, kind)

        async def told(context: Any, *params: Any) -> Any:
            await hear(Question(readable(model(params=params[0] if params else None))))
            return await answer(context, *params)

        return told
