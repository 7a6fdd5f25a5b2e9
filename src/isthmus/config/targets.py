"""Where a server is: its command or its URL, out of its checked node."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from isthmus.config.document import Node
from isthmus.config.keys import TRANSPORTS
from isthmus.config.variables import Variables, read_env_file
from isthmus.protocol.forwarding import may_be_forwarded
from isthmus.transports.http_client import FRAMING
from isthmus.transports.http_connect import split_url
from isthmus.transports.launch import Launch
from isthmus.transports.target import HttpTarget, Target

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*\Z")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+\Z")
_URL: Final = re.compile(r"(?i)https?://|http\+unix://|unix:")


def target_of(name: str, node: Node, variables: Variables) -> Target:
    """What a server's node means.

    Raises:
        ConfigError: it has no command and no URL, both, keys that don't go together, or a URL that is none.
    """
    said: dict[str, Node] = node.value
    is_command = "command" in said
    if is_command == ("url" in said):
        has = "both 'command' and" if is_command else "neither 'command' nor"
        raise node.wrong_key(f"The server {name!r} has {has} 'url'. Give it one of them.")
    transport = _transport(said)
    if transport is not None and (transport.value == "stdio") != is_command:
        what = "command" if is_command else "url"
        raise transport.wrong(f"{transport.value!r} is not the transport of a {what!r}. Leave it out.")
    for key in ("headers", "auth") if is_command else ("args", "env", "envFile", "cwd"):
        if key in said:
            what = "url" if is_command else "command"
            raise said[key].wrong_key(f"{key!r} is for a server with {what!r}. Remove it.")
    if is_command:
        return _launch(name, node, variables)
    kind = TRANSPORTS[transport.value] if transport is not None else "auto"
    return _http(name, said, kind or "auto")


def forwarded(server: Node, names: Node | None) -> tuple[str, ...]:
    """Headers of clients that go on to the server, in lower case.

    Args:
        server: its node.
        names: what is said of it, there or for all servers.

    Raises:
        ConfigError: one can't be forwarded, or the server, which is a command, was said to have some.
    """
    if names is None:
        return ()
    for each in names.value:
        if not may_be_forwarded(each.value):
            raise each.wrong(f"The header {each.value!r} belongs to one connection or message. Leave it out.")
    if "url" in server.value:
        return tuple(each.value.lower() for each in names.value)
    own = server.value.get("isthmus")
    if own is not None and "forward_headers" in own.value:
        raise names.wrong_key("'forward_headers' is for a server with 'url'; a command has no headers. Remove it.")
    return ()


def _transport(said: Mapping[str, Node]) -> Node | None:
    both = [said[key] for key in ("type", "transport") if key in said]
    if len(both) == 2 and TRANSPORTS[both[0].value] != TRANSPORTS[both[1].value]:
        raise both[1].wrong(
            f"'transport' says {both[1].value!r}, and 'type' says {both[0].value!r} ({both[0].at}). Remove one of them."
        )
    return both[0] if both else None


def _launch(name: str, node: Node, variables: Variables) -> Launch:
    """The command, whether it is there or not: one that is missing harms nobody else."""
    said: dict[str, Node] = node.value
    env: dict[str, str] = {}
    if "envFile" in said:
        env |= read_env_file(said["envFile"], Path(variables.folder, said["envFile"].value))
    for key, each in said["env"].value.items() if "env" in said else ():
        env[key] = f"{each.value:.15g}" if isinstance(each.value, float) else str(each.value)
    args = said["args"].plain() if "args" in said else ()
    cwd = os.path.join(variables.folder, said["cwd"].value) if "cwd" in said else None
    launch = Launch(name, (said["command"].value, *args), env, cwd)
    try:
        launch.check()
    except ValueError as error:
        raise node.wrong_key(f"The server {name!r} can't be started: {error}.") from None
    return launch


def _http(name: str, said: Mapping[str, Node], kind: Literal["auto", "http", "sse"] | Any) -> HttpTarget:
    url: str = said["url"].value
    if not _URL.match(url):
        raise said["url"].wrong(f"The URL of {name!r} begins with none of http://, https:// and unix:. Correct it.")
    is_socket = url.lower().startswith(("unix:", "http+unix:"))
    try:
        if url.lower().startswith("unix:"):
            path, mark, endpoint = url[5:].partition("#")  # VS Code's form: the endpoint on the socket behind '#'
            url = f"http+unix://{quote(os.path.abspath(path), safe='')}/{endpoint.lstrip('/') if mark else 'mcp'}"
        split_url(url)
    except ValueError as error:
        why = "is not a URL" if isinstance(error, UnicodeError) else error
        form = "unix:PATH" if is_socket else "http://HOST:PORT/PATH"
        raise said["url"].wrong(f"The URL of {name!r} {why}. Write it as {form}.") from None
    return HttpTarget(name, url, tuple(_headers(said)), kind)


def _headers(said: Mapping[str, Node]) -> list[tuple[str, str]]:
    headers: Mapping[str, Node] = said["headers"].value if "headers" in said else {}
    for title, each in headers.items():
        if not _HEADER_NAME.match(title):
            raise each.wrong_key(f"{title!r} is no name of a header. Use letters, digits and '-'.")
        if not _HEADER_VALUE.match(each.value):
            raise each.wrong(f"The header {title!r} holds a line break or another character that it can't.")
        if title.lower() in FRAMING:
            raise each.wrong_key(f"The header {title!r} is decided by the connection itself. Leave it out.")
    pairs = [(title, each.value) for title, each in headers.items()]
    auth = said.get("auth")
    if auth is None:
        return pairs
    if auth.value == "oauth":
        raise auth.wrong("isthmus does not log in at servers. Write a token instead, or a header Authorization.")
    if any(title.lower() == "authorization" for title in headers):
        raise auth.wrong_key("'auth' and the header 'Authorization' mean the same. Remove one of them.")
    if not _TOKEN.match(auth.value):
        raise auth.wrong("'auth' holds a blank or another character that no token has. Write the token alone.")
    return [*pairs, ("Authorization", f"Bearer {auth.value}")]
