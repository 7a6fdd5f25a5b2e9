"""The MCP inspector's command line, which is started anew for each step. The program's arguments are its command."""

import json
import subprocess
import sys

from .steps import Json, run

STEP_TAKES_AT_MOST = 20


def options(method: str, params: Json) -> list[str]:
    given = ["--method", method]
    match method:
        case "tools/call":
            given += ["--tool-name", params["name"], "--tool-args-json", json.dumps(params["arguments"])]
        case "resources/read":
            given += ["--uri", params["uri"]]
        case "prompts/get":
            pairs = [f"{name}={value}" for name, value in params["arguments"].items()]
            given += ["--prompt-name", params["name"], *(["--prompt-args", *pairs] if pairs else [])]
    return given


async def converse(target: Json, mode: str, steps: list[Json]) -> list[Json]:
    place = ["--server-url", target["url"], "--transport", "http"] if "url" in target else ["--", *target["command"]]
    return [take(mode, options(step["method"], step.get("params", {})), place) for step in steps]


def take(mode: str, step: list[str], place: list[str]) -> Json:
    """The record of a step: on stdout is a result, also one that is an error; on stderr what else went wrong."""
    command = [*sys.argv[1:], "--protocol-era", mode, "--format", "json", "--quiet", *step, *place]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=STEP_TAKES_AT_MOST, text=True, check=False
    )
    if done.stdout:
        return {"result": json.loads(done.stdout)["result"]}
    return {"error": {"code": done.returncode, "message": done.stderr}}


if __name__ == "__main__":
    run(converse)
