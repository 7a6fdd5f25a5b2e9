"""Who is at fault is the class; what the client is told is a sentence that names the back and says what to do.

`Fault` is the root. A back's own JSON-RPC error is never one of these: it is data and is relayed. No exception of
another library crosses a transport: it becomes one of these, with the cause chained.
"""

import logging
from typing import Any, Final

from isthmus.wire.envelope import INTERNAL_ERROR

_log: Final = logging.getLogger("isthmus")


class Fault(Exception):
    """Something that ends a request with an error of our own.

    Args:
        why: the sentence for the client.
        code: the JSON-RPC error code.
        data: the JSON-RPC error's `data`, if any.
        status: the HTTP status while nothing has been sent yet.
    """

    def __init__(self, why: str, *, code: int = INTERNAL_ERROR, data: Any = None, status: int = 200) -> None:
        super().__init__(why)
        self.why = why
        self.code = code
        self.data = data
        self.status = status


class FrontFault(Fault):
    """The client asked for what can't be."""


class BackUnavailable(Fault):
    """The back can't be reached or started; nothing of the request arrived there."""


class WrongEra(BackUnavailable):
    """The back does not speak the client's era."""


class BackFault(Fault):
    """The back answered with something that is not MCP, too much of it, or died on the way."""


class BackRefused(BackFault):
    """The back is there, and wants other credentials."""


class CallExpired(Fault):
    """No answer in time."""


class ConfigError(Exception):
    """Arguments or settings that can't work; shown as one line, exit 2."""


def fault_of(error: Exception) -> Fault:
    """What a client is told of an exception.

    Args:
        error: a fault, which stays as it is, or anything else: that is a bug of ours, and is logged.
    """
    if isinstance(error, Fault):
        return error
    _log.error("A request failed; this is a bug of isthmus.", exc_info=error)
    return Fault("The proxy failed in the middle of this call. See its log.")
