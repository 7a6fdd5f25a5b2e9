"""What `${…}` in a configuration stands for.

${NAME}, ${env:NAME}         a variable of the environment; an error if it is not set
${NAME:-text}                the same, or the text where it is not set or empty
${input:ID}                  an input of VS Code: from the environment's INPUT_ID, else asked, else its default
${workspaceFolder} and such  what editors know by themselves (`Variables.known`)
$${                          ${ as it is

None of them stands inside another one: `${A:-${B}}` is an error.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from isthmus.config.document import Node
from isthmus.config.kinds import Items, Kind, Names, Record, nearest
from isthmus.errors import ConfigError
from isthmus.limits import CONFIG_BYTES

_USE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)([{}])")
_VARIABLE: Final = re.compile(r"(?s)(?:env:([^:]+?)|([A-Za-z_]\w*))(?::-(.*))?\Z")
_LINE: Final = re.compile(r"(?:export\s+)?([^\s=]+)\s*=\s*(.*?)\s*\Z")
_COMMENT: Final = re.compile(r"\s+#.*\Z")
_FORMS: Final = "Write ${NAME}, ${NAME:-default} or ${input:ID}, or $${ for the characters themselves"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A value that somebody is asked for: `options` are pairs of what is shown and what is meant."""

    id: str
    description: str = ""
    is_hidden: bool = False
    default: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    @property
    def variable(self) -> str:
        """The variable of the environment that answers it."""
        return "INPUT_" + re.sub(r"[^A-Z0-9]", "_", self.id.upper())


Ask = Callable[[Input], str | None]
"""Asks somebody; None where there is no answer."""


@dataclass(frozen=True, slots=True)
class Variables:
    """Where values come from: the environment, the inputs, whoever can be asked, and the folder of the project."""

    environ: Mapping[str, str]
    folder: str = "."
    inputs: Mapping[str, Input] = field(default_factory=dict)
    ask: Ask | None = None
    answers: dict[str, str] = field(default_factory=dict)
    """What was answered already: an input is asked for once, wherever it is used."""

    def fill(self, node: Node, kind: Kind) -> Node:
        """The value with all `${…}` replaced where the table of keys allows it; what changed is marked as secret.

        Raises:
            ConfigError: a variable or input has no value, or a form is unknown.
        """
        match kind:
            case Record():
                return replace(node, value={name: self._member(each, kind, name) for name, each in node.value.items()})
            case Names():
                return replace(node, value={name: self.fill(each, kind.of) for name, each in node.value.items()})
            case Items():
                return replace(node, value=[self.fill(each, kind.of) for each in node.value])
            case _:
                return self._deep(node)

    def _member(self, node: Node, record: Record, name: str) -> Node:
        key = record.keys.get(name)
        return self.fill(node, key.kind) if key is not None and key.expands else node

    def _deep(self, node: Node) -> Node:
        value = node.value
        if isinstance(value, dict):
            return replace(node, value={name: self._deep(each) for name, each in value.items()})
        if isinstance(value, list):
            return replace(node, value=[self._deep(each) for each in value])
        return self._text(node) if isinstance(value, str) and "${" in value else node

    def _text(self, node: Node) -> Node:
        is_secret = node.is_secret

        def put(match: re.Match[str]) -> str:
            nonlocal is_secret
            inside, end = match.groups()
            if inside is None:
                return "${"
            if end == "{":
                _refuse_nested(inside, node)
                return match[0]
            known = self.known(inside)
            if known is not None:
                return known
            is_secret = True
            return self._value(inside, node)

        return replace(node, value=_USE.sub(put, node.value), is_secret=is_secret)

    def known(self, name: str) -> str | None:
        """What editors put in by themselves."""
        match name:
            case "workspaceFolder":
                return self.folder
            case "workspaceFolderBasename":
                return os.path.basename(self.folder)
            case "userHome":
                return os.path.expanduser("~")
            case "pathSeparator" | "/":
                return os.sep
        return None

    def _value(self, inside: str, node: Node) -> str:
        if inside.startswith("input:"):
            return self._input(inside.removeprefix("input:"), node)
        match = _VARIABLE.match(inside)
        if match is None:
            raise node.wrong(f"${{{inside.partition(':-')[0][:100]}}} is nothing that isthmus knows. {_FORMS}.")
        name, default = match[1] or match[2], match[3]
        value = self.environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            raise node.wrong(f"The variable {name} is not set. Set it, or write a default: ${{{inside}:-…}}.")
        return value

    def _input(self, name: str, node: Node) -> str:
        wanted = self.inputs.get(name)
        if wanted is None:
            near = nearest(name, self.inputs)
            hint = f"Did you mean {near!r}?" if near is not None else "Add it there."
            raise node.wrong(f"There is no input {name[:100]!r} among 'inputs'. {hint}")
        if name not in self.answers:
            answer = self.environ.get(wanted.variable)
            if answer is None and self.ask is not None:
                answer = self.ask(wanted)
            answer = wanted.default if answer is None else answer
            if answer is None:
                raise node.wrong(
                    f"The input {name!r} has no value, and nobody can be asked now. "
                    f"Start isthmus on a terminal or with the variable {wanted.variable}, or write a 'default'."
                )
            self.answers[name] = answer
        return self.answers[name]


def _refuse_nested(inside: str, node: Node) -> None:
    """Refuse a brace in a default, or a `${` in a `${`; any other that is not closed are characters like others."""
    name, mark, _ = inside.partition(":-")
    if mark or inside.endswith("$"):
        name = name.rstrip("$")[:100]
        raise node.wrong(f"${{{name}… holds a brace, and nothing is put into what stands in ${{…}}. {_FORMS}.")


def inputs_of(node: Node | None) -> dict[str, Input]:
    """The inputs of a checked list of them, by id.

    Raises:
        ConfigError: one has no id, or the id of another.
    """
    found: dict[str, tuple[Input, str]] = {}
    for each in node.value if node is not None else ():
        said = each.plain()
        if "id" not in said:
            raise each.wrong("This input has no 'id'. Give it one for ${input:ID} to name.")
        name = said["id"]
        if name in found:
            raise each.wrong(f"The input {name!r} is there twice, first at {found[name][1]}. Rename one of them.")
        pairs = [(option, option) if isinstance(option, str) else _option(option) for option in said.get("options", ())]
        wanted = Input(
            id=name,
            description=said.get("description", ""),
            is_hidden=said.get("password", False),
            default=said.get("default"),
            options=tuple(pairs),
        )
        found[name] = (wanted, each.at)
    return {name: wanted for name, (wanted, _) in found.items()}


def _option(option: dict[str, str]) -> tuple[str, str]:
    value = option.get("value", option.get("label", ""))
    return option.get("label", value), value


def read_env_file(node: Node, path: Path) -> dict[str, str]:
    """The variables in a file of `NAME=value` lines; `#` begins a comment, quotes are taken off.

    Args:
        node: where the file is named; errors don't say what it is called if that came out of a variable.
        path: where it is.

    Raises:
        ConfigError: the file can't be read, or a line is none of these.
    """
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        which = "that 'envFile' names" if node.is_secret else repr(str(path))
        raise node.wrong(f"The file {which} can't be read: {why}. Correct 'envFile'.") from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            match = _LINE.match(line.strip())
            if match is None and node.is_secret:
                raise node.wrong(f"Line {number} of the file that 'envFile' names is not of the form NAME=value.")
            if match is None:
                raise ConfigError(f"{path}:{number}: This line is not of the form NAME=value.")
            found[match[1]] = _unquoted(match[2])
    return found


def _unquoted(value: str) -> str:
    if value[:1] in ("'", '"') and value[:1] in value[1:]:
        quote = value[0]
        inside = value[1 : value.index(quote, 1)]
        return inside.replace("\\n", "\n") if quote == '"' else inside
    return _COMMENT.sub("", value)
