"""The sealed `requestState` of a parked call.

"Servers MUST treat `requestState` as an attacker-controlled input" (2026-07-28 basic/patterns/mrtr): it is encrypted
and authenticated, and says which parked call and which of its rounds it belongs to, whose it is, what was asked and
until when. That it is redeemed once is the holder's duty.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from isthmus.wire.codec import decode

NONCE_BYTES: Final = 12
_UNDIGESTED: Final = frozenset({"_meta", "inputResponses", "requestState"})


class Ticket(NamedTuple):
    """What a sealed state says: the parked call, its round, whose it is, what it asked, and when it expires."""

    exchange: str
    round: int
    principal: str
    digest: str
    expires: float


class Seal:
    """Seals tickets with one key.

    Args:
        key: 16, 24 or 32 secret bytes; several processes that share it read each other's tickets.
    """

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)

    def close(self, ticket: Ticket, nonce: bytes) -> str:
        """The sealed text of a ticket.

        Args:
            ticket: what to seal.
            nonce: `NONCE_BYTES` bytes, never used twice with one key.
        """
        return self.lock(msgspec.json.encode(tuple(ticket)), nonce)

    def open(self, text: str) -> Ticket | None:
        """The ticket that a text holds; None if it was not sealed with this key, or was changed in any way."""
        said = self.unlock(text)
        try:
            return Ticket(*msgspec.json.decode(said or b"", type=tuple[str, int, str, str, float]))
        except msgspec.DecodeError:
            return None

    def lock(self, said: bytes, nonce: bytes) -> str:
        """The sealed text of any bytes; `nonce` as for `close`."""
        return _text(nonce + self._cipher.encrypt(nonce, said, None))

    def unlock(self, text: str) -> bytes | None:
        """The bytes that a text holds; None as for `open`."""
        from cryptography.exceptions import InvalidTag

        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            if _text(raw) != text:  # bits that the last character does not use
                return None
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], None)
        except (ValueError, InvalidTag):
            return None


def digest(method: str, params: Mapping[str, Raw]) -> str:
    """What a request asks for: its method and canonical parameters without `_meta` and what a retry adds.

    Parameters that Python can't take in (nested too deeply, a number of thousands of digits) count as they are spelled.
    """
    asked = {name: raw for name, raw in params.items() if name not in _UNDIGESTED}
    try:
        decoded = {name: decode(raw) for name, raw in asked.items()}
        text = json.dumps([method, decoded], sort_keys=True, separators=(",", ":"))
    except (RecursionError, ValueError):
        text = repr([method, sorted((name, bytes(raw)) for name, raw in asked.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
