"""Resources: of functions, texts, bytes and files, and mirrored ones."""

import base64
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypedDict, cast

import anyio.to_thread
import pydantic_core
from mcp.types import Annotations, BlobResourceContents, TextResourceContents
from mcp.types import Resource as OfficialResource
from pydantic import AnyUrl, Field, PrivateAttr, ValidationError, field_validator, model_validator
from typing_extensions import Unpack

from isthmus.client.results import readable
from isthmus.components.component import Caller, Component, Kind, Mirror, tags_of
from isthmus.components.functions import (
    Function,
    call,
    callable_of,
    name_of,
    refuse_unknown,
)
from isthmus.exceptions import ResourceError

TEXT: Final = "text/plain"
_JSON: Final = "application/json"


class ResourceFields(TypedDict, total=False):
    """What can be said of a resource or template beside its name, title and description."""

    mime_type: str | None
    tags: set[str] | None
    enabled: bool | None
    annotations: Annotations | None
    meta: dict[str, Any] | None


class Resource(Component):
    """A resource. A class of your own has an `async def read(self)` that gives a text or bytes."""

    kind: ClassVar[Kind] = "resources"

    uri: AnyUrl = Field(description="The resource's URI.")
    name: str = Field(default="", description="The resource's name; its URI if there is none.")
    mime_type: str = Field(default=TEXT, description="The MIME type of what it contains.")
    annotations: Annotations | None = Field(default=None, description="Whom it is for, and how it matters.")

    @field_validator("mime_type", mode="before")
    @classmethod
    def _some_type(cls, given: str | None) -> str:
        return given or TEXT

    @model_validator(mode="before")
    @classmethod
    def _some_name(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and not fields.get("name"):
            return {**fields, "name": str(fields.get("uri", ""))}
        return fields

    @property
    def key(self) -> str:
        """What a server finds it by: its URI, unless it was given another."""
        return self._key or str(self.uri)

    @staticmethod
    def from_function(
        fn: Function,
        uri: str | AnyUrl,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        **fields: Unpack[ResourceFields],
    ) -> "FunctionResource":
        """A function as a resource; see `FunctionResource.from_function`."""
        return FunctionResource.from_function(fn, uri, name, title, description, **fields)

    async def read(self) -> str | bytes:
        """What it contains.

        Raises:
            ResourceError: it can't be read.
        """
        raise NotImplementedError(f"{type(self).__name__} needs an `async def read(self)`.")

    def to_mcp_resource(self, *, include_fastmcp_meta: bool | None = None, **overrides: Any) -> OfficialResource:
        """It as clients are told of it; see `Tool.to_mcp_tool`."""
        fields = {
            "uri": str(self.uri),
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "mime_type": self.mime_type,
            "annotations": self.annotations,
            "_meta": self.get_meta(include_fastmcp_meta),
        }
        return readable(OfficialResource(**cast(Any, fields | overrides)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(uri={str(self.uri)!r}, name={self.name!r}, description={self.description!r})"


class FunctionResource(Resource):
    """A resource that a function (`fn`) makes when it is read."""

    fn: Function = Field(exclude=True)

    @classmethod
    def from_function(
        cls,
        fn: Function,
        uri: str | AnyUrl,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        **fields: Unpack[ResourceFields],
    ) -> "FunctionResource":
        """A function as a resource: what it gives is the content, a text or bytes; all else becomes JSON.

        Args:
            fn: the function, sync or async, without arguments but one annotated `Context`.
            uri: the resource's URI.
            name: the function's own, if not given.
            title: for people.
            description: the docstring, if not given.
            fields: `mime_type`, `tags`, `enabled`, `annotations`, `meta`.

        Raises:
            ValueError: it is a nameless lambda, or the URI is none.
        """
        return cls(fn=callable_of(fn), uri=AnyUrl(str(uri)), **fields_of(fn, name, title, description, fields))

    async def read(self) -> str | bytes:
        """What the function gives."""
        return await content_of(await call(self.fn, {}))


class TextResource(Resource):
    """A resource that is a text."""

    text: str = Field(description="What it contains.")

    async def read(self) -> str:
        """The text."""
        return self.text


class BinaryResource(Resource):
    """A resource that is bytes."""

    data: bytes = Field(description="What it contains.")

    async def read(self) -> bytes:
        """The bytes."""
        return self.data


class _PathResource(Resource):
    path: Path = Field(description="Where it is; an absolute path.")

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError(f"The path must be absolute, and {str(path)!r} is not.")
        return path


class FileResource(_PathResource):
    """A resource that is a file: text if its MIME type begins with `text/`, unless `is_binary`."""

    is_binary: bool = Field(default=False, description="Whether it is bytes.")

    @model_validator(mode="after")
    def _by_type(self) -> Self:
        if not self.mime_type.startswith("text/"):
            object.__setattr__(self, "is_binary", True)
        return self

    async def read(self) -> str | bytes:
        """The file's content.

        Raises:
            ResourceError: it can't be read.
        """
        try:
            if self.is_binary:
                return await anyio.to_thread.run_sync(self.path.read_bytes)
            return await anyio.to_thread.run_sync(self.path.read_text)
        except (OSError, ValueError) as error:
            raise ResourceError(f"The file {str(self.path)!r} can't be read.") from error


class DirectoryResource(_PathResource):
    """A resource that lists a folder's files, as JSON with their paths in `files`."""

    recursive: bool = Field(default=False, description="Whether files in folders below are listed too.")
    pattern: str | None = Field(default=None, description="A shell pattern that the files have to match.")
    mime_type: str = Field(default=_JSON, description="The MIME type of the list.")

    def list_files(self) -> list[Path]:
        """What is in the folder, folders too.

        Raises:
            OSError: it is no folder, or can't be read.
        """
        if not self.path.is_dir():
            raise NotADirectoryError(f"{str(self.path)!r} is no folder.")
        find = self.path.rglob if self.recursive else self.path.glob
        return sorted(find(self.pattern or "*"))

    async def read(self) -> str:
        """The list as JSON.

        Raises:
            ResourceError: the folder can't be read.
        """
        try:
            found = await anyio.to_thread.run_sync(self.list_files)
        except OSError as error:
            raise ResourceError(f"The folder {str(self.path)!r} can't be listed.") from error
        return json.dumps({"files": [str(each.relative_to(self.path)) for each in found if each.is_file()]}, indent=2)


class ProxyResource(Resource):
    """A resource of a server behind a proxy. It can't be changed; its `copy()` can, and reads the same one."""

    uri: AnyUrl | str = Field(description="The resource's URI, as the back writes it where it is no proper one.")  # type: ignore[assignment]

    _value: str | bytes | None = PrivateAttr(default=None)

    @classmethod
    def from_mcp_resource(
        cls, client: Caller, mcp_resource: OfficialResource, member: object = None
    ) -> "ProxyResource":
        """A resource as it is listed; see `ProxyTool.from_mcp_tool`."""
        made = cls(
            uri=_uri_of(mcp_resource.uri),
            name=mcp_resource.name,
            title=mcp_resource.title,
            description=mcp_resource.description,
            mime_type=mcp_resource.mime_type or TEXT,
            annotations=mcp_resource.annotations,
            meta=mcp_resource.meta,
            tags=set(tags_of(mcp_resource.meta)),
        )
        made._key = str(mcp_resource.uri)
        return made._reflect(mcp_resource.uri, client, member, "mime_type")

    async def read(self) -> str | bytes:
        """What the resource contains, where it is.

        Raises:
            ResourceError: it contains nothing.
        """
        if self._value is not None:
            return self._value
        mirror = mirror_of(self)
        return first_content(await read_mirrored(mirror, mirror.own))


# -- what they share --------------------------------------------------------------------------------------------------


def _uri_of(text: str) -> AnyUrl | str:
    try:
        return AnyUrl(text)
    except ValidationError:
        return text


def first_content(contents: Sequence[Any]) -> str | bytes:
    """What was read, of its first part: a text, or bytes.

    Raises:
        ResourceError: there is none.
    """
    first = contents[0] if contents else None
    if isinstance(first, TextResourceContents):
        return first.text
    if isinstance(first, BlobResourceContents):
        return base64.b64decode(first.blob)
    raise ResourceError("The resource contains nothing that is a text or bytes.")


async def read_mirrored(mirror: Mirror, uri: str) -> Sequence[Any]:
    async with mirror.caller as client:
        contents: Sequence[Any] = await client.read_resource(uri)
    return contents


def mirror_of(component: Component) -> Mirror:
    if component.mirror is None:
        raise RuntimeError(f"{component.name!r} is of no server: make it with {type(component).__name__}.from_mcp_….")
    return component.mirror


async def content_of(given: Any) -> str | bytes:
    """What a function gave, as content."""
    if isinstance(given, Resource):
        return await given.read()
    return given if isinstance(given, str | bytes) else pydantic_core.to_json(given, fallback=str).decode()


def fields_of(
    fn: Function, name: str | None, title: str | None, description: str | None, fields: ResourceFields
) -> dict[str, Any]:
    refuse_unknown(fields, ResourceFields)
    enabled = fields.get("enabled")
    return {
        "name": name_of(fn, name),
        "title": title,
        "description": description or inspect.getdoc(fn),
        "mime_type": fields.get("mime_type"),
        "tags": fields.get("tags") or set(),
        "enabled": True if enabled is None else enabled,
        "annotations": fields.get("annotations"),
        "meta": fields.get("meta"),
    }
