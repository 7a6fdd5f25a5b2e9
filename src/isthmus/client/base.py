"""What all transports of a client have in common: each names a source, which the engine can stand in front of."""

from typing import TYPE_CHECKING, Any

from isthmus.errors import ConfigError

if TYPE_CHECKING:
    from isthmus.many.plan import Plan
    from isthmus.transports.target import Target


class ClientTransport:
    """Where a client finds its server. One object may serve many clients: it holds no connection."""

    keeps_open = False
    """Whether a client that was left stays connected until it is closed or entered again."""

    @property
    def source(self) -> "Target | Plan | Any":
        """A target or a plan of the engine, or a server object of this library, which has a relay of its own.

        Raises:
            ConfigError: it can't be what it was said to be.
        """
        raise NotImplementedError(f"{type(self).__name__} has no source.")

    async def prepare(self) -> None:
        """Do what a user has time for, before a client connects; there is nothing."""

    async def close(self) -> None:
        """End what outlives the clients; there is nothing."""

    def _set_auth(self, auth: Any) -> None:
        """Give it credentials.

        Raises:
            ConfigError: there is nobody to show them to.
        """
        if auth is not None:
            raise ConfigError(f"auth= is for a URL; {type(self).__name__} has none. Use the environment of a command.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
