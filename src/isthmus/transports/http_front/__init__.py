"""The streamable HTTP front: one handler over request values and response sinks, and two shells that make them.

`handler.py` knows neither sockets nor ASGI; `protocol.py` is the shell run by uvicorn, `asgi.py` the one for mounting.
"""
