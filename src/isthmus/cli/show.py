"""A tool's result, for people: text as it is, structured content laid out, everything else in a line."""

import base64
import binascii
import json
import mimetypes
import os
import re
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from isthmus.cli.terminal import one_line, plain
from isthmus.errors import ConfigError

_SHOWN: Final = 20_000
"""Characters of one text that are printed on a terminal: a few screens."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_TRIES: Final = 10_000


class View(NamedTuple):
    """How a result is shown: the tool's name, where files are saved, whether long text is shown whole."""

    tool: str
    save: Path | None = None
    is_full: bool = False


def show(result: dict[str, Any], view: View) -> None:
    """Print a `tools/call` result on stdout.

    Raises:
        ConfigError: a file can't be saved.
    """
    content = result.get("content")
    blocks = [each for each in content if isinstance(each, dict)] if isinstance(content, list) else []
    structured = result.get("structuredContent")
    for block in blocks:
        if structured is not None and _is_same(block, structured):
            continue
        _show_block(block, view)
    if structured is not None:
        _print_text(json.dumps(structured, indent=2, ensure_ascii=False), view)
    if not blocks and structured is None and sys.stdout.isatty():
        print("(no content)")


def _show_block(block: dict[str, Any], view: View) -> None:
    kind = block.get("type")
    inner = block.get("resource")
    resource = inner if isinstance(inner, dict) else {}
    if kind == "text":
        _print_text(str(block.get("text", "")), view)
    elif kind in ("image", "audio"):
        _print_bytes(str(kind), block.get("data"), block.get("mimeType"), view)
    elif kind == "resource" and "text" in resource:
        _print_text(str(resource["text"]), view)
    elif kind == "resource":
        _print_bytes(f"resource {one_line(resource.get('uri'))}", resource.get("blob"), resource.get("mimeType"), view)
    elif kind == "resource_link":
        print(one_line(block.get("uri")))
    else:
        print(f"[{one_line(kind)}: not a kind of content that isthmus knows; --json prints it]")


def _print_text(text: str, view: View) -> None:
    """On a terminal without control characters and cut; anywhere else as it is."""
    if not sys.stdout.isatty():
        print(text)
        return
    shown = text if view.is_full or len(text) <= _SHOWN else text[:_SHOWN]
    print(plain(shown))
    if len(shown) < len(text):
        print(f"… {len(text) - len(shown):,} more characters; --full prints all of them.", file=sys.stderr)


def _print_bytes(what: str, data: Any, type: Any, view: View) -> None:
    try:
        decoded = base64.b64decode(str(data), validate=True)
    except (binascii.Error, ValueError):
        print(f"[{what}, {one_line(type)}: not base64, so it can't be read]")
        return
    said = f"{what}, {one_line(type or 'unknown type')}, {len(decoded):,} bytes"
    if view.save is None:
        print(f"[{said}; --save DIR keeps it]")
    else:
        print(f"[{said}, saved as {_save(decoded, str(type), view.save, view.tool)}]")


def _save(data: bytes, type: str, folder: Path, tool: str) -> Path:
    """Write a new file; one that exists is never touched."""
    stem = _UNSAFE.sub("_", tool).strip("._") or "result"
    suffix = mimetypes.guess_extension(type.partition(";")[0].strip()) or ".bin"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, _TRIES):
            path = folder / f"{stem}{'' if number == 1 else f'-{number}'}{suffix}"
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                continue
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            return path
    except OSError as error:
        raise ConfigError(
            f"Nothing can be saved in {str(folder)!r}: {error.strerror}. Choose another --save."
        ) from None
    raise ConfigError(f"There are too many files of {stem!r} in {str(folder)!r}. Choose another --save.")


def _is_same(block: dict[str, Any], structured: Any) -> bool:
    """Whether a text block is the structured content once more, for clients that don't know that."""
    text = block.get("text")
    if block.get("type") != "text" or not isinstance(text, str) or text[:1] not in "{[":
        return False
    try:
        return bool(json.loads(text) == structured)
    except (ValueError, RecursionError):
        return False
