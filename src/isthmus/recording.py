"""A recording that was read back: what was asked on the front leg, and all that was said to it.

A *cue* is a message of a client. What the proxy said is kept with the cue that it followed: the messages of a call with
that call, messages outside any call (and those of a listening stream) with the cue before them, in their order.

Two requests are the same if era, method and parameters are, whatever their ids, `_meta` and masked secrets.
"""

import difflib
import json
from collections.abc import Iterator
from typing import Any, Final

from isthmus.errors import ConfigError
from isthmus.masking import mask
from isthmus.protocol.judge import meta_of
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import VERSION_KEY
from isthmus.protocol.versions import Era
from isthmus.wire.codec import decode, open_object, parse, parse_own
from isthmus.wire.envelope import Envelope, Kind

_SHOWN: Final = 300
_COMPARED: Final = 2_000
"""Characters of parameters that are compared to find the nearest request: difflib's time grows with their square."""


class Said:
    """One message to a client: its text, the call whose stream it went on, the HTTP status of an answer.

    `pause`: the seconds since the message before it.
    """

    __slots__ = ("call", "pause", "status", "text")

    def __init__(self, text: bytes, call: int | None, status: int = 200, pause: float = 0.0) -> None:
        self.text = text
        self.call = call
        self.status = status
        self.pause = pause


class Cue:
    """One message of a client, and what was said to it."""

    __slots__ = ("at", "call", "key", "method", "said")

    def __init__(self, envelope: Envelope, call: int | None, at: float = 0.0) -> None:
        self.call = call
        self.method = envelope.method
        self.key = key_of(envelope)
        self.at = at
        """When the last of it was said, in seconds since the recording began."""
        self.said: list[Said] = []


def era_of_message(envelope: Envelope) -> Era:
    """The era of a client's message: modern ones say so in `_meta`."""
    raw = envelope.members.get("params")
    meta = meta_of(open_object(raw)) if raw is not None else None
    return Era.MODERN if meta is not None and VERSION_KEY in meta else Era.LEGACY


def key_of(envelope: Envelope) -> tuple[Era, str, str]:
    """What two requests that are the same have in common: era, method and parameters as canonical JSON."""
    raw = envelope.members.get("params")
    try:
        params = decode(mask(bytes(raw))) if raw is not None else {}
        if isinstance(params, dict):
            params.pop("_meta", None)
        text = json.dumps(params or {}, sort_keys=True, ensure_ascii=False)
    except RecursionError:
        text = bytes(raw or b"").decode("utf-8", "replace")
    return era_of_message(envelope), envelope.method, text


class Recording:
    """What was recorded, by what was asked.

    Raises:
        ConfigError: the file can't be read, or is no recording.
    """

    def __init__(self, path: str) -> None:
        self._cues: dict[tuple[Era, str, str], list[Cue]] = {}
        self._given: dict[tuple[Era, str, str], int] = {}
        self.eras: set[Era] = set()
        self.name = "recording"
        _Reader(self).read(path)
        if not self._cues:
            raise ConfigError(f"There is no message of a client in {path!r}; nothing could be answered from it.")

    def add(self, cue: Cue) -> None:
        """One more message that was recorded."""
        self.eras.add(cue.key[0])
        self._cues.setdefault(cue.key, []).append(cue)

    def has(self, era: Era, method: str) -> bool:
        """Whether the method was called in an era."""
        return any(key[:2] == (era, method) for key in self._cues)

    def take(self, envelope: Envelope, era: Era) -> Cue | None:
        """What was said to this: to the first, the second, … that was the same, and then to the last again."""
        key = (era, *key_of(envelope)[1:])
        if key not in self._cues and envelope.method in ("initialize", "server/discover"):
            key = next((each for each in self._cues if each[:2] == key[:2]), key)
        cues = self._cues.get(key)
        if not cues:
            return None
        at = self._given.get(key, 0)
        self._given[key] = at + 1
        return cues[min(at, len(cues) - 1)]

    def explain(self, envelope: Envelope, era: Era) -> str:
        """Why there is no answer to this, as a sentence that names the nearest request."""
        _, method, params = key_of(envelope)
        if era not in self.eras:
            return f"The recording has only {next(iter(self.eras)).value} clients, and this is a {era.value} request."
        methods = sorted({each[1] for each in self._cues if each[0] is era})
        if not self.has(era, method):
            near = difflib.get_close_matches(method, methods, n=1, cutoff=0.0)
            return (
                f"The recording has no {method}. The nearest that it has is {near[0]}; call isthmus run --record anew."
            )
        texts = {each[2][:_COMPARED]: each[2] for each in self._cues if each[:2] == (era, method)}
        near = difflib.get_close_matches(params[:_COMPARED], texts, n=1, cutoff=0.0)
        shown = texts[near[0]] if len(texts[near[0]]) <= _SHOWN else texts[near[0]][:_SHOWN] + "…"
        return f"The recording has no {method} with these parameters. The nearest that it has: {shown}"


class _Reader:
    """Puts the lines of a file together."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._calls: dict[int, Cue] = {}
        self._latest: dict[int | None, Cue] = {}
        self._probes: dict[tuple[Any, int | str | None], Cue] = {}
        self._probed: Cue | None = None

    def read(self, path: str) -> None:
        for number, line in _lines(path):
            leg, message = line.get("leg"), line.get("message")
            if number == 1:
                self._recording.name = str(line.get("back") or self._recording.name)
            if message is None:
                continue
            envelope = parse(bytes(message))
            if not isinstance(envelope, Envelope):
                raise ConfigError(f"Line {number} of {path!r} holds no JSON-RPC message: {envelope!r}.")
            if leg == "front":
                self._take(line, envelope, bytes(message))
            elif leg == "back":
                self._probe(line, envelope, bytes(message))
        if self._probed is not None and not self._recording.has(Era.MODERN, "server/discover"):
            self._recording.add(self._probed)

    def _take(self, line: dict[str, Any], envelope: Envelope, text: bytes) -> None:
        call, session = _number(line.get("call")), _number(line.get("session"))
        at = float(line["t"]) if isinstance(line.get("t"), int | float) else 0.0
        if line.get("dir") == "in":
            if envelope.kind is not Kind.ANSWER:
                cue = Cue(envelope, call, at)
                if call is not None:
                    self._calls[call] = cue
                self._latest[session] = cue
                self._recording.add(cue)
            return
        http = line.get("http")
        status = http.get("status") if isinstance(http, dict) else None
        own = self._calls.get(call) if call is not None else None
        is_later = own is not None and row_of(own.method).is_endless and bool(own.said)
        cue_before = own if own is not None and not is_later else self._latest.get(session)
        if cue_before is not None:
            status = status if isinstance(status, int) else 200
            cue_before.said.append(Said(text, call, status, max(0.0, at - cue_before.at)))
            cue_before.at = at

    def _probe(self, line: dict[str, Any], envelope: Envelope, text: bytes) -> None:
        """The proxy's own `server/discover` stands in where no client sent one."""
        where = (line.get("session"), envelope.key)
        if envelope.method == "server/discover":
            self._probes[where] = Cue(envelope, None)
        elif envelope.kind is Kind.ANSWER and where in self._probes and "result" in envelope.members:
            self._probed = self._probes.pop(where)
            self._probed.said.append(Said(text, None))


def _lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of the file as opened objects, with their numbers; the last may have been cut off."""
    try:
        with open(path, "rb") as file:
            for number, text in enumerate(file, 1):
                members = open_object(text) if text.strip() else None
                if members is None and text.strip() and text.endswith(b"\n"):
                    raise ConfigError(
                        f"Line {number} of {path!r} is not JSON. Is it a recording of isthmus run --record?"
                    )
                if members is not None:
                    yield number, {name: raw if name == "message" else decode(raw) for name, raw in members.items()}
    except OSError as error:
        raise ConfigError(f"The recording {path!r} can't be read: {error.strerror}.") from None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def retold(said: Said) -> Envelope:
    """A fresh envelope of what was said."""
    return parse_own(said.text)
