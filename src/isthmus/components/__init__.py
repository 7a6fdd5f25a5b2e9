"""Tools, resources, templates and prompts as objects: of functions here, or mirrored from a server behind a proxy.

They are models (pydantic) with the names that FastMCP 2.11.3 gave them, and stand above the client: nothing of this may
be imported by the relay path, and nothing of it before it is used.
"""
