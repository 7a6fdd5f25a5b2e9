"""`isthmus`: reads the arguments of every command and calls it."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final, NoReturn

from isthmus.cli.servers import is_file
from isthmus.errors import ConfigError
from isthmus.limits import POLL_MOST, Limits
from isthmus.version import __version__

if TYPE_CHECKING:
    import socket

    from isthmus.many.plan import Plan
    from isthmus.run import HttpPlace
    from isthmus.transports.target import Target

_EPILOG = """\
TARGET is a URL (http://… or https://…), a .py or .js file, a .json file of servers, or -- COMMAND ARGS…

  isthmus run https://example.com/mcp             a remote server for a client that starts commands
  isthmus run --http 8080 -- npx -y some-server   a command as an HTTP endpoint
  isthmus run mcp.json                            all servers of a file as one
  isthmus check server.py                         what a server is, and whether it works
  isthmus list server.py                          its tools, resources and prompts
  isthmus call server.py add a=1 b=2              one of its tools
  isthmus run --record file.jsonl server.py       both sides' messages as JSON lines
  isthmus replay file.jsonl                       a server that answers from them
  isthmus config show mcp.json                    what a file of servers means
"""


_CALL: Final = """\
  isthmus call server.py add a=1 b=2              strings become what the tool's schema asks for
  isthmus call server.py add 'a:=1' 'b:=2e3'      JSON as it is
  isthmus call URL write text=@letter.txt         from a file; :=@ for JSON
  echo '{"a": 1}' | isthmus call URL add -        the arguments from stdin
  isthmus call add a=1 b=2 -- COMMAND ARGS…
"""

_CONFIG: Final = """\
  isthmus config schema                           the JSON schema of a file of servers, for editors
  isthmus config show mcp.json                    the file as it is understood, with secrets masked
  isthmus config import claude|cursor|vscode      that client's servers as such a file
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}. See isthmus --help.")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command; exits with 0, 1 (the target does not work) or 2 (the arguments don't)."""
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
    except ConfigError as error:
        print(f"isthmus: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _main(argv: list[str]) -> int:
    command: list[str] | None = None
    if "--" in argv:
        at = argv.index("--")
        argv, command = argv[:at], argv[at + 1 :]
    arguments = _parse(argv, command)
    logging.basicConfig(
        level=arguments.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    target = command if command is not None else arguments.target
    if target is None and arguments.command != "config":
        raise ConfigError("There is no target. Give a URL, a script, a file of servers, or -- COMMAND ARGS…")
    return _COMMANDS[arguments.command](arguments, target)


def _parse(argv: list[str], command: list[str] | None) -> argparse.Namespace:
    """The arguments; `call` takes any number of words, and options between them."""
    arguments, more = _parser().parse_known_args(argv)
    words = [arguments.target] if arguments.target is not None else []
    words += [*getattr(arguments, "words", ()), *more]
    unknown = [word for word in more if word.startswith("-") and word != "-"] or more
    if unknown and (arguments.command != "call" or unknown != more):
        raise ConfigError(f"unrecognized arguments: {' '.join(unknown)}. See isthmus --help.")
    if arguments.command == "call":
        arguments.target = words.pop(0) if command is None and words else None
        arguments.words = words
    if command is not None and arguments.target is not None:
        raise ConfigError(f"There are two targets, {arguments.target!r} and a command after --. Give one.")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="isthmus",
        description="Put one MCP server in front of another: any transport to any transport.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"isthmus {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    style = argparse.RawDescriptionHelpFormatter
    run = commands.add_parser("run", help="serve a target on stdio or HTTP", epilog=_EPILOG, formatter_class=style)
    check = commands.add_parser("check", help="say what a target is", epilog=_EPILOG, formatter_class=style)
    listing = commands.add_parser("list", help="say what a target offers", epilog=_EPILOG, formatter_class=style)
    call = commands.add_parser("call", help="call a tool of a target", epilog=_CALL, formatter_class=style)
    for each in (run, check, listing, call):
        each.add_argument("target", nargs="?", metavar="TARGET")
        each.add_argument("--header", action="append", default=[], metavar="'K: V'", help="sent to a URL")
        each.add_argument("--env", action="append", default=[], metavar="K=V", help="given to a command")
        each.add_argument("--cwd", help="where a command starts")
        each.add_argument("--insecure", action="store_true", help="send --header credentials to an http:// URL too")
    replay = commands.add_parser("replay", help="serve what run --record recorded", formatter_class=style)
    replay.add_argument("target", metavar="FILE")
    for each in (run, replay):
        _add_front(each)
    config, explain = _add_files(commands)
    for each in (run, check, listing, call, replay):
        each.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="for a call without any sign of life")
    for each in (run, check, listing, call, replay, config, explain):
        each.add_argument(
            "--log-level", choices=("debug", "info", "warning", "error"), default="warning", metavar="LEVEL"
        )
    run.add_argument("--name", help="what the proxy calls itself (default isthmus)")
    run.add_argument("--watch", action="store_true", help="a file of servers: follow its changes at once")
    run.add_argument(
        "--isolation",
        choices=("request", "session", "shared"),
        help="which session a request gets at an older back: its own, its client's (default), or one for all",
    )
    run.add_argument(
        "--warm",
        type=_count,
        metavar="N",
        help="sessions to open ahead with --isolation request (default 1)",
    )
    run.add_argument(
        "--busy-poll",
        type=_count,
        default=round(POLL_MOST * 1e6),
        metavar="MICROSECONDS",
        help="look for the next message so long before sleeping (default %(default)s, 0 for never)",
    )
    run.add_argument("--record", metavar="FILE", help="write the messages of both sides there, for isthmus replay")
    listing.add_argument("--json", action="store_true", help="print JSON, each item as the server sent it")
    call.add_argument("words", nargs="*", metavar="TOOL key=value key:=json", help="the tool and its arguments")
    call.add_argument("--json", action="store_true", help="print the result as the server sent it")
    call.add_argument("--full", action="store_true", help="print long text whole on a terminal too")
    call.add_argument("--save", metavar="DIR", help="save images, sounds and files there")
    call.add_argument("--root", action="append", default=[], metavar="DIR", help="a folder the server may know of")
    return parser


def _add_files(commands: Any) -> tuple[_Parser, _Parser]:
    """The commands about files of servers."""
    style = argparse.RawDescriptionHelpFormatter
    config = commands.add_parser("config", help="read files of servers", epilog=_CONFIG, formatter_class=style)
    config.add_argument("what", choices=("schema", "show", "import"), metavar="schema|show|import")
    config.add_argument(
        "target", nargs="?", metavar="FILE|CLIENT", help="show: a file; import: claude, cursor or vscode"
    )
    config.add_argument("--file", metavar="PATH", help="import: the client's file, instead of where it usually is")
    explain = commands.add_parser("explain", help="say which server of a file a name goes to", formatter_class=style)
    explain.add_argument("target", metavar="FILE")
    explain.add_argument("name", metavar="NAME-OR-URI", help="of a tool, prompt or resource, as clients know it")
    return config, explain


def _add_front(command: argparse.ArgumentParser) -> None:
    command.add_argument("--http", metavar="[HOST:]PORT", help="serve HTTP there, or on unix:PATH, instead of stdio")
    command.add_argument("--sse", action="store_true", help="serve HTTP+SSE too, at /sse, for older clients")
    command.add_argument("--path", default="/mcp", help="the HTTP endpoint's path (default /mcp)")
    command.add_argument("--allow-host", action="append", default=[], metavar="HOST", help="a Host header to serve")
    command.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN", help="a web origin to serve")


def _run(arguments: argparse.Namespace, target: str | list[str]) -> int:
    from isthmus import run
    from isthmus.engine.settings import Settings

    back: Target | Plan
    if is_file(target):
        from isthmus.cli.servers import read_plan, refuse_options

        refuse_options(arguments)
        back, settings = read_plan(str(target), name=arguments.name, watches=arguments.watch)
    elif arguments.watch:
        raise ConfigError("--watch is for a file of servers; nothing else is read again.")
    else:
        back = _target(arguments, target)
        said = {name: getattr(arguments, name) for name in ("name", "isolation") if getattr(arguments, name)}
        settings = Settings(limits=_limits(arguments), **said)
    place = _place(arguments)
    bound = _bind(place, back.name) if place is not None else None
    with ExitStack() as stack:
        recorder = None
        if arguments.record is not None:
            from isthmus.record import Recorder

            secret = [name for name, _ in getattr(back, "headers", ())]
            recorder = stack.enter_context(closing(Recorder(arguments.record, back.name, secret)))
        if place is None or bound is None:
            from isthmus.transports.stdio_front import take_stdout

            work = run.serve_stdio(back, take_stdout(), settings, recorder)
        else:
            work = run.serve_http(back, bound, place, settings, recorder)
        return run.run_loop(work, min(arguments.busy_poll, 10**9) / 1e6)


def _replay(arguments: argparse.Namespace, target: str | list[str]) -> int:
    from isthmus.cli.replay import replay_http, replay_stdio
    from isthmus.recording import Recording
    from isthmus.run import run_loop

    if not isinstance(target, str):
        raise ConfigError("replay takes a file that isthmus run --record wrote, not a command.")
    recording = Recording(target)
    place = _place(arguments)
    if place is not None:
        return run_loop(replay_http(recording, _bind(place, recording.name), place, _limits(arguments)))
    from isthmus.transports.stdio_front import take_stdout

    return run_loop(replay_stdio(recording, take_stdout(), _limits(arguments)))


def _place(arguments: argparse.Namespace) -> "HttpPlace | None":
    """Where to listen; None for stdio."""
    if arguments.http is None:
        if arguments.allow_host or arguments.allow_origin or arguments.sse or arguments.path != "/mcp":
            raise ConfigError("--path, --sse, --allow-host and --allow-origin need --http.")
        return None
    from isthmus.run import HttpPlace

    host, port = _address(arguments.http)
    place = HttpPlace(
        host,
        port,
        arguments.path,
        tuple(arguments.allow_host),
        tuple(arguments.allow_origin),
        sse="/sse" if arguments.sse else None,
    )
    place.check()
    return place


def _bind(place: "HttpPlace", name: str) -> "socket.socket":
    """The listening socket; a line says what is served there."""
    from isthmus.transports.http_front.serve import bind

    bound = bind(place.host, place.port)
    url = place.url(bound)
    older = f", over HTTP+SSE at {url}{place.sse}" if place.sse is not None else ""
    print(f"isthmus: {name} at {url}{place.path}{older}", file=sys.stderr, flush=True)
    return bound


def _check(arguments: argparse.Namespace, target: str | list[str]) -> int:
    from isthmus.cli.check import check, check_all

    if is_file(target):
        from isthmus.cli.servers import read_specs, refuse_options

        refuse_options(arguments)
        return check_all(read_specs(str(target)))
    return check(_target(arguments, target), _limits(arguments))


def _list(arguments: argparse.Namespace, target: str | list[str]) -> int:
    from isthmus.cli.list import list_offer

    return list_offer(_target(arguments, target), _limits(arguments), as_json=arguments.json)


def _call(arguments: argparse.Namespace, target: str | list[str]) -> int:
    from pathlib import Path

    from isthmus.cli.call import Order, call

    if not arguments.words:
        raise ConfigError(
            "There is no tool to call. Give its name behind the target; isthmus list says which there are."
        )
    roots = tuple(Path(each).resolve() for each in arguments.root)
    for root in roots:
        if not root.is_dir():
            raise ConfigError(f"The folder {str(root)!r} of --root does not exist.")
    tool, *words = arguments.words
    save = Path(arguments.save) if arguments.save is not None else None
    order = Order(tool, tuple(words), arguments.json, arguments.full, save, roots)
    return call(_target(arguments, target), _limits(arguments), order)


def _config(arguments: argparse.Namespace, target: str | list[str] | None) -> int:
    from isthmus.cli import config

    if isinstance(target, list):
        raise ConfigError("config takes a file or the name of a client, not a command.")
    if arguments.what == "schema":
        return config.print_schema()
    if target is None:
        what = "a file" if arguments.what == "show" else "claude, cursor or vscode"
        raise ConfigError(f"isthmus config {arguments.what} needs {what}.")
    return config.show(target) if arguments.what == "show" else config.import_from(target, arguments.file)


def _explain(arguments: argparse.Namespace, target: str | list[str]) -> int:
    from isthmus.cli.explain import explain_name

    if not isinstance(target, str):
        raise ConfigError("explain takes a file and a name, not a command.")
    return explain_name(target, arguments.name)


_COMMANDS: Final[dict[str, Callable[[argparse.Namespace, Any], int]]] = {
    "run": _run,
    "check": _check,
    "list": _list,
    "call": _call,
    "replay": _replay,
    "config": _config,
    "explain": _explain,
}


def _target(arguments: argparse.Namespace, target: str | list[str]) -> "Target":
    if is_file(target):
        from isthmus.cli.servers import as_command, refuse_options

        refuse_options(arguments)
        return as_command(str(target))
    from isthmus.transports.target import read_target, refuse_exposed

    headers = [_pair(each, ":", "--header 'K: V'") for each in arguments.header]
    env = dict(_pair(each, "=", "--env K=V") for each in arguments.env)
    found = read_target(target, headers=headers, env=env, cwd=arguments.cwd)
    if not arguments.insecure:
        refuse_exposed(found, (), "--insecure")
    return found


def _limits(arguments: argparse.Namespace) -> Limits:
    said: dict[str, Any] = {"warm": arguments.warm} if getattr(arguments, "warm", None) is not None else {}
    if arguments.timeout is not None:
        said |= {"call": arguments.timeout, "call_most": max(arguments.timeout, Limits().call_most)}
    return Limits(**said)


def _pair(text: str, mark: str, form: str) -> tuple[str, str]:
    name, found, value = text.partition(mark)
    if not found or not name.strip():
        raise ConfigError(f"{text!r} is not of the form {form}.")
    return name.strip(), value.strip() if mark == ":" else value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _address(text: str) -> tuple[str, int]:
    if text.startswith("unix:"):
        return text, 0
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--http takes [HOST:]PORT or unix:PATH, and {text!r} is not of that form.")
    return host.strip("[]") or "127.0.0.1", int(port)
