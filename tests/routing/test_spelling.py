"""How a URI may be read."""

import re

import pytest

from isthmus.routing.spelling import head_of, is_twisted, pieces, readings

AS_IT_IS = [
    "",
    "name",
    "db://users/{id}",
    "file:///etc/hosts",
    "file:///",
    "docs:///x",
    "urn:a:b",
    "ui://map/.hidden/..x/...",
    "DB://Users/Ab",
    "URN:A:b",
]


@pytest.mark.parametrize("uri", AS_IT_IS)
def test_a_uri_without_anything_special_reads_as_it_is_spelled(uri: str) -> None:
    assert readings(uri) == (uri,) * 5


@pytest.mark.parametrize(
    ("uri", "normal", "decoded", "from_the_host", "opened"),
    [
        ("DB://%68Ost/%41%7e", *["DB://hOst/A~"] * 3, "DB://hOst/A~"),
        ("db://h/a%2fb%c3%a9", "db://h/a%2Fb%C3%A9", *["db://h/a/bé"] * 2, "db://h/a/bé"),
        ("db://h/%2568", "db://h/%2568", *["db://h/%68"] * 2, "db://h/%68"),
        ("db://h/%ff", "db://h/%FF", *["db://h/\udcff"] * 2, "db://h/\udcff"),
        ("db://h/%ff%zz%", "db://h/%FF%zz%", *["db://h/\udcff%zz%"] * 2, "db://h/\udcff%zz%"),
        ("db://h/a/./b/../c", *["db://h/a/c"] * 3, "db://h/a/c"),
        ("db://h/a/..", *["db://h/"] * 3, "db://h"),
        ("db://h/a/%2e%2E/b", *["db://h/b"] * 3, "db://h/b"),
        ("db://h/../b", *["db://h/b"] * 2, "db://b", "db://b"),
        ("db://../b", *["db://../b"] * 2, "db://b", "db://b"),
        ("db://h%2f..%2Fb", "db://h%2F..%2Fb", "db://h/b", "db://b", "db://b"),
        ("db://h/a%2f../b", "db://h/a%2F../b", *["db://h/b"] * 2, "db://h/b"),
        ("db://h/a%2fb/../c", "db://h/c", *["db://h/a/c"] * 2, "db://h/a/c"),
        ("db://h/a%3f/../b", "db://h/b", *["db://h/b"] * 2, "db://h/b"),
        ("db://h/a?b=/../c", *["db://h/a?b=/../c"] * 3, "db://h/c"),
        ("file:///a/../../b", *["file:///b"] * 3, "file:///b"),
        ("file:///a\\..\\b", *["file:///b"] * 3, "file:///b"),
        ("\n db://h/a\r\n/b\t ", *["db://h/a/b"] * 3, "db://h/a/b"),
        ("a/%2e%2e/%2f", "a/../%2F", *["a/..//"] * 2, "a/..//"),
    ],
)
def test_readings(uri: str, normal: str, decoded: str, from_the_host: str, opened: str) -> None:
    assert readings(uri) == (uri, normal, decoded, from_the_host, opened)


@pytest.mark.parametrize(
    ("uri", "opened"),
    [
        ("a:/b//c/", "a:/b/c"),
        ("db://users/7?a=../b#/../c", "db://users/7?a=../c"),
        ("file:///pub//../secret", "file:///secret"),
        ("file:///pub/x?/../../secret", "file:///secret"),
        ("git://repo/a//../../secret", "git://secret"),
        ("file:///etc//shadow/.", "file:///etc/shadow"),
        ("file:etc/shadow", "file:///etc/shadow"),
        ("FILE:/etc/shadow", "FILE:///etc/shadow"),
        ("file:////etc/shadow/", "file:///etc/shadow"),
        ("file://LocalHost/etc", "file:///etc"),
        ("file://localhost", "file:///"),
        ("file://host/etc", "file://host/etc"),
        ("db://@users/7", "db://users/7"),
        ("db://:@users/7", "db://users/7"),
        ("db://me@users/7", "db://me@users/7"),
        ("db://users:/7", "db://users/7"),
        ("db://users:80/7", "db://users:80/7"),
        ("HTTPS:h:443", "HTTPS://h"),
        ("http:////h:/x", "http://h/x"),
        ("web://get?u=https://x.org:/a", "web://get?u=https:/x.org:/a"),
        ("mailto:a//b", "mailto:a//b"),
    ],
)
def test_opened(uri: str, opened: str) -> None:
    assert readings(uri)[-1] == opened


@pytest.mark.parametrize(
    ("uri", "is_so"),
    [
        ("file:///pub//../secret", True),
        ("file:///pub/%2F..%2fsecret", True),
        ("file:////../x", True),
        ("file:///x?/../y", True),
        ("file:///x#..", False),
        ("file:///x/../y", False),
        ("file:///x//y", False),
        ("web://x/https://y", False),
        ("db://h/a...", False),
    ],
)
def test_twisted(uri: str, is_so: bool) -> None:
    assert is_twisted(uri) is is_so


@pytest.mark.parametrize(
    ("uri", "head"),
    [
        ("DB://Users/Ab", "DB://Users"),
        ("db://Users?Q", "db://Users"),
        ("db://Users", "db://Users"),
        ("file:///A", "file://"),
        ("URN:A:b", "URN:"),
        ("A/b:c", ""),
        ("", ""),
    ],
)
def test_head(uri: str, head: str) -> None:
    assert uri[: head_of(uri)] == head


def test_a_pattern_keeps_its_marks_and_its_dots() -> None:
    pattern, marks = " a://h/%2a%41\\*/../%3F\t*", re.compile(r"(\*)")
    normal = ["a://h/%2AA/", "*", "/../%3F", "*", ""]
    decoded = ["a://h/*A/", "*", "/../?", "*", ""]
    spelled = [" a://h/%2a%41\\", "*", "/../%3F\t", "*", ""]
    opened = ["a://h/*A/", "*", "/../?", "*", ""]
    assert [pieces(pattern, marks, at) for at in range(5)] == [spelled, normal, decoded, decoded, opened]
    assert pieces("file:////a//b*//c://d", marks, 4) == ["file:///a/b", "*", "/c://d"]
