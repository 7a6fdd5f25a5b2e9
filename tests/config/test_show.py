"""What `isthmus config show` masks, and what it leaves alone."""

from typing import Any

import pytest

from isthmus.config.load import from_mapping
from isthmus.config.show import shown


def show(**server: Any) -> dict[str, Any]:
    found = shown(from_mapping({"mcpServers": {"a": server}}, environ={}))["mcpServers"]["a"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        (["--header=Authorization: Bearer hush"], ["--header=Authorization: ***"]),
        (["--header=X-Api-Key:hush"], ["--header=X-Api-Key:***"]),
        (["--env=API_KEY=hush"], ["--env=API_KEY=***"]),
        (["--args=--token=hush"], ["--args=--token=***"]),
        (["-e", "SG_KEY=hush"], ["-e", "SG_KEY=***"]),
        (["--dsn=postgres://u:hush@h/db"], ["--dsn=postgres://***@h/db"]),
        (["redis://:hush@a:1,redis://:hush@b:2"], ["redis://***@a:1,redis://***@b:2"]),
        (["jdbc:x://h/db?user=a&password=hush&b=c"], ["jdbc:x://h/db?user=a&password=***&b=c"]),
        (["--secret-key=hush", "--signing-key", "hush"], ["--secret-key=***", "--signing-key", "***"]),
        (["--key", "hush", "--openai-key=hush"], ["--key", "***", "--openai-key=***"]),
        (["--token", "-hush", "--pwd", "-", "--key", "--9hush"], ["--token", "***", "--pwd", "***", "--key", "***"]),
        (["--token", "-key", "hush"], ["--token", "***", "***"]),
        (["--token", "--key", "hush", "--pwd", "--a=b"], ["--token", "--key", "***", "--pwd", "--a=b"]),
        (["--auth", "hush", "--pat", "hush", "--pwd=hush"], ["--auth", "***", "--pat", "***", "--pwd=***"]),
        (["--config", '{"apiKey":"hush","n":1}'], ["--config", '{"apiKey":"***","n":1}']),
        (["--config={apiKey: hush}"], ["--config={apiKey: ***"]),
        (["Server=x;Password=hush;a=b"], ["Server=x;Password=***"]),
        (["TOKEN=hush run"], ["TOKEN=***"]),
        (["Bearer hush"], ["Bearer ***"]),
        (["-H", "X-Foo: basic hush=="], ["-H", "X-Foo: basic ***"]),
        (["-e", "PAT=hush", "-e", "AUTH=hush", "KEY=hush"], ["-e", "PAT=***", "-e", "AUTH=***", "KEY=***"]),
        (["-u", "user:hush", "--user=user:hu:sh"], ["-u", "user:***", "--user=user:***"]),
        (["--proxy-user", "u1:123", "--user", "12:hush"], ["--proxy-user", "u1:***", "--user", "12:***"]),
        (["--passphrase hush", "x --pat  hush -v"], ["--passphrase ***", "x --pat  ***"]),
        (["--access-key-id", "hush", "AWS_ACCESS_KEY_ID=hush"], ["--access-key-id", "***", "AWS_ACCESS_KEY_ID=***"]),
        (["--header", "X-Session: hush", "X-Session-Id:hush"], ["--header", "X-Session: ***", "X-Session-Id:***"]),
        (["postgres://u:hu/sh@h/db", "redis://:hu?s#h@h"], ["postgres://***@h/db", "redis://***@h"]),
    ],
)
def test_arguments_that_hold_secrets(said: list[str], masked: list[str]) -> None:
    assert show(command="run", args=said)["args"] == masked


@pytest.mark.parametrize(
    "said",
    [
        ["--max-tokens", "5", "--max-tokens=5", "--tokenizer=bpe"],
        ["--keyboard", "us", "--monkey=x", "--key-file", "a.pem", "--bypass", "x"],
        ["key=name", "--sort=key", "sort_key=name", "--public-key=x", "--primary-key", "id"],
        ["--no-auth", "server.js", "--token", "--verbose", "--key", "--", "x"],
        ["{{.Key}}", '{"key":"name","maxTokens":5}', "a basic example", "Basic: an example"],
        ["https://h/@scope/pkg?sort=key&page=2#top", "docker.io/org/mcp-token:latest", "C:\\keys"],
        ["--url=https://h:80/a;b=c?d=e%20f&g=", "unix:/run/x.sock#/mcp"],
        ["https://h:80/@scope/pkg", "https://h:80?to=a@b", "http://[::1]:80/@x", "http://a:1,http://b:2/@x"],
        ["-u", "1000:1000", "--user", "node", "--user=0:0", "-u", "--verbose"],
        ["run --token --verbose", "x --no-auth y", "--save-session", "x", "--authentication", "azcli", "KEY: C"],
    ],
)
def test_arguments_that_hold_none(said: list[str]) -> None:
    assert show(command="run", args=said)["args"] == said


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        ("?key=hush&sig=hush&a=b&auth=hush", "?key=***&sig=***&a=b&auth=***"),
        ("?a=b#token=hush&c=d", "?a=b#token=***&c=d"),
        ("?a=b;token=hush;c=d&e=f", "?a=b;token=***&e=f"),
        ("?api%2Dkey=hush&token%5B%5D=hush", "?api%2Dkey=***&token%5B%5D=***"),
        ("?code=hush&country_code=de", "?code=***&country_code=de"),
        ("?sort=key&monkey=x&a=%20b+c&d", "?sort=key&monkey=x&a=%20b+c&d"),
    ],
)
def test_parts_of_a_url(said: str, masked: str) -> None:
    assert show(url=f"https://h.test/mcp{said}")["url"] == f"https://h.test/mcp{masked}"


def test_headers() -> None:
    secret = ["Api-Secret-Key", "X-Key", "X-Auth", "X-Signature", "X-Figma-Token", "X-Session", "Authentication"]
    plain = {"X-Keyboard": "us", "Accept-Language": "de", "X-Page-Token": "5", "X-Words": "basic words only"}
    headers = {**dict.fromkeys(secret, "hush"), **plain, "X-Foo": "Bearer hush", "X-Link": "https://h?token=hush"}
    masked = {**dict.fromkeys(secret, "***"), **plain, "X-Foo": "Bearer ***", "X-Link": "https://h?token=***"}
    assert show(url="https://h.test", headers=headers)["headers"] == masked


def test_fixed_arguments() -> None:
    fixed = {
        "token": 99988,
        "password": ["hush", {"a": "hush", "b": True, "c": None}],
        "dsn": "postgres://u:hush@h/db",
        "more": {"apiKey": 1.5, "k": "Bearer hush", "key": "name", "n": 5},
        "max_tokens": 5,
        "opts": {"auth": {"x": "hush", "n": 1}, "key": "name", "signature": "Yours"},
        "pat": "hush",
    }
    masked = {
        "token": "***",
        "password": ["***", {"a": "***", "b": True, "c": None}],
        "dsn": "postgres://***@h/db",
        "more": {"apiKey": "***", "k": "Bearer ***", "key": "name", "n": 5},
        "max_tokens": 5,
        "opts": {"auth": {"x": "***", "n": "***"}, "key": "name", "signature": "Yours"},
        "pat": "***",
    }
    items = {"t": {"description": "token=…", "arguments": {name: {"fixed": each} for name, each in fixed.items()}}}
    own = show(command="run", isthmus={"tools": {"items": items}})["isthmus"]
    assert own["tools"]["items"]["t"] == {
        "description": "token=…",
        "arguments": {name: {"fixed": each} for name, each in masked.items()},
    }
