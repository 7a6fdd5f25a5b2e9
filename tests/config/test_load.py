"""What a configuration becomes, and the sentence for each that can't work."""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.config.load import Config, from_mapping, load
from isthmus.engine.member import Spec
from isthmus.errors import ConfigError
from isthmus.limits import LISTING, Limits
from isthmus.routing.choice import Choice, Edit, Part
from isthmus.transports.launch import Launch
from isthmus.transports.target import HttpTarget

HTTP: dict[str, Any] = {"url": "https://x.test/mcp"}
RUN: dict[str, Any] = {"command": "run"}


def read(tmp_path: Path, text: str, **environ: str) -> Config:
    path = tmp_path / "mcp.json"
    path.write_text(text, encoding="utf-8")
    return load(path, environ=environ)


def config(**servers: Any) -> Config:
    return from_mapping({"mcpServers": servers}, environ={"KEY": "k"})


def one(server: dict[str, Any], **top: Any) -> Spec:
    (spec,) = from_mapping(
        {"mcpServers": {"one": server}, **({"isthmus": top} if top else {})}, environ={"KEY": "k"}
    ).specs
    return spec


def test_a_command() -> None:
    spec = one({"command": "uvx", "args": ["a", "${KEY}"], "env": {"A": "${KEY}!", "N": 3, "F": 0.5}, "type": "stdio"})
    assert spec.target == Launch("one", ("uvx", "a", "k"), {"A": "k!", "N": "3", "F": "0.5"}, None)
    assert spec.face.is_plain
    assert (spec.ttl, spec.deadline, spec.required, spec.settings.forward_headers) == (None, LISTING, False, ())
    assert spec.settings.limits == Limits()


def test_a_command_that_is_not_there_is_a_server_all_the_same() -> None:
    assert one({"command": "/nowhere/at-all", "cwd": "/nowhere"}).target == Launch(
        "one", ("/nowhere/at-all",), {}, "/nowhere"
    )


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({}, "auto"),
        ({"type": "http"}, "auto"),
        ({"type": "streamable-http"}, "http"),
        ({"type": "streamableHttp"}, "http"),
        ({"transport": "sse"}, "sse"),
        ({"transport": "sse", "type": "sse"}, "sse"),
    ],
)
def test_a_url(said: dict[str, Any], kind: Any) -> None:
    assert one({**HTTP, "headers": {"X-A": "${KEY}"}, **said}).target == HttpTarget(
        "one", "https://x.test/mcp", (("X-A", "k"),), kind
    )


def test_urls_of_unix_sockets() -> None:
    for url, means in (
        ("unix:/tmp/a.sock", "http+unix://%2Ftmp%2Fa.sock/mcp"),
        ("unix:///tmp/a.sock", "http+unix://%2Ftmp%2Fa.sock/mcp"),
        ("unix:///tmp/a.sock#/x/y", "http+unix://%2Ftmp%2Fa.sock/x/y"),
    ):
        target = one({"url": url}).target
        assert isinstance(target, HttpTarget)
        assert target.url == means


def test_a_bearer_token_as_fastmcp_has_it() -> None:
    target = one({**HTTP, "auth": "${KEY}"}).target
    assert isinstance(target, HttpTarget)
    assert target.headers == (("Authorization", "Bearer k"),)


def test_our_own_settings() -> None:
    own = {
        "prefix": "p",
        "isolation": "request",
        "warm": 2,
        "ttl": 0,
        "deadline": 2.5,
        "forward_headers": ["X-Trace"],
        "identity": True,
        "required": True,
        "limits": {"call": 9, "connect": 1.5},
    }
    spec = one({**HTTP, "isthmus": own}, name="gate", longest=50)
    assert spec.face.prefix == "p"
    assert spec.face.longest == 50
    assert (spec.ttl, spec.deadline, spec.required, spec.settings.forward_headers) == (0, 2.5, True, ("x-trace",))
    assert spec.settings.name == "gate"
    assert spec.settings.isolation == "request"
    assert spec.settings.keeps_identity
    assert spec.settings.limits == Limits(call=9, connect=1.5, warm=2)


def test_defaults_for_all_servers() -> None:
    top = {
        "isolation": "request",
        "deadline": 1,
        "limits": {"call": 9, "result": 10, "body": 11},
        "forward_headers": ["A"],
    }
    both = {"a": {**HTTP, "isthmus": {"deadline": 2, "limits": {"call": 8}}}, "b": RUN}
    found = from_mapping({"mcpServers": both, "isthmus": top}, environ={})
    a, b = found.specs
    assert (a.deadline, b.deadline) == (2, 1)
    assert a.settings.limits == Limits(call=8, result=10, body=11)
    assert b.settings.limits == found.settings.limits == Limits(call=9, result=10, body=11)
    assert (a.settings.isolation, found.settings.isolation) == ("request", "request")
    assert (a.settings.forward_headers, b.settings.forward_headers) == (("a",), ())


def test_timeout_is_milliseconds_as_in_fastmcp_and_limits_win() -> None:
    assert one({**RUN, "timeout": 90_000}).settings.limits == Limits(call=90)
    assert one({**RUN, "timeout": 900_000}).settings.limits == Limits(call=900, call_most=900)
    assert one({**RUN, "timeout": 90_000, "isthmus": {"limits": {"call": 5}}}).settings.limits == Limits(call=5)


def test_choices() -> None:
    tools = {
        "allow": ["get_*"],
        "deny": ["get_secret"],
        "items": {
            "get_a": {
                "rename": "a",
                "description": "${not replaced}",
                "arguments": {
                    "key": {"fixed": ["${KEY}", 1]},
                    "b": {"hidden": True},
                    "c": {"hidden": False},
                    "d": {"hidden": True, "fixed": 1},
                },
            }
        },
    }
    own = {"tools": tools, "prompts": {"deny": ["*"]}, "resources": {"items": {"data://x": {"rename": "y"}}}}
    edit = Edit(rename="a", description="${not replaced}", hidden=("b",), fixed=(("key", b'["k", 1]'), ("d", b"1")))
    assert one({**RUN, "isthmus": own}).face.choice == Choice(
        tools=Part(allow=("get_*",), deny=("get_secret",), edits=(("get_a", edit),)),
        prompts=Part(deny=("*",)),
        resources=Part(edits=(("data://x", Edit(rename="y")),)),
    )


def test_names_may_be_swapped() -> None:
    own = {"tools": {"allow": ["a", "b"], "items": {"a": {"rename": "b"}, "b": {"rename": "a"}}}}
    assert one({**RUN, "isthmus": own}).face.shown("tools", "a") == "b"


def test_prefixes() -> None:
    found = config(**{"a": RUN, "my server": HTTP, "c": {**RUN, "isthmus": {"prefix": "see"}}})
    assert [spec.face.prefix for spec in found.specs] == ["a", "my-server", "see"]
    assert config(a=RUN).specs[0].face.prefix is None
    assert config(a={**RUN, "isthmus": {"prefix": "x"}}).specs[0].face.prefix == "x"


def test_disabling_a_server_renames_nothing_and_needs_no_variables() -> None:
    found = config(a=RUN, b={"command": "${NOWHERE}", "disabled": True})
    assert [(spec.name, spec.face.prefix) for spec in found.specs] == [("a", "a")]


def test_vs_code_s_form(tmp_path: Path) -> None:
    folder = tmp_path / ".vscode"
    folder.mkdir()
    text = """{
      // asked by VS Code
      "inputs": [{"type": "promptString", "id": "api-key", "description": "Key", "password": true},
                 {"type": "pickString", "id": "level", "options": ["a", {"label": "B", "value": "b"}], "default": "a"}],
      "servers": {
        "x": {"type": "stdio", "command": "${workspaceFolder}/x", "args": ["${env:HOME_OF_X}", "${input:level}"],
              "cwd": "sub", "envFile": "${workspaceFolder}/.env",
              "env": {"KEY": "${input:api-key}"}, "dev": {"watch": "**"}},
      },
    }"""
    (tmp_path / ".env").write_text("# comment\nexport A=\"1 2\"\nKEY=no\nB='#x' # y\nC=c # d\n\nD=\n", encoding="utf-8")
    path = folder / "mcp.json"
    path.write_text(text, encoding="utf-8")
    found = load(path, environ={"INPUT_API_KEY": "k", "HOME_OF_X": "h"})
    assert found.files == (str(path), f"{tmp_path}/.env")
    (spec,) = found.specs
    env = {"A": "1 2", "KEY": "k", "B": "#x", "C": "c", "D": ""}
    assert spec.target == Launch("x", (f"{tmp_path}/x", "h", "a"), env, str(tmp_path / "sub"))


def test_equal_files_give_equal_specs(tmp_path: Path) -> None:
    """A reload keeps the sessions of servers whose specs are equal, wherever their lines are."""
    text = json.dumps({"mcpServers": {"a": {**RUN, "isthmus": {"tools": {"deny": ["x"]}}}, "b": HTTP}})
    assert read(tmp_path, text).specs == read(tmp_path, "\n\n" + text).specs
    assert read(tmp_path, text).specs != read(tmp_path, text.replace('"x"', '"y"')).specs


def test_what_foreign_keys_change_is_told(caplog: pytest.LogCaptureFixture) -> None:
    one({**RUN, "alwaysAllow": ["x"], "description": "d", "disabledTools": [], "tools": {"x": {}}})
    (record,) = caplog.records
    told = "'tools' is of FastMCP and has no effect here: choose and change tools with isthmus.tools."
    assert record.message == f"mcpServers.one.tools: {told}"


ONE = '{"mcpServers": {"a": {%s}}}'
WRONG = (Path(__file__).parent / "wrong.txt").read_text(encoding="utf-8").split("\n\n")[1:]


@pytest.mark.parametrize("case", WRONG)
def test_what_can_t_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Each of wrong.txt, to the letter."""
    text, _, why = case.rstrip("\n").rpartition("\n> ")
    monkeypatch.chdir(tmp_path)
    Path("mcp.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load("mcp.json", environ={})
    assert str(caught.value) == f"mcp.json:{why}"


def test_files_that_can_t_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/none\.json: The file can't be read: No such file or directory\.$"):
        load(tmp_path / "none.json")
    with pytest.raises(ConfigError, match=r"can't be read: Is a directory\.$"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="is no path of a file"):
        load("a\0b")


def test_errors_in_a_mapping_name_the_key() -> None:
    with pytest.raises(ConfigError) as caught:
        config(a={"comand": "x"})
    assert str(caught.value) == "mcpServers.a.comand: 'comand' is no key of a server. Did you mean 'command'?"


@pytest.mark.parametrize(("scheme", "form"), [("http://x/", "http://HOST:PORT/PATH"), ("unix:/", "unix:PATH")])
def test_bytes_of_the_environment_that_are_no_text(tmp_path: Path, scheme: str, form: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, ONE % f'"url": "{scheme}${{ODD}}"', ODD="\udcff")
    assert str(caught.value) == f"{tmp_path}/mcp.json:1: The URL of 'a' is not a URL. Write it as {form}."


def test_an_env_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "e").write_text("A=1\nnonsense\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, ONE % '"command": "x", "envFile": "e"')
    assert str(caught.value) == f"{tmp_path}/e:2: This line is not of the form NAME=value."


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ('"url": "https:///mcp?token=${KEY}"', "The URL of 'a' has no host, or one with characters"),
        ('"url": "https://[${KEY}/mcp"', "The URL of 'a' is not a URL."),
        ('"url": "https://[${KEY}]/mcp"', "The URL of 'a' is not a URL."),
        ('"url": "https://host:${KEY}/mcp"', "The URL of 'a' has a host or port that can't be one."),
        ('"url": "https://user:hush/x@host/mcp"', "The URL of 'a' has a host or port that can't be one."),
        ('"url": "${KEY}"', "The URL of 'a' begins with none of http://, https:// and unix:."),
        ('"command": "x", "envFile": "/no/${KEY}"', "The file that 'envFile' names can't be read: No such file"),
        ('"command": "x", "envFile": "${KEY}"', "Line 2 of the file that 'envFile' names is not of the form"),
        ('"command": "x${MY-KEY:-hush}"', "${MY-KEY} is nothing that isthmus knows."),
    ],
)
def test_no_error_shows_what_may_be_secret(tmp_path: Path, server: str, why: str) -> None:
    (tmp_path / "hush").write_text("A=1\nhush\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, ONE % server, KEY="hush")
    told = str(caught.value)
    assert told.startswith(f"{tmp_path}/mcp.json:1: {why}") and "hush" not in told


def test_what_fastmcp_writes() -> None:
    from fastmcp.mcp_config import MCPConfig

    servers = {
        "a": {"command": "run", "args": ["x"], "timeout": 30_000},
        "b": {"url": "https://x.test/mcp", "auth": "token"},
    }
    a, b = from_mapping(MCPConfig.from_dict({"mcpServers": servers}).to_dict(), environ={}).specs
    assert a.target == Launch("a", ("run", "x"), {}, None)
    assert a.settings.limits.call == 30
    assert b.target == HttpTarget("b", "https://x.test/mcp", (("Authorization", "Bearer token"),))
