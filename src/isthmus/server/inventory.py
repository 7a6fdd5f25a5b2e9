"""Everything that a server has, as components by name: its own, those of mounted servers, those of proxied ones."""

from typing import TYPE_CHECKING, Any, Final

from isthmus.wire.envelope import METHOD_NOT_FOUND

if TYPE_CHECKING:
    from isthmus.engine.member import Spec
    from isthmus.server.server import FastMCP

_LISTS: Final = {
    "tools": "list_tools",
    "prompts": "list_prompts",
    "resources": "list_resources",
    "resourceTemplates": "list_resource_templates",
}
_KEYS: Final = {"tools": "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uri_template"}


async def inventory(server: "FastMCP", kind: str) -> dict[str, Any]:
    """The components of a kind, by the name, URI or template that clients use; the first of a name wins.

    Raises:
        Exception: a proxied server can't be asked.
    """
    found: dict[str, Any] = {}
    for key, component in server.own_components(kind).items():
        found.setdefault(key, component)
    for child, spec in server.mounted_servers():
        for key, component in (await inventory(child, kind)).items():
            shown = spec.face.shown(kind, key)
            if shown is not None:
                found.setdefault(shown, component.model_copy(key=shown))
    for spec in server.proxied_servers():
        for key, component in (await _mirrored(spec, kind)).items():
            found.setdefault(key, component)
    return found


async def _mirrored(spec: "Spec", kind: str) -> dict[str, Any]:
    """What a proxied server has, each as a mirrored component."""
    from isthmus.client.client import Client
    from isthmus.client.transports import TargetTransport
    from isthmus.exceptions import McpError
    from isthmus.many.plan import Plan

    client: Client[Any] = Client(TargetTransport(Plan(name=spec.name, specs=(spec,))))
    async with client:
        try:
            listed = await getattr(client, _LISTS[kind])()
        except McpError as error:
            if error.code != METHOD_NOT_FOUND:
                raise
            listed = []
    make = _maker(kind)
    return {str(getattr(model, _KEYS[kind])): make(client, model, spec) for model in listed}


def _maker(kind: str) -> Any:
    """What makes a mirrored component of a listed one."""
    from isthmus.components.prompts import ProxyPrompt
    from isthmus.components.resources import ProxyResource
    from isthmus.components.templates import ProxyTemplate
    from isthmus.components.tools import ProxyTool

    makers: dict[str, Any] = {
        "tools": ProxyTool.from_mcp_tool,
        "prompts": ProxyPrompt.from_mcp_prompt,
        "resources": ProxyResource.from_mcp_resource,
        "resourceTemplates": ProxyTemplate.from_mcp_template,
    }
    return makers[kind]
