"""`FastMCP` and the proxies that are made of it: what a user's program holds."""

from isthmus.server.server import FastMCP as FastMCP

__all__ = ["FastMCP"]
