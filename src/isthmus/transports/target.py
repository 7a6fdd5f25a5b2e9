"""What a user names as the server to put isthmus in front of."""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from isthmus.errors import ConfigError
from isthmus.transports.channel import Connect
from isthmus.transports.launch import Launch


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A server that listens: `url` and the headers sent with every request to it.

    `kind` is which of the two HTTP transports it has: streamable HTTP (`http`), HTTP+SSE (`sse`, whose stream is at the
    URL), or whichever is found (`auto`).
    """

    name: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    kind: Literal["auto", "http", "sse"] = "auto"


@dataclass(frozen=True, slots=True)
class ChannelTarget:
    """A server that is spoken to on channels, which `connect` opens: in memory, or on a user's own transport."""

    name: str
    connect: Connect


Target = HttpTarget | Launch | ChannelTarget


_CREDENTIAL = re.compile(r"(?i).*(authorization|cookie|credential|key|password|secret|token)")
"""The names of headers that whoever reads along could use."""


def refuse_exposed(target: Target, forwards: Iterable[str] | None, way_out: str) -> None:
    """Refuse to send credentials over a network where anybody reads along.

    "All authorization server endpoints MUST be served over HTTPS" (basic/authorization), and a token is worth no less
    on its way to the server that it is for.

    Args:
        target: the server.
        forwards: names of the headers of clients that go on to it; None for all.
        way_out: how to say that it may be done all the same.

    Raises:
        ConfigError: its URL is http:// and of another machine, and credentials are sent to it.
    """
    if not isinstance(target, HttpTarget) or not target.url.lower().startswith("http://"):
        return
    from isthmus.transports.http_front.guard import is_loopback

    if is_loopback(urlsplit(target.url).hostname or ""):
        return
    names = ["Cookie"] if forwards is None else list(forwards)
    found = next(
        (each for each in [*(name for name, _ in target.headers), *names] if _CREDENTIAL.fullmatch(each)), None
    )
    if found is not None:
        raise ConfigError(
            f"The header {found!r} would go to {target.name} over plain http, where others can read it. "
            f"Write https://, or say that the network is safe: {way_out}."
        )


def where(target: Target) -> str:
    """Where a target is found: its URL or its command; nothing for one in this process."""
    if isinstance(target, ChannelTarget):
        return ""
    return target.url if isinstance(target, HttpTarget) else " ".join(target.argv)


def read_target(
    target: str | Sequence[str],
    *,
    name: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Target:
    """What a target means: a URL, `unix:PATH`, a `.py` or `.js` file, or a command with its arguments.

    Raises:
        ConfigError: it is none of these, the file or the command does not exist, or an option doesn't fit it.
    """
    if isinstance(target, str) and target.lower().startswith("unix:"):
        target = f"http+unix://{quote(os.path.abspath(target[5:]), safe='')}/mcp"
    if isinstance(target, str) and target.lower().startswith(("http://", "https://", "http+unix://")):
        if env or cwd:
            raise ConfigError("--env and --cwd are for a command; a URL is not started by isthmus. Remove them.")
        try:
            host = urlsplit(target).hostname
        except ValueError:
            raise ConfigError("The target is not a URL. Write it as http://HOST:PORT/PATH.") from None
        is_socket = target.lower().startswith("http+unix:")
        if not host:
            how = "unix:PATH, or http+unix://PATH%2FENCODED/mcp" if is_socket else "http://HOST:PORT/PATH"
            raise ConfigError(f"The URL has no host. Write it as {how}.")
        if is_socket:
            host = os.path.basename(unquote(host))
        return HttpTarget(name or host, target, tuple(headers))
    if headers:
        raise ConfigError("--header is for a URL; a command has no headers. Use --env for its credentials.")
    argv = _script(target, cwd) if isinstance(target, str) else tuple(target)
    if not argv:
        raise ConfigError("After -- there must be a command to start.")
    if not all(isinstance(each, str) for each in argv):
        raise ConfigError(f"A command is a list of strings, and {target!r} is none. Write each word as a string.")
    if cwd is not None and not Path(cwd).is_dir():
        raise ConfigError(f"The folder {cwd!r} of --cwd does not exist.")
    _check_command(argv[0], cwd, (env or {}).get("PATH"))
    return Launch(name or Path(argv[-1] if isinstance(target, str) else argv[0]).name, argv, dict(env or {}), cwd)


def _script(target: str, cwd: str | None) -> tuple[str, ...]:
    suffix = Path(target).suffix
    if suffix not in (".py", ".js", ".mjs", ".cjs"):
        raise ConfigError(
            f"{target!r} is no URL and no .py or .js file. Give a URL (http://…), a script, or -- COMMAND ARGS…"
        )
    if not (Path(cwd or ".") / target).is_file():
        raise ConfigError(f"The file {target!r} does not exist.")
    return (sys.executable if suffix == ".py" else "node", target)


def _check_command(command: str, cwd: str | None, path: str | None) -> None:
    where = str(Path(cwd or ".") / command) if os.path.dirname(command) else command
    if shutil.which(where, path=path) is None:
        raise ConfigError(f"The command {command!r} was not found or is not executable. Check its name and PATH.")
