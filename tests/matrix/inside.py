"""A proxy before a server object: `inside.py stdio|http ERA [PORT]`; `http` serves HTTP+SSE too."""

import sys
from typing import Any

from isthmus import FastMCP

from .server2 import build


def main(front: str, era: Any, port: int) -> None:
    proxy = FastMCP.as_proxy(build(era), isolation="session")
    if front == "stdio":
        proxy.run()
    else:
        proxy.run("sse", port=port)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3] if len(sys.argv) > 3 else 0))
