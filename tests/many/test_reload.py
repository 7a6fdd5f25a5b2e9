"""Other servers in place of these, while clients are served."""

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from isthmus import limits
from isthmus.engine.member import Member, Spec
from isthmus.errors import ConfigError
from isthmus.many import gateway
from isthmus.many.plan import Plan
from isthmus.many.reload import reread
from isthmus.routing.choice import Choice, Part
from tests.engine.clients import LegacyClient, ModernClient, run, until
from tests.many.servers import (
    OWN_TOOLS,
    SCRIPT,
    absent,
    client_of,
    heard,
    launch,
    many,
    methods,
    prefixed,
    running,
    said,
    shown,
    spec,
)

ERAS = ["legacy", "modern"]
CHANGED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
ISTHMUS = str(Path(sys.executable).with_name("isthmus"))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RETIRE_LOOK", 0.01)


async def pid(client: LegacyClient | ModernClient, name: str) -> int:
    return int(said(await client.call(f"pid {name}", f"{name}_echo").result())["pid"])


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("back", ERAS)
def test_unchanged_servers_keep_their_sessions_and_changed_ones_are_replaced(
    client: str, back: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        a, b, c = [spec(back, name, log) for name in "abc"]
        async with many(a, b, c) as made:
            one = await client_of(made, client)
            before = {name: await pid(one, name) for name in "abc"}
            assert shown(await one.request(1, "tools/list").result()) == prefixed(OWN_TOOLS, "a", "b", "c")
            made.reload([spec(back, "d", log), spec(back, "b", log, TOOLS=1), spec(back, "a", log)])
            listed = shown(await one.request(2, "tools/list").result())
            assert listed == [
                *prefixed(OWN_TOOLS, "d"),
                *prefixed([*OWN_TOOLS, "tool0"], "b"),
                *prefixed(OWN_TOOLS, "a"),
            ]
            assert await pid(one, "a") == before["a"]
            assert await pid(one, "b") not in before.values()
            assert said(await one.call(3, "d_echo").result())["from"] == "d"
            assert "No server has the tool 'c_echo'" in (await one.call(4, "c_echo").error())["message"]
            await until(lambda: not running(launch(back, "c", log)))
            await until(lambda: before["b"] not in running(launch(back, "b", log)))
            if isinstance(one, LegacyClient):
                assert methods(one.strays.messages).count(CHANGED) == 1

    run(scenario)


def test_nothing_is_announced_where_nothing_changed(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), absent("b")) as made:
            client = await LegacyClient.open(made)
            await until(lambda: made.members[1].why_out)
            client.strays.messages.clear()
            members = made.members
            made.reload([spec("legacy", "a", log), absent("b")])
            assert made.members == members and client.strays.messages == []
            made.reload([absent("b"), spec("legacy", "a", log)])
            assert made.members == members[::-1] and CHANGED in methods(client.strays.messages)

    run(scenario)


@pytest.mark.parametrize(
    "change",
    [
        {"prefix": "other"},
        {"choice": Choice(tools=Part(deny=("die",)))},
        {"ttl": 1.0},
        {"deadline": 1.0},
        {"isolation": "shared"},
        {"limits": limits.Limits(call=1.0)},
        {"TTL": 5},
    ],
)
def test_every_change_of_a_server_replaces_it(change: dict[str, Any], tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log)) as made:
            old = made.members
            made.reload([spec("modern", "a", log), spec("modern", "b", log, **change)])
            assert made.members[0] is old[0] and made.members[1] is not old[1]

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("back", ERAS)
def test_calls_in_flight_end_where_they_began(client: str, back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        gate = tmp_path / "gate"
        a, b = spec("modern", "a", log), spec(back, "b", log, GATE=gate)
        async with many(a, b) as made:
            one = await client_of(made, client)
            before = await pid(one, "b")
            waiting = one.call(1, "b_wait")
            await until(lambda: any(each["params"]["name"] == "wait" for each in heard(log, "b", "tools/call")))
            made.reload([a, spec(back, "b", log, GATE=gate, TOOLS=1)])
            assert await pid(one, "b") != before
            assert before in running(launch(back, "b", log))
            gate.touch()
            assert said(await waiting.result())["pid"] == before
            await until(lambda: before not in running(launch(back, "b", log)))
            assert await pid(one, "b") != before

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("back", ERAS)
def test_a_call_whose_server_is_only_being_opened_ends_there(client: str, back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec(back, "b", log)) as made:
            one = await client_of(made, client)
            made.reload([spec("modern", "a", log), spec(back, "b", log, SLOW=0.3)])
            call = one.call(1, "b_echo")
            for _ in range(20):
                await asyncio.sleep(0)
            made.reload([spec("modern", "a", log), spec(back, "b", log, TOOLS=1)])
            assert said(await call.result())["from"] == "b"

    run(scenario)


@pytest.mark.parametrize("after", ["replaced", "removed", "another alone", "renamed"])
def test_a_parked_call_ends_where_it_began(after: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        a, b = spec("modern", "a", log), spec("legacy", "b", log)
        async with many(a, b) as made:
            client = ModernClient(made)
            meta: dict[str, Any] = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
            first = await client.call(1, "b_ask", meta=meta).result()
            assert first["resultType"] == "input_required"
            (key,) = first["inputRequests"]
            specs = {
                "replaced": [a, spec("legacy", "b", log, TOOLS=1)],
                "removed": [a],
                "another alone": [spec("modern", "a", log, prefix=None)],
                "renamed": [a, spec("legacy", "b", log, prefix="c")],
            }
            made.reload(specs[after])
            await asyncio.sleep(0.05)
            answer = {"action": "accept", "content": {"canary": 1}}
            again = {"inputResponses": {key: answer}, "requestState": first["requestState"]}
            params = {"name": "b_ask", "arguments": {}, **again}
            done = await client.request(2, "tools/call", meta=meta, **params).result()
            assert json.loads(done["content"][0]["text"]) == ["b", answer]
            await until(lambda: len(made._retiring) == 0)

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_one_becomes_several_and_one_again(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, prefix=None)) as made:
            one = await client_of(made, client)
            assert said(await one.call(1, "echo").result())["from"] == "a"
            made.reload([spec("modern", "a", log), spec("legacy", "b", log)])
            assert shown(await one.request(2, "tools/list").result()) == prefixed(OWN_TOOLS, "a", "b")
            assert said(await one.call(3, "b_echo").result())["from"] == "b"
            assert "No server has" in (await one.call(4, "echo").error())["message"]
            made.reload([spec("legacy", "b", log, prefix=None)])
            assert said(await one.call(5, "echo").result())["from"] == "b"
            made.reload([])
            assert shown(await one.request(6, "tools/list").result()) == []
            assert "No server has" in (await one.call(7, "echo").error())["message"]

    run(scenario)


def test_a_list_that_is_gathered_during_a_reload_comes(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        a, b = spec("modern", "a", log), spec("modern", "b", log, MUTE="tools/list", deadline=2.0)
        async with many(a, b) as made:
            client = ModernClient(made)
            listing = client.request(1, "tools/list")
            await until(lambda: heard(log, "b", "tools/list"))
            made.reload([a])
            assert shown(await client.request(2, "tools/list").result()) == prefixed(OWN_TOOLS, "a")
            (member,) = made._retiring
            await member.close()
            result = await listing.result()
            assert shown(result) == prefixed(OWN_TOOLS, "a") and "b" in result["_meta"]["isthmus/unavailable"]

    run(scenario)


def test_closing_in_the_middle_of_a_replacement_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        a, b = spec("modern", "a", log), spec("modern", "b", log, STUBBORN=1)
        async with many(a, b) as made:
            await ModernClient(made).call(1, "b_echo").result()
            made.reload([a])
            (old,) = made._retiring
            await until(lambda: old._is_closed)  # its process takes its time to leave
            assert running(launch("modern", "b", log))

    run(scenario)


def test_a_configuration_that_cannot_work_changes_nothing_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log)) as made:
            members = made.members

            def broken() -> Any:
                raise ConfigError("mcp.json:3: There is no key 'comand'. Did you mean 'command'?")

            reread(made, Plan(name="mcp.json", specs=(), again=broken))
            assert made.members == members
            (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
            assert "mcp.json:3" in record.message and "nothing was changed" in record.message
            reread(made, Plan(name="mcp.json", specs=(), again=lambda: (members[0].spec,)))
            assert made.members == members[:1]

    run(scenario)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            ConfigError("The proxy is none."),
            "mcp.json was read again and can't work, so nothing was changed: The proxy",
        ),
        (ZeroDivisionError(), "Reading mcp.json again failed; this is a bug of isthmus."),
    ],
)
def test_what_fails_half_way_changes_nothing_and_leaves_nothing(
    fault: Exception, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[Member] = []

    def enter(spec: Spec, **said: Any) -> Member:
        if spec.name == "bad":
            raise fault
        entered.append(Member(spec, **said))
        return entered[-1]

    async def scenario() -> None:
        log = tmp_path / "log"
        a, b = spec("modern", "a", log), spec("modern", "b", log)
        async with many(a, b) as made:
            client, members = ModernClient(made), made.members
            before = await pid(client, "a")
            monkeypatch.setattr(gateway, "Member", enter)
            plan = Plan(name="mcp.json", specs=(), again=lambda: (a, spec("modern", "c", log), absent("bad")))
            reread(made, plan)
            (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
            assert says in record.message
            assert made.members == members and not made._retiring
            await until(lambda: [each._is_closed for each in entered] == [True])
            assert await pid(client, "a") == before and said(await client.call(1, "b_echo").result())["from"] == "b"
            assert not any(member._is_closed for member in members)

    run(scenario)


# -- the command ------------------------------------------------------------------------------------------------------


class Served:
    """`isthmus run FILE --http 0 …`, and what it says."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process = process
        self.log = log
        (address,) = self.wait(lambda: re.findall(r"http://\S+", self.said()))[:1]
        self.address = address.rstrip(".,")

    def said(self) -> str:
        return self.log.read_text()

    def wait(self, condition: Callable[[], Any]) -> Any:
        until = time.monotonic() + 10
        while not (found := condition()):
            assert self.process.poll() is None and time.monotonic() < until, self.said()
            time.sleep(0.01)
        return found

    def wait_for_tools(self, *names: str) -> None:
        self.wait(lambda: self.tools() == prefixed(OWN_TOOLS, *names))

    def tools(self) -> list[str]:
        said = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": said}}
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/list",
        }
        request = urllib.request.Request(self.address, json.dumps(message).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return shown(json.load(response)["result"])


def write(path: Path, log: Path, *names: str, era: str = "modern", **said: Any) -> None:
    servers = {
        name: {"command": sys.executable, "args": ["-I", "-S", SCRIPT, era, name, str(log)], **said} for name in names
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"mcpServers": servers}))
    fresh.replace(path)  # as editors save


@contextmanager
def served(path: Path, *options: str) -> Iterator[Served]:
    log = path.with_name("stderr")
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [ISTHMUS, "run", str(path), "--http", "0", *options], stderr=stderr, stdin=subprocess.DEVNULL, text=True
        )
    try:
        yield Served(process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


@pytest.mark.parametrize("how", ["SIGHUP", "--watch"])
def test_the_command_reads_its_file_again(how: str, tmp_path: Path) -> None:
    path, log = tmp_path / "mcp.json", tmp_path / "log"
    write(path, log, "a", "b")
    with served(path, *(["--watch"] if how == "--watch" else [])) as proxy:

        def again() -> None:
            if how == "SIGHUP":
                os.kill(proxy.process.pid, signal.SIGHUP)

        assert proxy.tools() == prefixed(OWN_TOOLS, "a", "b")
        for names in (("b", "c"), ("b", "d")):  # twice: what is put in place of a file is to be followed as well
            write(path, log, *names)
            again()
            proxy.wait_for_tools(*names)
        path.write_text('{"mcpServers": {"b": {"comand": "x"}}}')
        again()
        proxy.wait(lambda: "nothing was changed" in proxy.said())
        assert "mcp.json:1" in proxy.said() and "'command'" in proxy.said()
        path.write_text('{"mcpServers": {\n"b": {"url": "https://user:pw@x.test"}}}')
        again()
        proxy.wait(lambda: "mcp.json:2: The URL of 'b' holds a user name" in proxy.said())
        assert proxy.tools() == prefixed(OWN_TOOLS, "b", "d")
        write(path, log, "b", "e")
        again()
        proxy.wait_for_tools("b", "e")
        assert len(heard(log, "b", "started")) == 1  # it served all the while
    assert not any(running(launch("modern", name, log)) for name in "abcde")


@pytest.mark.parametrize("own", [{}, {"required": True}])
def test_the_wait_for_what_is_required_ends_when_a_reload_puts_another_in_its_place(
    own: dict[str, Any], tmp_path: Path
) -> None:
    path, log = tmp_path / "mcp.json", tmp_path / "log"
    write(path, log, "a", "b", era="mute", isthmus={"required": True})
    with served(path) as proxy:
        proxy.wait(lambda: heard(log, "a") and heard(log, "b"))
        write(path, log, "a", "c", isthmus=own)
        os.kill(proxy.process.pid, signal.SIGHUP)
        proxy.wait_for_tools("a", "c")
        assert "was read again" in proxy.said()


def test_files_that_are_links_or_were_named_later_are_watched_too(tmp_path: Path) -> None:
    path, log, real = tmp_path / "mcp.json", tmp_path / "log", tmp_path / "real"
    real.mkdir()
    write(real / "mcp.json", log, "a")
    path.symlink_to(real / "mcp.json")
    with served(path, "--watch") as proxy:
        write(real / "mcp.json", log, "b", "c")
        proxy.wait_for_tools("b", "c")
        more = tmp_path / "later" / "c.env"
        more.parent.mkdir()
        more.write_text("TOOLS=0")
        said = json.loads(path.read_text())
        said["mcpServers"]["c"]["envFile"] = str(more)
        path.write_text(json.dumps(said))
        proxy.wait(lambda: proxy.said().count("was read again") == 2)
        more.write_text("TOOLS=1")
        proxy.wait(lambda: proxy.tools() == [*prefixed(OWN_TOOLS, "b"), *prefixed([*OWN_TOOLS, "tool0"], "c")])
