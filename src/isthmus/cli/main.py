"""`isthmus run` and `isthmus check`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from isthmus.errors import ConfigError
from isthmus.limits import Limits
from isthmus.version import __version__

if TYPE_CHECKING:
    from isthmus.transports.target import Target

_EPILOG = """\
TARGET is a URL (http://… or https://…), a .py or .js file, or -- COMMAND ARGS…

  isthmus run https://example.com/mcp             a remote server for a client that starts commands
  isthmus run --http 8080 -- npx -y some-server   a command as an HTTP endpoint
  isthmus check server.py                         what a server is, and whether it works
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
    arguments = _parser().parse_args(argv)
    if command is not None and arguments.target is not None:
        raise ConfigError(f"There are two targets, {arguments.target!r} and a command after --. Give one.")
    target = command if command is not None else arguments.target
    if target is None:
        raise ConfigError("There is no target. Give a URL, a script, or -- COMMAND ARGS…")
    logging.basicConfig(
        level=arguments.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if arguments.command == "run":
        return _run(arguments, target)
    from isthmus.cli.check import check

    return check(_target(arguments, target), _limits(arguments))


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
    for each in (run, check):
        each.add_argument("target", nargs="?", metavar="TARGET")
        each.add_argument("--header", action="append", default=[], metavar="'K: V'", help="sent to a URL")
        each.add_argument("--env", action="append", default=[], metavar="K=V", help="given to a command")
        each.add_argument("--cwd", help="where a command starts")
        each.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="for a call without any sign of life")
        each.add_argument(
            "--log-level", choices=("debug", "info", "warning", "error"), default="warning", metavar="LEVEL"
        )
    run.add_argument("--http", metavar="[HOST:]PORT", help="serve HTTP there, or on unix:PATH, instead of stdio")
    run.add_argument("--sse", action="store_true", help="serve HTTP+SSE too, at /sse, for older clients")
    run.add_argument("--path", default="/mcp", help="the HTTP endpoint's path (default /mcp)")
    run.add_argument("--allow-host", action="append", default=[], metavar="HOST", help="a Host header to serve")
    run.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN", help="a web origin to serve")
    run.add_argument("--name", default="isthmus", help="what the proxy calls itself")
    return parser


def _run(arguments: argparse.Namespace, target: str | list[str]) -> int:
    from isthmus import run

    back = _target(arguments, target)
    bounds = _limits(arguments)
    if arguments.http is None:
        if arguments.allow_host or arguments.allow_origin or arguments.sse or arguments.path != "/mcp":
            raise ConfigError("--path, --sse, --allow-host and --allow-origin need --http.")
        from isthmus.transports.stdio_front import take_stdout

        return run.run_loop(run.serve_stdio(back, take_stdout(), name=arguments.name, bounds=bounds))
    from isthmus.transports.http_front.serve import bind

    host, port = _address(arguments.http)
    place = run.HttpPlace(
        host,
        port,
        arguments.path,
        tuple(arguments.allow_host),
        tuple(arguments.allow_origin),
        sse="/sse" if arguments.sse else None,
    )
    place.check()
    bound = bind(host, port)
    url = place.url(bound)
    older = f", over HTTP+SSE at {url}{place.sse}" if place.sse is not None else ""
    print(f"isthmus: {back.name} at {url}{place.path}{older}", file=sys.stderr, flush=True)
    return run.run_loop(run.serve_http(back, bound, place, name=arguments.name, bounds=bounds))


def _target(arguments: argparse.Namespace, target: str | list[str]) -> "Target":
    from isthmus.transports.target import read_target

    headers = [_pair(each, ":", "--header 'K: V'") for each in arguments.header]
    env = dict(_pair(each, "=", "--env K=V") for each in arguments.env)
    return read_target(target, headers=headers, env=env, cwd=arguments.cwd)


def _limits(arguments: argparse.Namespace) -> Limits:
    if arguments.timeout is None:
        return Limits()
    return Limits(call=arguments.timeout, call_most=max(arguments.timeout, Limits().call_most))


def _pair(text: str, mark: str, form: str) -> tuple[str, str]:
    name, found, value = text.partition(mark)
    if not found or not name.strip():
        raise ConfigError(f"{text!r} is not of the form {form}.")
    return name.strip(), value.strip() if mark == ":" else value


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
