"""URIs inside of what a server says: where they stand, and how they are put in anew.

Most messages have none. So there is a search for the bytes `"uri"` first, in all spellings, and what it does not
find is not opened.
"""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Raw

from isthmus.protocol.edits import items_of
from isthmus.protocol.names import ACKNOWLEDGED
from isthmus.wire.codec import close_object, encode, open_object, string
from isthmus.wire.envelope import Members

UriEdit = Callable[[str], str]
"""A URI of the back's as the one that clients know."""

_SPELLED: Final = re.compile(rb"\\u00(?:75|72|69)")
_UPDATED: Final = "notifications/resources/updated"


def has_uri(text: bytes) -> bool:
    """Whether a member may be called `uri`. Only as `\\u00XX` can a letter be escaped.

    The first of both searches is the quick one: JSON is full of quotation marks, and has few of these letters.
    """
    if b"uri" in text and b'"uri"' in text:
        return True
    return b"\\" in text and b"\\u00" in text and _SPELLED.search(text) is not None


def text_of(value: str) -> Raw:
    """The JSON text of a string."""
    return Raw(encode(value))


def edit_member(members: Members, name: str, edit: UriEdit) -> bool:
    """Edit a member that is a URI; whether that changed it."""
    uri = string(members.get(name))
    edited = edit(uri) if uri is not None else None
    if edited is None or edited == uri:
        return False
    members[name] = text_of(edited)
    return True


def edit_answer(method: str, message: bytes, edit: UriEdit) -> bytes:
    """A JSON-RPC answer with each URI that stands where `Face.answer` says edited."""
    if not has_uri(message):
        return message
    envelope = open_object(message)
    if envelope is None:
        return message
    where, inside = ("error", _in_error) if "error" in envelope else ("result", _RESULTS.get(method))
    if inside is None or not _edit_object(envelope, where, inside, edit):
        return message
    return close_object(envelope)


def edit_notification(message: bytes, edit: UriEdit) -> bytes:
    """A JSON-RPC notification with the URI of an updated resource, or those of an acknowledged subscription, edited."""
    if b"/updated" not in message and b"/acknowledged" not in message and b"\\" not in message:
        return message
    envelope = open_object(message)
    inside = _NOTIFICATIONS.get(string(envelope.get("method")) or "") if envelope is not None else None
    if envelope is None or inside is None or not _edit_object(envelope, "params", inside, edit):
        return message
    return close_object(envelope)


_Inside = Callable[[Members, UriEdit], bool]
"""Edits what an opened object holds; whether anything changed."""


def _edit_object(members: Members, name: str, inside: _Inside, edit: UriEdit) -> bool:
    """Edit inside a member that is an object."""
    opened = open_object(members[name]) if name in members else None
    if opened is None or not inside(opened, edit):
        return False
    members[name] = Raw(close_object(opened))
    return True


def _edit_items(members: Members, name: str, inside: _Inside, edit: UriEdit) -> bool:
    """Edit inside the items, where they are objects, of a member that is a list."""
    raw = members.get(name)
    items = items_of(raw) if raw is not None else []
    is_edited = False
    for at, item in enumerate(items):
        opened = open_object(item) if has_uri(item) else None
        if opened is not None and inside(opened, edit):
            items[at] = close_object(opened)
            is_edited = True
    if is_edited:
        members[name] = Raw(b"[" + b",".join(items) + b"]")
    return is_edited


def _in_block(block: Members, edit: UriEdit) -> bool:
    """A content block: a link to a resource, or a resource embedded."""
    match string(block.get("type")):
        case "resource_link":
            return edit_member(block, "uri", edit)
        case "resource":
            return _edit_object(block, "resource", _in_contents, edit)
        case _:
            return False


def _in_contents(contents: Members, edit: UriEdit) -> bool:
    return edit_member(contents, "uri", edit)


def _in_message(message: Members, edit: UriEdit) -> bool:
    """A prompt's message: one block, or several."""
    return _edit_object(message, "content", _in_block, edit) or _edit_items(message, "content", _in_block, edit)


def _in_error(error: Members, edit: UriEdit) -> bool:
    return _edit_object(error, "data", _in_contents, edit)


def _in_acknowledged(params: Members, edit: UriEdit) -> bool:
    return _edit_object(params, "notifications", _in_filter, edit)


def _in_filter(members: Members, edit: UriEdit) -> bool:
    """A filter of `subscriptions/listen`: all of its `resourceSubscriptions`."""
    raw = members.get("resourceSubscriptions")
    items = items_of(raw) if raw is not None else []
    is_edited = False
    for at, item in enumerate(items):
        uri = string(item)
        edited = edit(uri) if uri is not None else None
        if edited is not None and edited != uri:
            items[at] = bytes(text_of(edited))
            is_edited = True
    if is_edited:
        members["resourceSubscriptions"] = Raw(b"[" + b",".join(items) + b"]")
    return is_edited


_RESULTS: Final[dict[str, _Inside]] = {
    "tools/call": lambda result, edit: _edit_items(result, "content", _in_block, edit),
    "tasks/result": lambda result, edit: _edit_items(result, "content", _in_block, edit),
    "prompts/get": lambda result, edit: _edit_items(result, "messages", _in_message, edit),
    "resources/read": lambda result, edit: _edit_items(result, "contents", _in_contents, edit),
}
_NOTIFICATIONS: Final[dict[str, _Inside]] = {_UPDATED: _in_contents, ACKNOWLEDGED: _in_acknowledged}
