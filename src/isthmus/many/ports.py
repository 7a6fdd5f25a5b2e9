"""The ways back through many: what a back's answer is rewritten by before its client hears it."""

from typing import TYPE_CHECKING

from isthmus.routing.face import Face
from isthmus.types import Mute, Port, Through

if TYPE_CHECKING:
    from collections.abc import Callable


class RoutedPort(Through):
    """The way back of a modern request that went to one member (`types.Port`).

    Args:
        port: the way back to the client.
        face: how the member's names look to clients.
        method: of the request.
    """

    __slots__ = ("_face", "_method")

    def __init__(self, port: Port, face: Face, method: str) -> None:
        super().__init__(port)
        self._face = face
        self._method = method

    def notify(self, message: bytes) -> None:
        self._port.notify(self._face.notification(message))

    def answer(self, message: bytes, status: int) -> None:
        self._port.answer(self._face.answer(self._method, message), status)


class Heard(Mute):
    """The port of a request of ours whose notifications matter, too; nobody reads it too slowly.

    Args:
        hear: gets each message before the answer.
    """

    def __init__(self, hear: "Callable[[bytes], object]") -> None:
        self._hear = hear
        self.message = b""

    def notify(self, message: bytes) -> None:
        self._hear(message)

    def answer(self, message: bytes, status: int) -> None:
        self.message = message
