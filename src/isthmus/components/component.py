"""What tools, resources, templates and prompts have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Annotated, Any, ClassVar, Final, Literal, Protocol, Self, TypeAlias

from mcp.types import CallToolResult, GetPromptResult
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

Kind = Literal["tools", "resources", "resourceTemplates", "prompts"]
NotSet: Final = ...
"""What is not given, where None means something."""
NotSetT: TypeAlias = EllipsisType
"""Where None means something, what is not given is `...`."""


class Caller(Protocol):
    """What reaches the server that a mirrored component is of: a client, which is open within its context."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, *error: Any) -> Any: ...

    async def call_tool_mcp(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        """The tool's answer, also where it is an error."""

    async def read_resource(self, uri: str) -> Sequence[Any]:
        """What the resource contains."""

    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None) -> GetPromptResult:
        """The prompt's messages."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """What a mirrored component, and each copy of it, was made of.

    `own`: its name at the server it is of (a resource's URI, a template's text). `member`: what the server that made
    the component knows that server by. `fields`: what the component said when it was made, by name.
    """

    kind: Kind
    own: str
    caller: Caller
    member: object = None
    fields: dict[str, Any] = field(default_factory=dict)

    def __deepcopy__(self, _: object) -> Self:
        return self


class _Hooks(list[Callable[[], object]]):
    """What is called after a change; a copy of the component has none."""

    def __deepcopy__(self, _: object) -> "_Hooks":
        return _Hooks()


def _as_set(tags: "set[str] | Sequence[str] | None") -> set[str]:
    return set(tags or ())


class Component(BaseModel):
    """A tool, a resource, a template or a prompt.

    One of this process may be changed by assignment; the servers that hold it tell their clients. One that reflects a
    server behind a proxy may not: it has a `copy()` that may.

    Args:
        key: what servers find it by, if not by its name (a resource by its URI, a template by its text).
        fields: by their names.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    kind: ClassVar[Kind]

    name: str = Field(description="The name of the component.")
    title: str | None = Field(default=None, description="What people are shown instead of the name.")
    description: str | None = Field(default=None, description="What it is for.")
    tags: Annotated[set[str], BeforeValidator(_as_set)] = Field(
        default_factory=set, description="Words that servers choose by."
    )
    meta: dict[str, Any] | None = Field(default=None, description="The component's `_meta`.")
    enabled: bool = Field(default=True, description="Whether clients see it and may use it.")

    _key: str | None = PrivateAttr(default=None)
    _mirrored: bool = PrivateAttr(default=False)
    _mirror: Mirror | None = PrivateAttr(default=None)
    _on_change: list[Callable[[], object]] = PrivateAttr(default_factory=_Hooks)

    def __init__(self, *, key: str | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self._key = key

    @property
    def key(self) -> str:
        """What a server finds it by: its name, unless it was given another (a prefixed one)."""
        return self._key or self.name

    @property
    def mirror(self) -> Mirror | None:
        """What it was made of, where it is a mirrored component or a copy of one."""
        return self._mirror

    @property
    def on_change(self) -> list[Callable[[], object]]:
        """What is called after something was assigned; the servers that hold the component put themselves here."""
        return self._on_change

    def changes(self) -> dict[str, Any]:
        """What is other than where it is mirrored from, by the field's name; nothing for what is no copy."""
        said = self._mirror.fields if self._mirror is not None else {}
        return {name: getattr(self, name) for name, value in said.items() if getattr(self, name) != value}

    def enable(self) -> None:
        """Show it.

        Raises:
            RuntimeError: it is mirrored; its copy can be enabled.
        """
        self.enabled = True

    def disable(self) -> None:
        """Hide it, and refuse its use.

        Raises:
            RuntimeError: it is mirrored; its copy can be disabled.
        """
        self.enabled = False

    def copy(self) -> Self:  # type: ignore[override]
        """Another like it, that may be changed; of a mirrored one, it still runs where that one does."""
        copied = self.model_copy()
        copied._mirrored = False
        return copied

    def model_copy(self, *, update: Any = None, deep: bool = False, key: str | None = None) -> Self:
        """Another like it, which reflects what this one reflects.

        Args:
            update: fields that are other, by name.
            deep: whether the fields' values are copied with all that is in them.
            key: what servers find it by.
        """
        copied = super().model_copy(update=update, deep=deep)
        for name, value in copied.__dict__.items():
            if isinstance(value, dict | set | list):
                copied.__dict__[name] = value.copy()
        copied._on_change = _Hooks()
        if key is not None:
            copied._key = key
        return copied

    def get_meta(self, include_fastmcp_meta: bool | None = None) -> dict[str, Any] | None:
        """The `_meta` that lists carry, with the tags under `_fastmcp`; without, if `include_fastmcp_meta` is False."""
        meta = dict(self.meta or {})
        if include_fastmcp_meta is not False:
            meta["_fastmcp"] = {**(meta.get("_fastmcp") or {}), "tags": sorted(self.tags)}
        return meta or None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
            return
        if self._mirrored:
            raise RuntimeError(
                f"{self.name!r} reflects what a server behind the proxy has, and can't be changed. Make a copy of it "
                f"with .copy(), change {name!r} of that, and add it to your server."
            )
        was = getattr(self, name, None)
        super().__setattr__(name, value)
        if was != value:
            for told in tuple(self._on_change):
                told()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in ("name", "title", "description"))
        return f"{type(self).__name__}({shown}, tags={self.tags}, enabled={self.enabled})"

    def _reflect(self, own: str, caller: Caller, member: object, *more: str) -> Self:
        """Make it a mirrored one.

        Args:
            own: its name at the server it is of.
            caller: what reaches that server.
            member: what the server that makes this knows it by.
            more: fields that can be changed of its copies, beside those that every component has.
        """
        names = ("name", "title", "description", "tags", "meta", *more)
        self._mirror = Mirror(self.kind, own, caller, member, {name: _plain(getattr(self, name)) for name in names})
        self._mirrored = True
        return self


def _plain(value: Any) -> Any:
    return set(value) if isinstance(value, set) else value


def tags_of(meta: Any) -> list[str]:
    """The tags that a listed thing's `_meta` says it has."""
    said = (meta or {}).get("_fastmcp")
    tags = said.get("tags") if isinstance(said, dict) else None
    return [each for each in tags if isinstance(each, str)] if isinstance(tags, list) else []
