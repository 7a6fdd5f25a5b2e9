"""A server's questions, put to whoever sits at the terminal.

Nothing is opened, sent or revealed without an answer typed there, but for the roots, which are given on the command
line. Ctrl-D declines. Without a terminal every question is declined, with a line that says so.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from isthmus.cli.arguments import fit
from isthmus.cli.terminal import Terminal, one_line, plain
from isthmus.errors import ConfigError

CAPABILITIES: Final[dict[str, Any]] = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}


class Declined(Exception):
    """There is no answer, and the question's result has no way to say so."""


class Questions:
    """Answers what a server asks.

    Args:
        terminal: where people are asked.
        server: the server's name, said with every question.
        roots: the folders that the server may know of.
    """

    def __init__(self, terminal: Terminal, server: str, roots: Sequence[Path]) -> None:
        self._terminal = terminal
        self._server = server
        self._roots = roots

    async def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of a question.

        Raises:
            Declined: there is none; the text is a sentence that says why.
        """
        if method == "roots/list":
            return {"roots": [{"uri": root.as_uri(), "name": root.name} for root in self._roots]}
        if method not in ("elicitation/create", "sampling/createMessage"):
            raise Declined(f"{one_line(method)} is not a question that this client can answer.")
        if not self._terminal.is_there:
            asked = one_line(params.get("message") or method)
            self._terminal.say(f"isthmus: declined, as there is no terminal to ask at: {asked}")
            if method == "elicitation/create":
                return {"action": "decline"}
            raise Declined("There is no terminal where a model's answer could be typed.")
        if method == "sampling/createMessage":
            return await self._sample(params)
        if params.get("mode") == "url":
            return await self._visit(params)
        return await self._fill(params)

    async def _visit(self, params: dict[str, Any]) -> dict[str, Any]:
        """A URL is shown, whole, and never opened."""
        self._terminal.say(f"{self._server} wants you to visit a page: {plain(params.get('message') or '')}")
        self._terminal.say(f"  {one_line(params.get('url'))}")
        typed = await self._terminal.ask("Open it yourself if you trust it. Tell the server that you agree? [y/N] ")
        if typed is None:
            return {"action": "cancel"}
        return {"action": "accept" if typed.lower() in ("y", "yes") else "decline"}

    async def _sample(self, params: dict[str, Any]) -> dict[str, Any]:
        """The typed answer stands for a model's."""
        self._terminal.say(f"{self._server} asks for a model's answer. There is no model here: you may type one.")
        if params.get("systemPrompt"):
            self._terminal.say(f"  system: {plain(params['systemPrompt'])}")
        messages = params.get("messages")
        for each in messages if isinstance(messages, list) else []:
            if isinstance(each, dict):
                self._terminal.say(f"  {one_line(each.get('role'))}: {_spoken(each.get('content'))}")
        typed = await self._terminal.ask("Answer (empty declines): ")
        if not typed:
            raise Declined("The user declined to answer for a model.")
        content = {"type": "text", "text": typed}
        return {"role": "assistant", "content": content, "model": "human", "stopReason": "endTurn"}

    async def _fill(self, params: dict[str, Any]) -> dict[str, Any]:
        """A form, field by field."""
        self._terminal.say(f"{self._server} asks: {plain(params.get('message') or '')}  (Ctrl-D declines)")
        schema = params.get("requestedSchema")
        properties = schema.get("properties") if isinstance(schema, dict) else None
        required = schema.get("required") if isinstance(schema, dict) else None
        content: dict[str, Any] = {}
        for name, field in properties.items() if isinstance(properties, dict) else ():
            is_needed = isinstance(required, list) and name in required
            given = await self._fill_field(name, field if isinstance(field, dict) else {}, is_needed)
            if given is None:
                return {"action": "decline"}
            content.update((name, each) for each in given)
        return {"action": "accept", "content": content}

    async def _fill_field(self, name: str, field: dict[str, Any], is_needed: bool) -> list[Any] | None:
        """The field's value as a list of one, [] where it is left out; None if the form is declined."""
        options = _options(field)
        for number, (value, title) in enumerate(options, 1):
            self._terminal.say(f"    {number}) {one_line(title)}" + (f" ({one_line(value)})" if title != value else ""))
        prompt = _prompt(name, field, is_needed)
        while True:
            typed = await self._terminal.ask(prompt)
            if typed is None:
                return None
            if not typed and "default" in field:
                return [field["default"]]
            if not typed and not is_needed:
                return []
            if not typed:
                self._terminal.say("    It is required. Ctrl-D declines the whole question.")
                continue
            try:
                return [_value(name, typed, field, options)]
            except ConfigError as error:
                self._terminal.say(f"    {error}")


def _prompt(name: str, field: dict[str, Any], is_needed: bool) -> str:
    kind = one_line("choices, with commas between" if field.get("type") == "array" else field.get("type") or "text")
    text = f"  {one_line(field.get('title') or name)} ({kind}{', required' if is_needed else ''})"
    if field.get("description"):
        text += f" – {one_line(field['description'])}"
    if "default" in field:
        text += f" [{one_line(json.dumps(field['default'], ensure_ascii=False))}]"
    return f"{text}: "


def _options(field: dict[str, Any]) -> list[tuple[str, str]]:
    """The values that a field may have, each with its title; none where it is free."""
    items = field.get("items")
    source = items if isinstance(items, dict) else field
    values, names = source.get("enum"), source.get("enumNames")
    if isinstance(values, list):
        titles = names if isinstance(names, list) and len(names) == len(values) else values
        return [(str(value), str(title)) for value, title in zip(values, titles, strict=True)]
    titled = source.get("oneOf") or source.get("anyOf")
    if not isinstance(titled, list):
        return []
    found = [each for each in titled if isinstance(each, dict) and "const" in each]
    return [(str(each["const"]), str(each.get("title") or each["const"])) for each in found]


def _value(name: str, typed: str, field: dict[str, Any], options: list[tuple[str, str]]) -> Any:
    if field.get("type") == "array":
        chosen = [_choose(each.strip(), options) for each in typed.split(",") if each.strip()]
        return _bounded(chosen, len(chosen), field, ("minItems", "maxItems"), "choices")
    if options:
        return _choose(typed, options)
    value = fit(name, typed, field)
    if isinstance(value, str):
        return _bounded(value, len(value), field, ("minLength", "maxLength"), "characters")
    return _bounded(value, value, field, ("minimum", "maximum"), "")


def _choose(typed: str, options: list[tuple[str, str]]) -> str:
    """A choice by value, by title or by number."""
    for value, title in options:
        if typed in (value, title):
            return value
    if typed.isdecimal() and 1 <= int(typed) <= len(options):
        return options[int(typed) - 1][0]
    raise ConfigError(f"{typed!r} is none of the choices. Type one of them, or its number.")


def _bounded(value: Any, size: Any, field: dict[str, Any], names: tuple[str, str], unit: str) -> Any:
    least, most = (field.get(name) for name in names)
    if isinstance(least, int | float) and size < least:
        raise ConfigError(f"That is too little; at least {least:g} {unit}".rstrip() + ".")
    if isinstance(most, int | float) and size > most:
        raise ConfigError(f"That is too much; at most {most:g} {unit}".rstrip() + ".")
    return value


def _spoken(content: Any) -> str:
    blocks = content if isinstance(content, list) else [content]
    texts = [
        plain(each["text"]) if isinstance(each.get("text"), str) else f"[{one_line(each.get('type'))}]"
        for each in blocks
        if isinstance(each, dict)
    ]
    return " ".join(texts)
