"""`isthmus config`: the schema of a configuration, what one means, and one made out of a client's."""

import getpass
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.cli.terminal import plain
from isthmus.errors import ConfigError

if TYPE_CHECKING:
    from isthmus.config.load import Config
    from isthmus.config.variables import Ask, Input


def print_schema() -> int:
    """The JSON schema, for editors."""
    from isthmus.config.schema import schema

    _print(schema())
    return 0


def show(path: str) -> int:
    """A file as it is understood, with secrets masked."""
    from isthmus.config.show import shown

    _print(shown(read(path)))
    return 0


def read(path: str) -> "Config":
    """A configuration to look at: nobody is asked for inputs, whose values would not be shown anyway.

    A value that may be right stands for each: a port, say, is looked at.
    """
    from isthmus.config.load import load

    return load(path, ask=lambda wanted: wanted.default or (wanted.options[0][1] if wanted.options else "1"))


def import_from(client: str, file: str | None) -> int:
    """A client's servers, printed as a configuration of ours; what was left out is said on stderr."""
    from isthmus.config.clients import CLIENTS, find, places, take

    if client not in CLIENTS:
        raise ConfigError(f"There is no client {client!r} to import from; there are {', '.join(CLIENTS)}.")
    here = Path.cwd()
    if file is not None:
        found = take(Path(file), here)
    else:
        found = find(client, places(client, sys.platform, Path.home(), os.environ, here), here)
    print(f"isthmus: {len(found.configuration['mcpServers'])} servers of {found.path}", file=sys.stderr)
    for line in found.left_out:
        print(f"isthmus: {plain(line)}", file=sys.stderr)
    _print(found.configuration)
    return 0


def asker() -> "Ask | None":
    """Asks whoever sits at the terminal for an input; None where nobody does."""
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return _ask


def _ask(wanted: "Input") -> str | None:
    said = plain(wanted.description or wanted.id)
    for number, (label, _) in enumerate(wanted.options, 1):
        print(f"  {number}. {plain(label)}", file=sys.stderr)
    hint = "" if wanted.default is None or wanted.is_hidden else f" [{plain(wanted.default)}]"
    prompt = f"{said}{hint}: "
    if wanted.is_hidden:
        try:
            typed = getpass.getpass(prompt, sys.stderr)
        except EOFError:
            return None
    else:
        print(prompt, end="", file=sys.stderr, flush=True)
        typed = sys.stdin.readline().rstrip("\r\n")
    for label, value in wanted.options:
        if typed in (label, value):
            return value
    if typed.isdecimal() and 1 <= int(typed[:9]) <= len(wanted.options):
        return wanted.options[int(typed[:9]) - 1][1]
    return typed or None


def _print(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=not _is_utf8()))


def _is_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
