"""How one server's things look to clients: under its prefix, and as the choice of its configuration has them.

All texts are edited as `wire.codec` has it: what is opened is written anew from its members, what is not stays as it
came, and what needs no edit is the very object that came. A *kind* is one of `tools`, `prompts`, `resources` and
`resourceTemplates`.
"""

import re
from typing import TYPE_CHECKING, Final

from msgspec import Raw

from isthmus.errors import FrontFault
from isthmus.limits import NAME_LONGEST
from isthmus.routing.choice import Choice, Edit, Part, judge_of
from isthmus.routing.links import UriEdit, edit_answer, edit_member, edit_notification, text_of
from isthmus.routing.namespace import join_name, join_uri
from isthmus.routing.schema import hide, missing_of
from isthmus.wire.codec import close_object, open_object, string
from isthmus.wire.envelope import INVALID_PARAMS, Members

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS: Final[dict[str, str]] = {
    "tools": "name",
    "prompts": "name",
    "resources": "uri",
    "resourceTemplates": "uriTemplate",
}
"""The kinds of things, each under the name of the member that lists it; and the member that says which one it is."""
_NO_EDIT: Final = Edit()
_NULL: Final = b"null"
_NOT_SHORTENED: Final = 1 << 30
_UI: Final = re.compile(rb"resourceUri|\\u00")


class Face:
    """How one server looks. Faces are equal if they make everything look the same.

    Args:
        prefix: before its names and in its URIs; None or empty for none.
        choice: what of it is shown, and with what changed.
        longest: characters that a tool's or prompt's name may have with its prefix.
    """

    __slots__ = ("_parts", "_put", "choice", "is_plain", "longest", "prefix")

    def __init__(self, prefix: str | None, choice: Choice | None = None, longest: int = NAME_LONGEST) -> None:
        self.prefix = prefix or None
        self.choice = choice if choice is not None else Choice()
        self.longest = longest
        self.is_plain = self.prefix is None and self.choice == Choice()
        resources = _Part(self.choice.resources, is_uri=True)
        self._parts: dict[str, _Part] = {
            "tools": _Part(self.choice.tools),
            "prompts": _Part(self.choice.prompts),
            "resources": resources,
            "resourceTemplates": resources,
        }
        self._put: UriEdit = lambda uri: join_uri(self.prefix, uri)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Face):
            return NotImplemented
        return (self.prefix, self.choice, self.longest) == (other.prefix, other.choice, other.longest)

    def __hash__(self) -> int:
        return hash((self.prefix, self.choice, self.longest))

    def __repr__(self) -> str:
        return f"Face({self.prefix!r}, {self.choice!r}, {self.longest})"

    def shown(self, kind: str, own: str) -> str | None:
        """What clients call the back's own name, URI or template; None where it is not shown.

        A name that another thing was renamed to is not: `own` means that other one by it.
        """
        part = self._parts[kind]
        if not part.is_shown(own):
            return None
        if KEYS[kind] != "name":
            return join_uri(self.prefix, own)
        name = part.renamed.get(own) or own
        if part.originals.get(name, own) != own:
            return None
        return join_name(self.prefix, name, self.longest)

    def own(self, kind: str, shown_own: str) -> str | None:
        """The back's own name, URI or template of one that the prefix was split off; None where it is not shown."""
        part = self._parts[kind]
        name = shown_own
        if KEYS[kind] == "name":
            name = part.originals.get(shown_own, shown_own)
            if part.renamed.get(name, shown_own) != shown_own:
                return None
        return name if part.is_shown(name) else None

    def item(self, kind: str, text: bytes) -> tuple[str, bytes] | None:
        """One item of a list as clients see it: its name, URI or template, and its text.

        None where it is left out: not shown, without a name, or a tool that could never be called (`refusal` says so).
        """
        members = open_object(text)
        key = KEYS[kind]
        own = string(members.get(key)) if members is not None else None
        if members is None or own is None:
            return None
        shown = self.shown(kind, own)
        if shown is None:
            return None
        if self.is_plain:
            return shown, text
        edit = self._parts[kind].edits.get(own, _NO_EDIT)
        is_edited = shown != own
        if is_edited:
            members[key] = text_of(shown)
        if edit.hidden or edit.fixed:
            if missing_of(members, edit):
                return None
            is_edited |= hide(members, edit)
        if edit.title is not None:
            members["title"] = text_of(edit.title)
        if edit.description is not None:
            members["description"] = text_of(edit.description)
            is_edited = True
        if key != "name":
            is_edited |= self._name(members, edit)
        elif kind == "tools" and self.prefix is not None and _UI.search(text):
            is_edited |= self._edit_ui(members)
        return shown, close_object(members) if is_edited else text

    def refusal(self, kind: str, text: bytes) -> str | None:
        """Why `item` left out a thing that is allowed, as a sentence; None where it is just not shown."""
        members = open_object(text) if KEYS[kind] == "name" else None
        own = string(members.get("name")) if members is not None else None
        part = self._parts[kind]
        if members is None or own is None or not part.is_shown(own):
            return None
        what = kind.removesuffix("s")
        renamed = part.originals.get(own)
        if self.shown(kind, own) is None:
            return f"The {what} {own!r} is left out: {renamed!r} was renamed to that. Rename it too, or deny it."
        missing = missing_of(members, part.edits.get(own, _NO_EDIT)) if kind == "tools" else []
        if not missing:
            return None
        return (
            f"The tool {own!r} is left out: it requires the argument {missing[0]!r}, which is hidden. "
            "Fix its value, or show it."
        )

    def answer(self, method: str, message: bytes) -> bytes:
        """A whole JSON-RPC answer of the back with the URIs that clients know.

        Paths: `uri` of each `resource_link`, `resource.uri` of each embedded resource (`result.content` of tools,
        `result.messages` of prompts), `result.contents` of what was read, `error.data`.
        """
        return message if self.prefix is None else edit_answer(method, message, self._put)

    def notification(self, message: bytes) -> bytes:
        """A notification of the back with the URIs that clients know: of an updated resource, of those acknowledged."""
        return message if self.prefix is None else edit_notification(message, self._put)

    def call(self, name: str, params: Members) -> None:
        """Make a call's parameters those for the back: its own name, the arguments as the choice has them.

        Args:
            name: the tool's own name.
            params: the opened `params` of a `tools/call`, changed in place.

        Raises:
            FrontFault: arguments are hidden or fixed, and what came has none: it is no object. `null` is an empty one.
        """
        params["name"] = text_of(name)
        edit = self._parts["tools"].edits.get(name, _NO_EDIT)
        if not edit.hidden and not edit.fixed:
            return
        came = bytes(params.get("arguments", _NULL))
        arguments = {} if came == _NULL else open_object(came)
        if arguments is None:
            why = f"The arguments of {self.shown('tools', name) or name!r} are no object. Give them by name."
            raise FrontFault(why, code=INVALID_PARAMS)
        for each in edit.hidden:
            arguments.pop(each, None)
        for each, value in edit.fixed:
            arguments[each] = Raw(value)
        if arguments or "arguments" in params:
            params["arguments"] = Raw(close_object(arguments))

    def covered(self, name: str) -> frozenset[str]:
        """The arguments of a tool that clients neither see nor give, by its own name."""
        edit = self._parts["tools"].edits.get(name, _NO_EDIT)
        return frozenset((*edit.hidden, *(each for each, _ in edit.fixed)))

    def text(self, kind: str, own: str) -> Raw | None:
        """What takes the place of the name in a request for a thing; None where more changes in it than that."""
        edit = self._parts[kind].edits.get(own, _NO_EDIT)
        return None if edit.hidden or edit.fixed else text_of(own)

    def put(self, method: str, own: str, params: Members) -> None:
        """Name the thing as the back does, in the opened `params` of any request that names one (`thing_of`)."""
        if method == "tools/call":
            self.call(own, params)
        elif method == "completion/complete":
            ref = open_object(params["ref"]) if "ref" in params else None
            if ref is not None:
                ref["name" if string(ref.get("type")) == "ref/prompt" else "uri"] = text_of(own)
                params["ref"] = Raw(close_object(ref))
        elif method in NAMED:
            params[KEYS[NAMED[method]]] = text_of(own)

    def _name(self, members: Members, edit: Edit) -> bool:
        """The `name` of a resource or template. It is no key of anything, so it is never shortened."""
        name = edit.rename if edit.rename is not None else string(members.get("name"))
        if name is None or (self.prefix is None and edit.rename is None):
            return False
        members["name"] = text_of(join_name(self.prefix, name, _NOT_SHORTENED))
        return True

    def _edit_ui(self, members: Members) -> bool:
        """The URI of a tool's user interface: `_meta.ui.resourceUri`, and the older `_meta["ui/resourceUri"]`."""
        meta = open_object(members["_meta"]) if "_meta" in members else None
        if meta is None:
            return False
        ui = open_object(meta["ui"]) if "ui" in meta else None
        is_edited = False
        if ui is not None and edit_member(ui, "resourceUri", self._put):
            meta["ui"] = Raw(close_object(ui))
            is_edited = True
        is_edited |= edit_member(meta, "ui/resourceUri", self._put)
        if is_edited:
            members["_meta"] = Raw(close_object(meta))
        return is_edited


NAMED: Final[dict[str, str]] = {
    "tools/call": "tools",
    "prompts/get": "prompts",
    "resources/read": "resources",
    "resources/subscribe": "resources",
    "resources/unsubscribe": "resources",
}
"""The requests that name one thing by a member of `params`."""


def thing_of(method: str, params: Members) -> tuple[str, str] | None:
    """What a request names: its kind, and the client's name, URI or template of it; None where it names nothing."""
    kind = NAMED.get(method)
    if kind is not None:
        name = string(params.get(KEYS[kind]))
        return (kind, name) if name is not None else None
    ref = open_object(params["ref"]) if method == "completion/complete" and "ref" in params else None
    if ref is None:
        return None
    is_prompt = string(ref.get("type")) == "ref/prompt"
    name = string(ref.get("name" if is_prompt else "uri"))
    return ("prompts" if is_prompt else "resourceTemplates", name) if name is not None else None


class _Part:
    """A `Part` as it is asked: by own name, and by the name that it was renamed to."""

    __slots__ = ("edits", "is_shown", "originals", "renamed")

    def __init__(self, part: Part, *, is_uri: bool = False) -> None:
        self.is_shown: Callable[[str], bool] = judge_of(part, is_uri=is_uri)
        self.edits = dict(part.edits)
        self.renamed = {own: edit.rename for own, edit in part.edits if edit.rename is not None}
        self.originals = {new: own for own, new in self.renamed.items()}
