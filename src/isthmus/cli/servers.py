"""`isthmus run FILE`: many servers, as a file configures them."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from isthmus.errors import ConfigError

if TYPE_CHECKING:
    from isthmus.config.load import Config
    from isthmus.config.variables import Ask, Input
    from isthmus.engine.member import Spec
    from isthmus.engine.settings import Settings
    from isthmus.many.plan import Plan, Stamp
    from isthmus.transports.launch import Launch

_SUFFIXES: Final = (".json", ".jsonc")
_NOT_FOR_FILES: Final = ("header", "env", "cwd", "isolation", "warm", "timeout", "record", "insecure")
"""Options of `run` that are said of each server in the file, or make sense for a single one alone."""


def is_file(target: object) -> bool:
    """Whether a target is a file that configures servers."""
    return isinstance(target, str) and target.lower().endswith(_SUFFIXES) and "://" not in target


def read_plan(path: str, *, name: str | None, watches: bool) -> "tuple[Plan, Settings]":
    """What a file configures: its servers, and what is said of the proxy itself.

    Args:
        path: of the file.
        name: what the proxy calls itself, whatever the file says; None for what that says.
        watches: whether changes of the file are to be followed at once.

    Raises:
        ConfigError: it can't be read or can't work.
    """
    from dataclasses import replace

    from isthmus.cli.config import asker
    from isthmus.config.load import load
    from isthmus.many.plan import Plan, stamp

    known: dict[str, str | None] = {}
    files: dict[str, Stamp] = {path: None}

    def read(ask: "Ask | None") -> "Config":
        nonlocal files
        files = {each: stamp(each) for each in files}  # before it is read: what comes later is a change
        config = load(path, ask=ask)
        files = {each: files.get(each, stamp(each)) for each in config.files}
        return config

    def again() -> "tuple[Spec, ...]":
        """Nobody is asked while clients are served: the answer could be long in coming, and all would wait for it."""
        return _of_whole(read(lambda wanted: known.get(wanted.id)).specs, settings)

    config = read(_once(asker(), known))
    settings = replace(config.settings, name=name) if name is not None else config.settings
    watched = (lambda: files) if watches else None
    plan = Plan(name=Path(path).name, specs=_of_whole(config.specs, settings), again=again, watched=watched)
    return plan, settings


def _of_whole(specs: "tuple[Spec, ...]", whole: "Settings") -> "tuple[Spec, ...]":
    """The servers, with the name and the clients' limits of the whole: those that a new file has replace nobody."""
    from dataclasses import replace

    from isthmus.config.keys import FRONT_LIMITS

    fronts = {each: getattr(whole.limits, each) for each in FRONT_LIMITS}
    said = ((spec, replace(spec.settings.limits, **fronts)) for spec in specs)
    return tuple(replace(spec, settings=replace(spec.settings, name=whole.name, limits=each)) for spec, each in said)


def refuse_options(arguments: argparse.Namespace) -> None:
    """Refuse what is said in the file.

    Raises:
        ConfigError: one of these options was given.
    """
    for option in _NOT_FOR_FILES:
        if getattr(arguments, option, None) not in (None, [], False):
            raise ConfigError(f"--{option} is not for a file of servers: say it of each server there. See the docs.")


def read_specs(path: str) -> "tuple[Spec, ...]":
    """The servers that a file configures, in their order.

    Raises:
        ConfigError: it can't be read or can't work.
    """
    from isthmus.cli.config import asker
    from isthmus.config.load import load

    return load(path, ask=_once(asker(), {})).specs


def as_command(path: str) -> "Launch":
    """What a file configures as one server, for the commands that use one."""
    from isthmus.transports.launch import Launch

    # All of the environment: the file's variables come from it, and its servers get little of it.
    return Launch(Path(path).name, (sys.executable, "-m", "isthmus", "run", path), dict(os.environ), None)


def _once(ask: "Ask | None", known: "dict[str, str | None]") -> "Ask | None":
    """Asks for each input once, and keeps the answers in `known`."""
    if ask is None:
        return None

    def asked(wanted: "Input") -> str | None:
        if wanted.id not in known:
            known[wanted.id] = ask(wanted)
        return known[wanted.id]

    return asked
