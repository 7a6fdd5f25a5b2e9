"""Many fake backs (`back.py`) behind one `Many`, what they heard, and clients with a principal."""

import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from isthmus.engine.member import Spec
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.many.gateway import Many
from isthmus.protocol.judge import ModernRequest, judge_modern
from isthmus.routing.choice import Choice
from isthmus.routing.face import Face
from isthmus.transports.launch import Launch
from isthmus.types import Relay
from tests.engine.clients import Exchange, LegacyClient, ModernClient, envelope, until

SCRIPT = str(Path(__file__).with_name("back.py"))
LISTS = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
OWN_TOOLS = ["echo", "link", "ask", "hang", "die", "grow"]
MISSING = "isthmus/unavailable"


def launch(era: str, name: str, log: Path, **env: Any) -> Launch:
    """A fake back, that starts fast."""
    command = (sys.executable, "-I", "-S", SCRIPT, era, name, str(log))
    return Launch(name, command, {key: str(value) for key, value in env.items()})


def spec(era: str, name: str, log: Path, *, prefix: str | None = "", **said: Any) -> Spec:
    """A server as configured. What is in capitals is for the environment of the back, the rest for `Spec`.

    Args:
        era: of the back.
        name: of the server, and its prefix unless another is said; None for none.
        log: where the back writes what it hears.
        prefix: the prefix.
        said: `limits`, `isolation`, `longest` and `choice` go where they belong.
    """
    env = {key: said.pop(key) for key in list(said) if key.isupper()}
    settings = {key: said.pop(key) for key in ("limits", "isolation") if key in said}
    face = Face(name if prefix == "" else prefix, said.pop("choice", Choice()), said.pop("longest", 64))
    return Spec(name=name, target=launch(era, name, log, **env), settings=Settings(**settings), face=face, **said)


def absent(name: str, **said: Any) -> Spec:
    """A server whose command there isn't."""
    return Spec(name=name, target=Launch(name, ("/no/such/command",)), face=Face(name), **said)


@asynccontextmanager
async def many(*specs: Spec, is_local: bool = True, **limits: Any) -> AsyncIterator[Many]:
    """Many servers that afterwards must have left no task, no listener and no process."""
    made = Many(specs, Settings(limits=Limits(**limits), is_local=is_local))
    seen = list(made.members)
    try:
        yield made
    finally:
        seen += [member for member in made.members if member not in seen]
        await made.close()
    assert len(made.tasks) == 0 and not made.listeners and not made.sessions
    assert [member.name for member in seen if len(member.gateway.tasks)] == []
    await until(lambda: not any(running(each.target) for each in specs if isinstance(each.target, Launch)))


def running(target: Launch) -> list[int]:
    """The processes of a back that run now."""
    wanted = "\0".join(target.argv).encode()
    return [int(each.parent.name) for each in Path("/proc").glob("[0-9]*/cmdline") if _text(each).startswith(wanted)]


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def heard(log: Path, name: str, method: str | None = None) -> list[Any]:
    """What a back heard, or what of it has this method."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [said for who, said in lines if who == name and method in (None, said.get("method"))]


def shown(result: Mapping[str, Any], method: str = "tools/list") -> list[str]:
    """The names or URIs of a list."""
    key, named = LISTS[method]
    return [each[named] for each in result[key]]


def prefixed(names: Iterable[str], *prefixes: str) -> list[str]:
    wanted = list(names)
    return [f"{prefix}_{name}" for prefix in prefixes for name in wanted]


def said(result: Mapping[str, Any]) -> Any:
    """What `echo` says."""
    return json.loads(result["content"][0]["text"])


def methods(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [each["method"] for each in messages if "method" in each]


class Known(ModernClient):
    """A modern client of whom the front knows who it is."""

    def __init__(self, relay: Relay, principal: str | None) -> None:
        super().__init__(relay)
        self.principal = principal

    def send(self, text: bytes, headers: Mapping[str, str] | None = None) -> Exchange:
        judged = judge_modern(envelope(text), headers)
        assert isinstance(judged, ModernRequest), judged
        judged.principal = self.principal
        return Exchange(lambda box: self.gateway.relay(judged, box, headers))


async def client_of(made: Many, era: str, **capabilities: Any) -> LegacyClient | ModernClient:
    if era == "legacy":
        return await LegacyClient.open(made, **capabilities)
    return ModernClient(made)
