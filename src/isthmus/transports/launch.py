"""How a back's process is started: what is given to it, and why it could not be."""

import errno
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_INHERITED: Final = frozenset(
    (
        "APPDATA HOMEDRIVE HOMEPATH LOCALAPPDATA PATH PATHEXT PROCESSOR_ARCHITECTURE SYSTEMDRIVE SYSTEMROOT TEMP"
        " USERNAME USERPROFILE"
        if sys.platform == "win32"
        else "HOME LANG LANGUAGE LOGNAME PATH SHELL TERM TMPDIR TZ USER"
    ).split()
)
"""What the SDKs' stdio clients let through, locale and TMPDIR added: a proxy's environment is full of other secrets."""

_HINTS: Final = {
    errno.EAGAIN: "the system allows no more processes now; call again later, or raise the limit (ulimit -u, pids.max)",
    errno.ENOMEM: "the system has no memory for another process; call again later, or free some",
    errno.EMFILE: "this process has no file descriptors left; raise the limit (ulimit -n)",
    errno.ENFILE: "the system has no file descriptors left; raise fs.file-max",
    errno.ENOEXEC: "{command!r} is no program for this machine; begin it with a line of #!, or install the right build",
    errno.E2BIG: "its arguments and environment are too long for the system; shorten them",
}


@dataclass(frozen=True, slots=True)
class Launch:
    """How a back is started: `argv` as it is, without a shell; `env` over the few variables that are inherited."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None

    def environment(self) -> dict[str, str]:
        """All that the process gets to see of ours, and its own."""
        # A value that begins with "()" is a shell function, which is code (CVE-2014-6271); the SDKs leave it out too.
        kept = {
            name: value
            for name, value in os.environ.items()
            if (name in _INHERITED or name.startswith("LC_")) and not value.startswith("()")
        }
        return kept | dict(self.env)

    def check(self) -> None:
        """Refuse what execve(2) can't be given; uvloop would cut a text at its NUL and go on.

        Raises:
            ValueError: the rest of a sentence: what is wrong and what to do.
        """
        if not self.argv or not self.argv[0]:
            raise ValueError("it has no command; name one in its settings")
        texts = (*self.argv, *self.env, *self.env.values(), self.cwd or "")
        if any("\0" in text for text in texts):
            raise ValueError("there is a NUL character in its command, environment or directory; take it out")
        if any("=" in name or not name for name in self.env):
            raise ValueError("a variable of its environment has no name, or a name with '=' in it; rename it")

    def explain(self, error: OSError | ValueError) -> str:
        """Why it could not be started and what to do, as the rest of a sentence."""
        if isinstance(error, ValueError):
            return str(error)
        command, path = self.argv[0], os.path.join(self.cwd or "", self.argv[0])
        if self.cwd is not None and not os.path.isdir(self.cwd):
            return f"its directory {self.cwd!r} does not exist; create it, or correct its settings"
        if self.cwd is not None and not os.access(self.cwd, os.X_OK):
            return f"its directory {self.cwd!r} may not be entered; change its permissions"
        if isinstance(error, FileNotFoundError):
            if not os.path.dirname(command):
                return f"the command {command!r} is not on the PATH; install it, or give its full path"
            if os.path.exists(path):
                return f"the interpreter that the first line of {command!r} names does not exist; install it"
            return f"the command {command!r} does not exist; install it, or correct the path"
        if isinstance(error, PermissionError):
            if os.path.isdir(path):
                return f"the command {command!r} is a directory; name the program in it"
            return f"the command {command!r} is not executable; make it so with chmod +x"
        return _HINTS.get(error.errno or 0, "{why}").format(command=command, why=error.strerror or str(error))
