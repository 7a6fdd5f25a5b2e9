"""A recording: the messages of both legs as JSON lines, for bug reports and for `isthmus replay`.

Nothing of it is on the way of a message unless it is asked for: what a front hands to the relay, and what the relay
hands to a back, are then objects of this module that note a message and pass it on.

**A line** is `{"t": seconds since the start, "leg": "front"|"back", "dir": "in"|"out", …, "message": {…}}`: *in* is
what the proxy was sent, *out* what it sent. `call` numbers a request and all that belongs to it; `session` numbers a
legacy client's session or a channel to the back; `http` holds verb, status and headers where a transport has them.

**Masked** is what is secret by its name (`masking`): the value of such a header, what has such a name in the values of
other headers, and such a member anywhere in a message if it is a string or a number, also in a string that is JSON
itself. `Mcp-Session-Id` is a short hash. Secrets in the midst of other text are not recognised.

**Writing** is a thread's work. What waits for it is bounded by `limits.RECORD_QUEUE`; beyond that messages are left
out, and a line says how many. A file that can't be written to gives one warning, and nothing more is recorded.
"""

import hashlib
import itertools
import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from queue import SimpleQueue
from typing import Any, Final

from isthmus.errors import ConfigError
from isthmus.limits import RECORD_CLOSE, RECORD_QUEUE
from isthmus.masking import MASK, is_secret_header, mask, mask_text
from isthmus.version import __version__
from isthmus.wire.codec import one_line as on_one_line

FORMAT: Final = 1
"""The version of the lines' form, in the first line of a file."""

_log: Final = logging.getLogger("isthmus.record")
_SESSION_HEADER: Final = "mcp-session-id"
_DULL_HEADERS: Final = frozenset(("host", "connection", "content-length", "date", "via", "accept-encoding"))


def mask_headers(headers: Iterable[tuple[str, str]], secret: frozenset[str]) -> dict[str, str]:
    """What of HTTP headers is recorded.

    Args:
        headers: names and values.
        secret: further names whose values are masked, in lower case.
    """
    kept = {}
    for name, value in headers:
        key = name.lower()
        if key == _SESSION_HEADER:
            kept[key] = "sha256:" + hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:12]
        elif key in secret or is_secret_header(key) or key.startswith("mcp-param-"):
            kept[key] = MASK
        elif key not in _DULL_HEADERS:
            kept[key] = mask_text(value)
    return kept


class Recorder:
    """Writes a recording.

    Args:
        path: the file; one that exists is replaced. Only its owner may read it.
        back: the back's name.
        secret: names of headers whose values are masked, beside those that are secret by their name.

    Raises:
        ConfigError: the file can't be written.
    """

    def __init__(self, path: str, back: str, secret: Iterable[str] = ()) -> None:
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.fchmod(self._fd, 0o600)
        except OSError as error:
            raise ConfigError(f"Can't record to {path!r}: {error.strerror}. Give another --record.") from None
        self._path = path
        self._secret = frozenset(name.lower() for name in secret)
        self._began = time.monotonic()
        self._lines: SimpleQueue[tuple[dict[str, Any], bytes | None] | None] = SimpleQueue()
        self._put = 0
        self._taken = 0
        self._dropped = 0
        self._is_slow = False
        self._is_broken = False
        self.calls = itertools.count(1)
        self.sessions = itertools.count(1)
        self._lines.put(({"t": 0, "recording": FORMAT, "isthmus": __version__, "back": back}, None))
        self._thread = threading.Thread(target=self._write, name="isthmus-record", daemon=True)
        self._thread.start()

    def note(self, leg: str, direction: str, message: bytes | None, **where: Any) -> None:
        """One message, or what HTTP said without one.

        Args:
            leg: `front` or `back`.
            direction: `in` or `out`.
            message: one JSON message.
            where: `call`, `session`, `http`; what is None is left out.
        """
        if self._is_broken:
            return
        size = len(message) if message is not None else 0
        if self._put - self._taken + size > RECORD_QUEUE:
            self._dropped += 1
            if not self._is_slow:
                self._is_slow = True
                _log.warning("The disk is too slow for the recording %s; some messages are left out.", self._path)
            return
        now = round(time.monotonic() - self._began, 6)
        if self._dropped:
            self._lines.put(({"t": now, "dropped": self._dropped}, None))
            self._dropped = 0
        self._put += size
        head = {"t": now, "leg": leg, "dir": direction} | {key: each for key, each in where.items() if each is not None}
        self._lines.put((head, message))

    def headers(self, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
        """HTTP headers as they are recorded."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        return mask_headers(pairs, self._secret)

    def close(self) -> None:
        """Write what waits, within `limits.RECORD_CLOSE` seconds."""
        self._lines.put(None)
        self._thread.join(RECORD_CLOSE)
        if self._thread.is_alive():
            _log.warning("The recording %s could not be written to its end in time.", self._path)

    def _write(self) -> None:
        """The thread."""
        try:
            while (line := self._lines.get()) is not None:
                head, message = line
                if message is not None:
                    self._taken += len(message)
                if not self._is_broken:
                    self._write_line(head, message)
        finally:
            os.close(self._fd)

    def _write_line(self, head: dict[str, Any], message: bytes | None) -> None:
        text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        if message is not None:
            text = text[:-1] + b',"message":' + on_one_line(mask(message)) + b"}"
        view = memoryview(text + b"\n")
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self._is_broken = True
            _log.warning("The recording %s ends here, the proxy goes on: %s.", self._path, error.strerror)
