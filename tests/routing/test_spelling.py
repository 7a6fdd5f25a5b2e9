"""How a URI may be read."""

import re

import pytest

from isthmus.routing.spelling import head_of, pieces, readings

AS_IT_IS = [
    "",
    "name",
    "db://users/{id}",
    "db://users/7?a=../b#/../c",
    "file:///etc/hosts",
    "file:///",
    "docs:///x",
    "urn:a:b",
    "a:/b//c/",
    "ui://map/.hidden/..x/...",
    "DB://Users/Ab",
    "URN:A:b",
]


@pytest.mark.parametrize("uri", AS_IT_IS)
def test_a_uri_without_anything_special_reads_as_it_is_spelled(uri: str) -> None:
    assert readings(uri) == (uri,) * 4


@pytest.mark.parametrize(
    ("uri", "normal", "decoded", "from_the_host"),
    [
        ("DB://%68Ost/%41%7e", *["DB://hOst/A~"] * 3),
        ("db://h/a%2fb%c3%a9", "db://h/a%2Fb%C3%A9", *["db://h/a/bé"] * 2),
        ("db://h/%2568", "db://h/%2568", *["db://h/%68"] * 2),
        ("db://h/%ff", "db://h/%FF", *["db://h/\udcff"] * 2),
        ("db://h/%ff%zz%", "db://h/%FF%zz%", *["db://h/\udcff%zz%"] * 2),
        ("db://h/a/./b/../c", *["db://h/a/c"] * 3),
        ("db://h/a/..", *["db://h/"] * 3),
        ("db://h/a/%2e%2E/b", *["db://h/b"] * 3),
        ("db://h/../b", *["db://h/b"] * 2, "db://b"),
        ("db://../b", *["db://../b"] * 2, "db://b"),
        ("db://h%2f..%2Fb", "db://h%2F..%2Fb", "db://h/b", "db://b"),
        ("db://h/a%2f../b", "db://h/a%2F../b", *["db://h/b"] * 2),
        ("db://h/a%2fb/../c", "db://h/c", *["db://h/a/c"] * 2),
        ("db://h/a%3f/../b", "db://h/b", *["db://h/b"] * 2),
        ("db://h/a?b=/../c", *["db://h/a?b=/../c"] * 3),
        ("file:///a/../../b", *["file:///b"] * 3),
        ("file:///a\\..\\b", *["file:///b"] * 3),
        ("\n db://h/a\r\n/b\t ", *["db://h/a/b"] * 3),
        ("a/%2e%2e/%2f", "a/../%2F", *["a/..//"] * 2),
    ],
)
def test_readings(uri: str, normal: str, decoded: str, from_the_host: str) -> None:
    assert readings(uri) == (uri, normal, decoded, from_the_host)


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
    assert [pieces(pattern, marks, at) for at in range(4)] == [spelled, normal, decoded, decoded]
