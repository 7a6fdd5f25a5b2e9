"""Credentials for servers that listen, as auth objects of httpx2. With one of these the SDK makes the requests."""

from collections.abc import Generator

import httpx2

__all__ = ["BearerAuth"]


class BearerAuth(httpx2.Auth):
    """A token, sent with every request. The same as giving the token itself as `auth`."""

    def __init__(self, token: str) -> None:
        self.bearer_token = token

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Put the token into the request."""
        request.headers["Authorization"] = f"Bearer {self.bearer_token}"
        yield request
