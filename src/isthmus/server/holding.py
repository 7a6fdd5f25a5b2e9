"""What a `FastMCP` has of its own: the decorators that make functions components, and what adds and removes them."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from typing import TypedDict

    from typing_extensions import Unpack

    from isthmus.components.local import LocalServer
    from isthmus.components.prompts import Prompt, PromptFields
    from isthmus.components.resources import Resource, ResourceFields
    from isthmus.components.templates import ResourceTemplate
    from isthmus.components.tools import Tool, ToolFields

    class _Named(TypedDict, total=False):
        name: str | None
        title: str | None
        description: str | None

    class ToolSaid(_Named, ToolFields, total=False):
        """What is said of a tool."""

        tags: set[str] | None

    class PromptSaid(_Named, PromptFields, total=False):
        """What is said of a prompt."""

        tags: set[str] | None

    class ResourceSaid(_Named, ResourceFields, total=False):
        """What is said of a resource or a template."""


class Holding(ABC):
    """A server that holds components."""

    @property
    @abstractmethod
    def _local(self) -> "LocalServer":
        """Where they are held."""

    @overload
    def tool(self, name_or_fn: Callable[..., Any], **said: "Unpack[ToolSaid]") -> "Tool": ...

    @overload
    def tool(
        self, name_or_fn: str | None = None, **said: "Unpack[ToolSaid]"
    ) -> "Callable[[Callable[..., Any]], Tool]": ...

    def tool(self, name_or_fn: str | Callable[..., Any] | None = None, **said: Any) -> Any:
        """Make a function a tool: `@server.tool`, `@server.tool("name")`, `@server.tool(name=…, tags=…)`.

        Args:
            name_or_fn: the function, or the tool's name.
            said: `name`, `title`, `description`, `tags`, `output_schema`, `annotations`, `exclude_args`, `meta`,
                `enabled`, as `Tool.from_function` takes them.

        Returns:
            the tool, or what makes a function one.
        """
        from isthmus.components.tools import Tool

        def make(fn: Callable[..., Any]) -> "Tool":
            return self.add_tool(Tool.from_function(fn, **said))

        return _decorate(name_or_fn, said, make)

    @overload
    def prompt(self, name_or_fn: Callable[..., Any], **said: "Unpack[PromptSaid]") -> "Prompt": ...

    @overload
    def prompt(
        self, name_or_fn: str | None = None, **said: "Unpack[PromptSaid]"
    ) -> "Callable[[Callable[..., Any]], Prompt]": ...

    def prompt(self, name_or_fn: str | Callable[..., Any] | None = None, **said: Any) -> Any:
        """Make a function a prompt, in the forms of `tool`.

        Args:
            name_or_fn: the function, or the prompt's name.
            said: `name`, `title`, `description`, `tags`, `meta`, `enabled`.
        """
        from isthmus.components.prompts import Prompt

        def make(fn: Callable[..., Any]) -> "Prompt":
            return self.add_prompt(Prompt.from_function(fn, **said))

        return _decorate(name_or_fn, said, make)

    def resource(
        self, uri: str, **said: "Unpack[ResourceSaid]"
    ) -> "Callable[[Callable[..., Any]], Resource | ResourceTemplate]":
        """Make a function a resource, or with `{parameters}` in the URI a template: `@server.resource("data://x")`.

        Args:
            uri: of the resource, or the template.
            said: `name`, `title`, `description`, `mime_type`, `tags`, `enabled`, `annotations`, `meta`.

        Raises:
            TypeError: it is used without a URI.
        """
        if not isinstance(uri, str):
            raise TypeError('@resource needs a URI: @server.resource("data://x").')
        from isthmus.components.functions import callable_of, context_parameter
        from isthmus.components.resources import Resource
        from isthmus.components.templates import ResourceTemplate

        def make(fn: Callable[..., Any]) -> Resource | ResourceTemplate:
            takes = inspect.signature(callable_of(fn)).parameters.keys() - {context_parameter(fn)}
            if takes or "{" in uri:
                return self.add_template(ResourceTemplate.from_function(fn, uri, **said))
            return self.add_resource(Resource.from_function(fn, uri, **said))

        return make

    def add_tool(self, tool: "Tool") -> "Tool":
        """Add a tool; a copy of a mirrored one stands before the mirrored one. Returns it."""
        return self._local.add(tool)

    def add_resource(self, resource: "Resource") -> "Resource":
        """Add a resource; a copy of a mirrored one stands before the mirrored one. Returns it."""
        return self._local.add(resource)

    def add_template(self, template: "ResourceTemplate") -> "ResourceTemplate":
        """Add a template; a copy of a mirrored one stands before the mirrored one. Returns it."""
        return self._local.add(template)

    def add_prompt(self, prompt: "Prompt") -> "Prompt":
        """Add a prompt; a copy of a mirrored one stands before the mirrored one. Returns it."""
        return self._local.add(prompt)

    def remove_tool(self, name: str) -> None:
        """Remove a local tool, or a copy of a mirrored one, which is seen again then.

        Raises:
            NotFoundError: there is none of this name.
        """
        self._local.tools.remove(name)

    def remove_prompt(self, name: str) -> None:
        """Remove a local prompt, or a copy of a mirrored one; as `remove_tool`."""
        self._local.prompts.remove(name)

    def remove_resource(self, uri: str) -> None:
        """Remove a local resource, or a copy of a mirrored one; as `remove_tool`."""
        self._local.resources.remove(uri)

    def remove_template(self, uri_template: str) -> None:
        """Remove a local template, or a copy of a mirrored one; as `remove_tool`."""
        self._local.templates.remove(uri_template)


def _decorate(name_or_fn: Any, said: dict[str, Any], make: Callable[[Callable[..., Any]], Any]) -> Any:
    """What a decorator gives back in each of its forms."""
    if isinstance(name_or_fn, str):
        if said.get("name") is not None:
            raise TypeError("A component has one name: give it once.")
        said["name"] = name_or_fn
    elif callable(name_or_fn):
        return make(name_or_fn)
    elif name_or_fn is not None:
        raise TypeError(f"A function or a name is expected here, and {name_or_fn!r} is neither.")
    return make
