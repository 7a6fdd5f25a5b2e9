"""Templates of resources: of functions, and mirrored ones."""

import inspect
import re
from functools import cache
from typing import Any, ClassVar, Final, cast
from urllib.parse import quote, unquote

from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.types import Annotations
from mcp.types import Resource as OfficialResource
from mcp.types import ResourceTemplate as OfficialTemplate
from pydantic import Field, PrivateAttr, field_validator
from typing_extensions import Unpack

from isthmus.client.results import readable
from isthmus.components.component import Caller, Component, Kind, tags_of
from isthmus.components.functions import (
    Function,
    arguments_of,
    call,
    callable_of,
    context_parameter,
    refuse_variadic,
    schema_of,
)
from isthmus.components.resources import (
    TEXT,
    FunctionResource,
    ProxyResource,
    Resource,
    ResourceFields,
    content_of,
    fields_of,
    first_content,
    mirror_of,
    read_mirrored,
)

_EXPRESSION: Final = re.compile(r"\{(\w+)(\*?)\}")


class ResourceTemplate(Component):
    """What makes a resource of each URI that it matches. A class of your own has `async def read(self, arguments)`."""

    kind: ClassVar[Kind] = "resourceTemplates"

    uri_template: str = Field(description="The URIs, with `{name}` for an argument and `{name*}` for one with slashes.")
    mime_type: str = Field(default=TEXT, description="The MIME type of what the resources contain.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="The JSON schema of the arguments.")
    annotations: Annotations | None = Field(default=None, description="Whom they are for, and how they matter.")

    @field_validator("mime_type", mode="before")
    @classmethod
    def _some_type(cls, given: str | None) -> str:
        return given or TEXT

    @property
    def key(self) -> str:
        """What a server finds it by: the template, unless it was given another."""
        return self._key or self.uri_template

    @staticmethod
    def from_function(
        fn: Function,
        uri_template: str,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        **fields: Unpack[ResourceFields],
    ) -> "FunctionResourceTemplate":
        """A function as a template; see `FunctionResourceTemplate.from_function`."""
        return FunctionResourceTemplate.from_function(fn, uri_template, name, title, description, **fields)

    def matches(self, uri: str) -> dict[str, Any] | None:
        """The arguments in a URI; None if it is none of this template."""
        return match_uri_template(uri, self.uri_template)

    async def read(self, arguments: dict[str, Any]) -> str | bytes:
        """What the resource of these arguments contains."""
        raise NotImplementedError(f"{type(self).__name__} needs an `async def read(self, arguments)`.")

    async def create_resource(self, uri: str, params: dict[str, Any]) -> Resource:
        """The resource of a URI, in which the arguments are `params`."""

        async def read() -> str | bytes:
            return await self.read(params)

        about: ResourceFields = {"mime_type": self.mime_type, "tags": set(self.tags), "enabled": self.enabled}
        return FunctionResource.from_function(read, uri, self.name, self.title, self.description, **about)

    def to_mcp_template(self, *, include_fastmcp_meta: bool | None = None, **overrides: Any) -> OfficialTemplate:
        """It as clients are told of it; see `Tool.to_mcp_tool`."""
        fields = {
            "uri_template": self.uri_template,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "mime_type": self.mime_type,
            "annotations": self.annotations,
            "_meta": self.get_meta(include_fastmcp_meta),
        }
        return readable(OfficialTemplate(**cast(Any, fields | overrides)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(uri_template={self.uri_template!r}, name={self.name!r})"


class FunctionResourceTemplate(ResourceTemplate):
    """A function (`fn`) that makes a resource of the arguments in its URI."""

    fn: Function = Field(exclude=True)

    _said: FuncMetadata | None = PrivateAttr(default=None)

    @classmethod
    def from_function(
        cls,
        fn: Function,
        uri_template: str,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        **fields: Unpack[ResourceFields],
    ) -> "FunctionResourceTemplate":
        """A function as a template; its arguments are those of the template, checked by their annotations.

        Args:
            fn: the function, sync or async.
            uri_template: with an expression for each argument that has no default.
            name: the function's own, if not given.
            title: for people.
            description: the docstring, if not given.
            fields: `mime_type`, `tags`, `enabled`, `annotations`, `meta`.

        Raises:
            ValueError: the template's arguments are not the function's, or it is a nameless lambda.
        """
        refuse_variadic(fn, "templates", keywords=True)
        called = callable_of(fn)
        said = _template_arguments(called, uri_template)
        about = fields_of(fn, name, title, description, fields)
        parameters = schema_of(said) if said is not None else {"type": "object", "properties": {}}
        made = cls(fn=called, uri_template=uri_template, parameters=parameters, **about)
        made._said = said
        return made

    async def read(self, arguments: dict[str, Any]) -> str | bytes:
        """What the function gives.

        Raises:
            pydantic.ValidationError: the arguments are not what it takes.
        """
        checked = self._said.validate_arguments(arguments) if self._said is not None else arguments
        return await content_of(await call(self.fn, checked))


class ProxyTemplate(ResourceTemplate):
    """A template of a server behind a proxy. It can't be changed; its `copy()` can, and reads there too."""

    @classmethod
    def from_mcp_template(
        cls, client: Caller, mcp_template: OfficialTemplate, member: object = None
    ) -> "ProxyTemplate":
        """A template as it is listed; see `ProxyTool.from_mcp_tool`."""
        return cls(
            uri_template=mcp_template.uri_template,
            name=mcp_template.name,
            title=mcp_template.title,
            description=mcp_template.description,
            mime_type=mcp_template.mime_type or TEXT,
            annotations=mcp_template.annotations,
            meta=mcp_template.meta,
            tags=set(tags_of(mcp_template.meta)),
        )._reflect(mcp_template.uri_template, client, member, "mime_type")

    async def read(self, arguments: dict[str, Any]) -> str | bytes:
        """What the resource of these arguments contains, where it is."""
        mirror = mirror_of(self)
        return first_content(await read_mirrored(mirror, expand(mirror.own, arguments)))

    async def create_resource(self, uri: str, params: dict[str, Any]) -> ProxyResource:
        """The resource of these arguments, read where it is."""
        mirror = mirror_of(self)
        own = expand(mirror.own, params)
        contents = await read_mirrored(mirror, own)
        content = first_content(contents)
        listed = OfficialResource(
            uri=own,
            name=self.name,
            title=self.title,
            description=self.description,
            mime_type=contents[0].mime_type or self.mime_type,
            _meta=self.meta,
        )
        made = ProxyResource.from_mcp_resource(mirror.caller, listed, mirror.member)
        made._value = content
        return made


# -- what a template says ----------------------------------------------------------------------------------------------


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts: list[str] = []
    at = 0
    for found in _EXPRESSION.finditer(template):
        parts += [re.escape(template[at : found.start()]), f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})"]
        at = found.end()
    return re.compile("".join([*parts, re.escape(template[at:])]))


def match_uri_template(uri: str, uri_template: str) -> dict[str, str] | None:
    """The arguments that a URI has by a template, unquoted; None if it does not match."""
    found = _pattern(uri_template).fullmatch(uri)
    return {name: unquote(value) for name, value in found.groupdict().items()} if found is not None else None


def expand(uri_template: str, arguments: dict[str, Any]) -> str:
    """The URI of arguments by a template; slashes stay as they are where the template has `{name*}`.

    Raises:
        ValueError: an argument is missing.
    """

    def put(found: re.Match[str]) -> str:
        if found[1] not in arguments:
            raise ValueError(f"The template {uri_template!r} needs the argument {found[1]!r}.")
        return quote(str(arguments[found[1]]), safe="/" if found[2] else "")

    return _EXPRESSION.sub(put, uri_template)


def _template_arguments(fn: Function, uri_template: str) -> FuncMetadata | None:
    """How the arguments of a template's function are checked; None where it takes any."""
    named = {found[1] for found in _EXPRESSION.finditer(uri_template)}
    if not named:
        raise ValueError(f"The template {uri_template!r} has no argument: it needs an expression like {{name}}.")
    context = context_parameter(fn)
    parameters = {name: each for name, each in inspect.signature(fn).parameters.items() if name != context}
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    own = {name: each for name, each in parameters.items() if each.kind is not inspect.Parameter.VAR_KEYWORD}
    needed = {name for name, each in own.items() if each.default is inspect.Parameter.empty}
    if missing := sorted(needed - named):
        raise ValueError(f"The template {uri_template!r} does not give the argument {missing[0]!r} of its function.")
    if not takes_any and (unknown := sorted(named - set(own))):
        raise ValueError(f"The template {uri_template!r} gives {unknown[0]!r}, which its function does not take.")
    return None if takes_any else arguments_of(fn, (context,) if context is not None else ())
