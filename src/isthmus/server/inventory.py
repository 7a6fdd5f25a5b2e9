"""Everything that a server has, as components by name: its own, those of mounted servers, those of proxied ones."""

from typing import TYPE_CHECKING, Any, Final

from isthmus.routing.namespace import Namespace

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
    from isthmus.components import mirror
    from isthmus.engine.settings import Plan

    client: Client[Any] = Client(Plan(name=spec.name, specs=(spec,)))
    async with client:
        listed = await getattr(client, _LISTS[kind])()
    made: dict[str, Any] = {}
    for model in listed:
        shown = str(getattr(model, _KEYS[kind]))
        made[shown] = mirror(kind, model, own=own_name(spec, kind, shown), caller=client, member=spec.name)
    return made


def own_name(spec: "Spec", kind: str, shown: str) -> str:
    """What a server itself calls what clients know as `shown`."""
    prefix = spec.face.prefix
    rest = shown
    if prefix:
        space = Namespace([prefix])
        split = space.split_name(shown) if kind in ("tools", "prompts") else space.split_uri(shown)
        rest = split[1] if split is not None else shown
    return spec.face.own(kind, rest) or rest
