"""The short way of a modern call over HTTP: no task waits for the answer, the connection hands it straight over.

It is for the ordinary case: a back that is known to be modern, a connection that was kept, an answer in one piece.
Whatever turns out otherwise goes on as the coroutine that it would have been (`modern.settle`): a stream of events, a
redirect, a connection that was stale.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from isthmus.engine.modern import ModernCall, header_lines, settle
from isthmus.errors import BackFault, Fault, fault_of
from isthmus.protocol.judge import ModernRequest
from isthmus.transports.http_back import post_modern, read_answer, read_modern
from isthmus.transports.http_client import REDIRECTING
from isthmus.transports.http_response import EventStream, Failure, Response
from isthmus.types import Port

if TYPE_CHECKING:
    from isthmus.engine.back import Back
    from isthmus.transports.http_client import HttpClient
    from isthmus.transports.http_stream import Connection


class ExpressCall(ModernCall):
    """A modern call that is itself what the connection's outcome is given to."""

    __slots__ = ("_began", "_connection", "_extra", "_is_over", "_stream", "_text")

    def __init__(self, back: "Back", request: ModernRequest, port: Port, headers: Mapping[str, str]) -> None:
        super().__init__(back, request, port)
        self._extra = header_lines(back, request, headers)
        self._text = request.write(self.id)
        self._connection: Connection | None = None
        self._stream: EventStream | None = None
        self._is_over = False
        self._began = back.deadlines.now()

    def start(self, client: "HttpClient") -> bool:
        """Send it, if a connection is there; whether it was sent."""
        limits = self.back.limits
        self._connection = client.start(self._extra, self._text, self)
        if self._connection is None:
            return False
        if not self._is_over:
            self.expires = self._began + limits.call_most
            self.back.deadlines.watch(self, self._began + limits.call)
        return True

    def leave(self) -> None:
        """The client is gone: closing the connection is the protocol's cancellation."""
        self.back.deadlines.forget(self)
        if self._stream is not None:
            self._stream.close()  # a task that has not begun yet would not
        if self.task is not None:
            self.task.cancel()
        elif not self._is_over and self._connection is not None:
            self._is_over = True
            self._connection.abandon(self)

    def expire(self) -> None:
        if self.task is not None:
            super().expire()
        elif not self._is_over and self._connection is not None:
            self._is_over = True
            self._connection.abandon(self)
            self.expired(self._began)

    def done(self) -> bool:
        """Whether nobody waits any more (`http_stream.Waiter`)."""
        return self._is_over

    def set_result(self, outcome: Response | Failure, /) -> None:
        """What became of the request (`http_stream.Waiter`)."""
        if self._is_over:
            return
        self._is_over = True
        self.back.deadlines.forget(self)
        try:
            if type(outcome) is Response and outcome.stream is None and outcome.status not in REDIRECTING:
                read_answer(self.back.name, self, outcome)
            else:
                self._stream = outcome.stream if type(outcome) is Response else None
                self.task = self.back.tasks.start(self._go_on(outcome))
        except Fault as fault:
            self.back.failed(fault)
            self.fail(fault)
        except Exception as error:
            self.fail(fault_of(error))

    async def _go_on(self, outcome: Response | Failure) -> None:
        """As a coroutine, under the same deadline."""
        self.back.deadlines.watch(self, self.deadline)
        await settle(self.back, self, self._rest(outcome))

    async def _rest(self, outcome: Response | Failure) -> None:
        client = self.back.client
        if isinstance(outcome, Response):
            if client is not None and outcome.stream is None:
                outcome = await client.redirect("POST", outcome, self._extra, self._text)
            await read_modern(self.back.name, self, outcome)
        elif not (outcome.stale and (self.row.is_repeatable or outcome.unsent)):
            raise BackFault(outcome.why) from outcome.error
        elif client is not None:
            await post_modern(client, self.back.name, self, self._text, self._extra)
