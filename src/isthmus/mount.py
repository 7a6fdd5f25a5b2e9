"""A proxy as an ASGI application, to be mounted in Starlette, FastAPI or any other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isthmus.engine.settings import Settings
from isthmus.many.plan import Plan
from isthmus.run import HttpPlace, make_handler, open_relay
from isthmus.transports.http_front.asgi import AsgiFront, Receive, Scope, Send
from isthmus.transports.target import Target

if TYPE_CHECKING:
    from isthmus.engine.inner import Inner


class HttpApp:
    """An ASGI application with one endpoint.

    Its `lifespan` ends the sessions and processes of the back: give it to the application it is mounted in, whose own
    `lifespan` is the only one that an ASGI server runs. Served alone, it answers the server's `lifespan` itself.
    """

    def __init__(self, source: Target | Plan, place: HttpPlace, settings: Settings) -> None:
        self._source = source
        self._place = place
        self._settings = replace(settings, is_local=place.is_local)
        self._gateway: Inner | None = None
        self._front: AsgiFront | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application."""
        if scope["type"] == "lifespan":
            await self._serve_lifespan(receive, send)
            return
        if self._front is None:
            self._front = self._open()
        await self._front(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Ends the back's sessions and processes when the application stops.

        Args:
            app: the application that it is the lifespan of; not used.
        """
        try:
            yield
        finally:
            gateway, self._gateway, self._front = self._gateway, None, None
            if gateway is not None:
                await gateway.close()

    def _open(self) -> AsgiFront:
        place = self._place
        gateway = self._gateway = open_relay(self._source, self._settings)
        handler = make_handler(gateway, place)

        def tick(now: float) -> None:
            for session in handler.tick(now):
                gateway.tasks.start(gateway.end_session(session))

        return AsgiFront(handler.handle, self._settings.limits, tick)

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        async with self.lifespan():
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
