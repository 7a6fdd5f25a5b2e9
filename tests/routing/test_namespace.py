"""Names and URIs with prefixes: by example. `tests/property/test_names.py` has them all."""

import pytest

from isthmus.routing.namespace import (
    Namespace,
    clash,
    fault_of,
    is_shortened,
    join_name,
    join_template,
    join_uri,
    prefix_of,
)

_LONG = "read_the_whole_of_a_very_long_document_and_say_what_stands_in_it"


@pytest.mark.parametrize(
    ("uri", "joined"),
    [
        ("data://forecast", "data://w/forecast"),
        ("file:///etc/hosts", "file://w//etc/hosts"),
        ("data://", "data://w/"),
        ("ui://clock/face.html", "ui://w/clock/face.html"),
        ("my_scheme://x", "my_scheme://w/x"),
        ("https://example.com/x", "https://example.com/x"),
        ("HTTP://example.com/x", "HTTP://example.com/x"),
        ("mailto:a@example.com", "mailto:a@example.com"),
        ("x:y://z", "x:y://z"),
        ("/no/scheme://here", "/no/scheme://here"),
        ("", ""),
    ],
)
def test_uri_gets_its_prefix_behind_the_scheme(uri: str, joined: str) -> None:
    assert join_uri("w", uri) == joined
    assert Namespace(["w", "v"]).split_uri(joined) == (("w", uri) if joined != uri else None)
    assert join_uri(None, uri) == join_uri("", uri) == uri


@pytest.mark.parametrize(
    ("template", "joined"),
    [
        ("data://{day}/x", "data://w/{day}/x"),
        ("file:///{+path}", "file://w//{+path}"),
        ("{scheme}://x", "{scheme}://x"),
        ("a{b}://x", "a{b}://x"),
        ("https://example.com/{x}", "https://example.com/{x}"),
    ],
)
def test_template_gets_its_prefix_where_the_scheme_is_literal(template: str, joined: str) -> None:
    assert join_template("w", template) == joined
    assert Namespace(["w"]).split_template(joined) == (("w", template) if joined != template else None)


def test_prefix_in_a_uri_may_come_back_in_lower_case() -> None:
    for uri in ("file://mydocs//x", "file://MyDocs//x"):
        assert Namespace(["MyDocs"]).split_uri(uri) == ("MyDocs", "file:///x")
    assert Namespace(["MyDocs"]).split_name("mydocs_x") is None


def test_name_is_split_at_the_underscore_that_ends_a_prefix() -> None:
    space = Namespace(["a_b", "c", ""])
    assert space.split_name("a_b_c_d") == ("a_b", "c_d")
    assert space.split_name("c__x") == ("c", "_x")
    assert [space.split_name(name) for name in ("a_c", "x", "_x", "", "c", "cc_x", "x" * 99 + "_c_")] == [None] * 7


def test_name_that_is_too_long_is_shortened_by_a_hash_that_never_changes() -> None:
    short = join_name("files", _LONG)
    assert short == "files_read_the_whole_of_a_very_long_document_and_say_wh_" + short[-8:]
    assert (len(short), is_shortened(short), short) == (64, True, join_name("files", _LONG))
    assert short[-8:] == "21d460c5"
    assert Namespace(["files"]).split_name(short) == ("files", short[6:])
    assert join_name("files", _LONG + "!") != short
    assert join_name("files", _LONG, 200) == f"files_{_LONG}"
    assert join_name(None, _LONG * 2) == _LONG * 2


@pytest.mark.parametrize("name", ["a_0123abcd", "x" * 64, "x" * 55 + "_0123abcg", "x" * 55 + "_0123ABCD"])
def test_name_that_is_plainly_whole_is_not_taken_for_a_shortened_one(name: str) -> None:
    assert not is_shortened(name)


def test_lone_surrogate_can_stand_in_a_name() -> None:
    assert is_shortened(join_name("w", "\ud800" * 70))


@pytest.mark.parametrize(
    ("prefixes", "found"),
    [
        (["a", "b", "a-b", "a.b", "ab"], None),
        (["a", "b", "a"], ("a", "a", "a-2")),
        (["Docs", "docs"], ("Docs", "docs", "docs-2")),
        (["a", "a_b"], ("a", "a_b", "a-b")),
        (["a_b", "a"], ("a_b", "a", "a-2")),
        (["a", "a_b", "a-b"], ("a", "a_b", "a-b-2")),
        (["a", "a_"], ("a", "a_", "a-2")),
        (["a", "a", "a-2"], ("a", "a", "a-3")),
        (["a_b", "a_b", "a"], ("a_b", "a_b", "a-b")),
        (["a", "a" * 54 + "_", "a" * 54], ("a" * 54 + "_", "a" * 54, "a" * 40)),
    ],
)
def test_prefixes_that_could_be_taken_for_one_another_clash(
    prefixes: list[str], found: tuple[str, str, str] | None
) -> None:
    assert clash(prefixes) == found


@pytest.mark.parametrize("prefix", ["a", "weather", "a_b", "v1.x", "A-9", "9a", "a_", "x" * 54])
def test_prefix_of_letters_digits_and_some_marks_is_good(prefix: str) -> None:
    assert fault_of(prefix) is None
    assert prefix_of(prefix) == prefix


@pytest.mark.parametrize(
    ("prefix", "instead"),
    [
        ("", "server"),
        ("my server", "my-server"),
        ("-x", "x"),
        ("a/b", "a-b"),
        ("é", "server"),
        ("7", "server-7"),
        ("time-1.2", "server-time-1-2"),
        ("0x1f", "server-0x1f"),
        ("x\n", "x"),
        ("x" * 55, "x" * 54),
    ],
)
def test_prefix_that_would_break_names_or_uris_is_refused_with_another(prefix: str, instead: str) -> None:
    assert prefix_of(prefix) == instead
    assert fault_of(instead) is None
    assert f"{instead!r} would do." in str(fault_of(prefix))
