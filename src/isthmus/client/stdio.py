"""Servers that a client starts: commands, scripts, and what `uv`, `uvx` and `npx` fetch."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isthmus.client.base import ClientTransport

if TYPE_CHECKING:
    from isthmus.transports.launch import Launch


class StdioTransport(ClientTransport):
    """A command.

    Args:
        command: the program.
        args: its arguments.
        env: variables for it, beyond the few it inherits.
        cwd: the folder it starts in.
        keep_alive: whether the process outlives the connection, until the client is entered again or closed. FastMCP
            does so unless told not to; here a connection begins with a fresh process unless told to keep it.
    """

    def __init__(
        self,
        command: str,
        args: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        keep_alive: bool | None = None,
    ) -> None:
        self.command = command
        self.args = list(args)
        self.env = dict(env) if env is not None else None
        self.cwd = cwd
        self.keep_alive = keep_alive
        self.keeps_open = keep_alive is True

    @property
    def source(self) -> "Launch":
        from isthmus.transports.launch import Launch

        argv = (self.command, *map(str, self.args))
        return Launch(Path(self.command).name, argv, self.env or {}, self.cwd)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(command={self.command!r}, args={self.args!r})>"


class PythonStdioTransport(StdioTransport):
    """A script in Python at `script_path`. `python_cmd` is the interpreter; the others are as of `StdioTransport`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no `.py` file.
    """

    def __init__(
        self,
        script_path: str | Path,
        args: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        python_cmd: str = sys.executable,
        keep_alive: bool | None = None,
    ) -> None:
        self.script_path = _script(script_path, (".py",))
        super().__init__(python_cmd, [str(self.script_path), *(args or ())], env, cwd, keep_alive)


class FastMCPStdioTransport(StdioTransport):
    """A script at `script_path` with a FastMCP server, run by the command `fastmcp`; `args` are ignored, as there.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no `.py` file.
    """

    def __init__(
        self,
        script_path: str | Path,
        args: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        keep_alive: bool | None = None,
    ) -> None:
        self.script_path = _script(script_path, (".py",))
        super().__init__("fastmcp", ["run", str(self.script_path)], env, cwd, keep_alive)


class NodeStdioTransport(StdioTransport):
    """A script in JavaScript at `script_path`. `node_cmd` is the interpreter; the others are as of `StdioTransport`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no `.js`, `.mjs` or `.cjs` file.
    """

    def __init__(
        self,
        script_path: str | Path,
        args: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        node_cmd: str = "node",
        keep_alive: bool | None = None,
    ) -> None:
        self.script_path = _script(script_path, (".js", ".mjs", ".cjs"))
        super().__init__(node_cmd, [str(self.script_path), *(args or ())], env, cwd, keep_alive)


class UvStdioTransport(StdioTransport):
    """A command in an environment that `uv run` makes.

    Args:
        command: the program, or the module where `module` is true.
        args: its arguments.
        module: whether `command` is a module.
        project_directory: the project whose environment it is.
        python_version: of the interpreter.
        with_packages: packages beside the project's.
        with_requirements: a file of such.
        env_vars: variables beside those of this process.
        keep_alive: as of `StdioTransport`.

    Raises:
        NotADirectoryError: the project's folder is none.
    """

    def __init__(  # noqa: PLR0913
        self,
        command: str,
        args: Sequence[str] | None = None,
        module: bool = False,
        project_directory: str | None = None,
        python_version: str | None = None,
        with_packages: Sequence[str] | None = None,
        with_requirements: str | None = None,
        env_vars: Mapping[str, str] | None = None,
        keep_alive: bool | None = None,
    ) -> None:
        _check_folder(project_directory)
        said = ["run"]
        said += _options(("--directory", project_directory), ("--python", python_version))
        said += _options(*(("--with", each) for each in with_packages or ()))
        said += _options(("--with-requirements", with_requirements))
        said += ["--module"] if module else []
        more = dict(env_vars or {})
        if project_directory:
            more = {"UV_PROJECT_DIR": project_directory, **more}
        super().__init__("uv", [*said, command, *(args or ())], _whole(more), None, keep_alive)


class UvxStdioTransport(StdioTransport):
    """A tool that `uvx` fetches.

    Args:
        tool_name: which.
        tool_args: its arguments.
        project_directory: the folder it starts in.
        python_version: of the interpreter.
        with_packages: packages beside it.
        from_package: the package that has it.
        env_vars: variables beside those of this process.
        keep_alive: as of `StdioTransport`.

    Raises:
        NotADirectoryError: the folder is none.
    """

    def __init__(
        self,
        tool_name: str,
        tool_args: Sequence[str] | None = None,
        project_directory: str | None = None,
        python_version: str | None = None,
        with_packages: Sequence[str] | None = None,
        from_package: str | None = None,
        env_vars: Mapping[str, str] | None = None,
        keep_alive: bool | None = None,
    ) -> None:
        _check_folder(project_directory)
        said = _options(("--python", python_version), ("--from", from_package))
        said += _options(*(("--with", each) for each in with_packages or ()))
        super().__init__("uvx", [*said, tool_name, *(tool_args or ())], _whole(env_vars), project_directory, keep_alive)
        self.tool_name = tool_name


class NpxStdioTransport(StdioTransport):
    """A package that `npx` fetches.

    Args:
        package: which.
        args: its arguments.
        project_directory: the folder it starts in.
        env_vars: variables beside those of this process.
        use_package_lock: whether what is there already is preferred to what is newer.
        keep_alive: as of `StdioTransport`.

    Raises:
        ValueError: there is no `npx`.
        NotADirectoryError: the folder is none.
    """

    def __init__(
        self,
        package: str,
        args: Sequence[str] | None = None,
        project_directory: str | None = None,
        env_vars: Mapping[str, str] | None = None,
        use_package_lock: bool = True,
        keep_alive: bool | None = None,
    ) -> None:
        if shutil.which("npx") is None:
            raise ValueError("The command 'npx' is not on the PATH. Install Node.js.")
        _check_folder(project_directory)
        said = ["--prefer-offline"] if use_package_lock else []
        super().__init__("npx", [*said, package, *(args or ())], _whole(env_vars), project_directory, keep_alive)
        self.package = package


def _script(said: str | Path, endings: tuple[str, ...]) -> Path:
    path = Path(said).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"The script {str(path)!r} does not exist.")
    if path.suffix not in endings:
        raise ValueError(f"{str(path)!r} is no script of this kind. Its name must end with {' or '.join(endings)}.")
    return path


def _check_folder(folder: str | None) -> None:
    if folder and not Path(folder).exists():
        raise NotADirectoryError(f"The folder {folder!r} does not exist.")


def _options(*pairs: tuple[str, str | None]) -> list[str]:
    return [each for option, value in pairs if value for each in (option, str(value))]


def _whole(more: Mapping[str, str] | None) -> dict[str, str] | None:
    """All variables of this process with some more; None, so the few that any command inherits, without."""
    return {**os.environ, **more} if more else None
