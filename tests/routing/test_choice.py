"""What an entry of a choice means, and what no choice can be."""

import time

import pytest

from isthmus.routing.choice import Choice, Edit, Part, judge_of


@pytest.mark.parametrize(
    ("entry", "meant", "not_meant"),
    [
        ("get", ["get"], ["got", "get_it", "GET", ""]),
        ("get_*", ["get_", "get_it", "get_a/b"], ["get", "xget_it"]),
        ("g?t", ["get"], ["gt", "geet"]),
        ("[gs]et", ["get", "set", "[gs]et"], ["let"]),
        ("[]*", ["[]", "[]a"], ["]", "a"]),
        ("[!]?", ["[!]a"], ["!a", "ab"]),
        ("[!]a]*", ["b", "bc"], ["a", "]b", ""]),
        ("[b-a]*", ["[b-a]*"], ["a", "b"]),
        ("db://{id}", ["db://{id}", "db://5", "db://"], ["db://5/x", "db://5?x", "db://{id}/x", "xdb://5"]),
        ("f:///{+path}.md", ["f:///{+path}.md", "f:///a/b.md"], ["f:///a/b.mdx", "f:///a/b"]),
        ("s://x{?q,r}", ["s://x{?q,r}", "s://x", "s://x?q=1"], ["s://", "t://x"]),
        ("db://*", ["db://5", "db://{id}", "db://a/b"], ["d://"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_entry_means_itself_a_pattern_or_what_a_template_expands_to(
    entry: str, meant: list[str], not_meant: list[str]
) -> None:
    allows = judge_of(Part(allow=(entry, "other")))
    denies = judge_of(Part(deny=(entry, "other")))
    assert [(allows(own), denies(own)) for own in meant] == [(True, False)] * len(meant)
    assert [(allows(own), denies(own)) for own in not_meant] == [(False, True)] * len(not_meant)


def test_many_sets_and_characters_make_nobody_wait() -> None:
    is_shown = judge_of(Part(deny=tuple(f"*[ab][!c]?[x{number}]z" for number in range(200))), is_uri=True)
    began = time.process_time()
    assert is_shown("é" * 16_000)
    assert is_shown("a" * 16_000 + "://x")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "entry",
    [
        "db://{a}-{b}-{c}.json",
        "db://{+a}-{b}-{+c}-{d}.json",
        "db://{a}{b}{c}x",
        "{+host}{+path}-{?v}x",
        "*-[ab]*-?*-*.json",
    ],
)
def test_a_long_uri_makes_nobody_wait(entry: str) -> None:
    is_shown = judge_of(Part(deny=(entry,)), is_uri=True)
    began = time.process_time()
    assert is_shown("db://" + "-a" * 8_000)
    assert is_shown("DB://%61" + "-a" * 8_000)
    assert time.process_time() - began < 1


def test_a_uri_with_one_reading_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def is_meant(text: str, head: int) -> bool:
        judged.append(text)
        return False

    monkeypatch.setattr("isthmus.routing.patterns.matcher", lambda forms: is_meant)
    for entry, uri, times in (("db://*", "db://7", 1), ("db://%41*", "db://7", 5), ("db://*", "db://%41", 2)):
        judged.clear()
        assert judge_of(Part(deny=(entry,)), is_uri=True)(uri)
        assert len(judged) == times


def test_what_is_denied_is_not_shown_even_where_it_is_allowed() -> None:
    is_shown = judge_of(Part(allow=("a*",), deny=("ab",)))
    assert [is_shown(own) for own in ("a", "ab", "abc", "b")] == [True, False, True, False]
    assert not judge_of(Part(allow=()))("a")
    assert judge_of(Part())("a")


@pytest.mark.parametrize(
    ("entry", "uris"),
    [
        ("db://users/7", ["DB://users/7", "db://USERS/7", "db://users/%37", "db://users/./8/../7", "db://%75sers/7 "]),
        (
            "db://users/{id}",
            ["DB://users/8", "db://users/8/../7", "db://users/%2e/7", "db://u\tsers/7", "db://x/../users/7"],
        ),
        ("DB://Users/*", ["db://users/7", "db://users/%2E%2e/users/7"]),
        ("docs://hidden", ["docs://%68idden", "docs://pub/../hidden", "docs://pub%2f..%2Fhidden"]),
        ("docs://a%2Fb%2A/*", ["docs://a/b*/c", "docs://a%2fb%2a/c"]),
        ("docs://a b/{x}", ["docs://a%20b/c"]),
        ("docs://a%20b/%7e*", ["docs://a b/~c", "docs://a%20b/%7Ec"]),
        ("file:///etc/*", ["file:///x/../etc/a", "file:///x\\..\\etc\\a", "file:///%65tc%2Fa", "file:///../etc/a"]),
        ("https://x.test/{id}", ["https://X.test/7", "https://x.test/a/../7"]),
        ("*Secret", ["db://Secret", "db://secret", "DB://x%2FsEcret", "db://y/%53ecret"]),
        ("{+x}Secret/{y}", ["db://Secret/1", "db://secret/1", "db://mysecre%74/1"]),
        ("Docs://?Host/x", ["docs://1host/x", "DOCS://%41HOST/x", "docs://1host/y/../x"]),
        ("?ocs://[A-C]/x", ["docs://b/x", "Docs://%42/x", "docs://h/../b/x"]),
        ("docs://Pub/x", ["docs://a/../Pub/x", "docs://a/../pub/x"]),
        (
            "file:///secret",
            ["file:///pub//../secret", "file:///pub/x?/../../secret", "file:////secret/", "file:/secret"],
        ),
        ("file:///etc/*", ["file:///etc//shadow", "file:////etc/a", "file:etc/a", "file://localhost/etc/a"]),
        ("file:////etc//*.conf", ["file:///etc/a.conf", "file:///etc/a.conf/", "file:///x//../../etc/a.conf"]),
        ("db://users/7", ["db://@users/7", "db://:@users/7", "db://users:/7", "db://users//7/", "DB://users/7/."]),
        ("https://h/x", ["https:/h/x", "https:///h/x", "https://h:443/x", "HTTPS://:@H:443//x"]),
    ],
)
def test_what_is_denied_is_denied_in_every_spelling(entry: str, uris: list[str]) -> None:
    is_shown = judge_of(Part(deny=(entry,)), is_uri=True)
    assert [uri for uri in uris if is_shown(uri)] == []
    assert is_shown("other://host/Name")


@pytest.mark.parametrize(
    ("entry", "shown", "not_shown"),
    [
        ("git://*/../*", ["git://repo/main", "git://repo/a%20b"], ["git://repo/../main"]),
        ("file:///*/../*", ["file:///home/a.txt", "file:///Home/%61"], ["file:///home/../a"]),
        ("file:///{+x}/./{y}", ["file:///home/a"], ["file:///home/./a"]),
        ("*/Secret", ["db://h/secret", "db://H/SECRET"], ["db://h/Secret", "db://secret", "db://h/./%53ecret"]),
        ("*.MD", ["file:///a.md"], ["file:///a.MD"]),
        ("[!f]*", ["file:///a", "FILE:///a"], ["db://x"]),
        ("[!a-f]*://*", ["file:///a", "Db://x"], ["s3://a"]),
    ],
)
def test_no_more_is_denied_than_an_entry_says(entry: str, shown: list[str], not_shown: list[str]) -> None:
    is_shown = judge_of(Part(deny=(entry,)), is_uri=True)
    assert [is_shown(uri) for uri in (*shown, *not_shown)] == [True] * len(shown) + [False] * len(not_shown)


@pytest.mark.parametrize(
    ("entry", "shown", "not_shown"),
    [
        (
            "docs://pub/*",
            ["docs://pub/a", "docs://pub/a%2Fb", "docs://pub/", "docs://pub/a//b/", "docs://pub/?u=https://x.org/"],
            [
                "docs://pub/../a",
                "docs://pub/..%2fa",
                "docs://pub/a//../../b",
                "docs://pub/?/../../b",
                "DOCS://pub/a",
            ],
        ),
        ("docs://Pub/*", ["docs://Pub/a", "docs://Pub/./a"], ["docs://pub/a", "docs://Pub/%2e%2E/a"]),
        ("file:///My%20Docs/*", ["file:///My%20Docs/a", "file:///My%20Docs/%7E"], ["file:///My Docs/a"]),
        ("file:///a%2A/{x}", ["file:///a%2A/b"], ["file:///ab/b", "file:///a*/b", "file:///a%2A/b%2Fc"]),
        ("file:///a%3F*", ["file:///a%3Fb"], ["file:///axb", "file:///a?b"]),
        ("db://h/a/../b", ["db://h/a/../b"], ["db://h/b"]),
        ("*Config", ["resource://MyConfig", "resource://My%2DConfig"], ["resource://myconfig"]),
        ("resource://?yConfig", ["resource://MyConfig"], ["resource://Myconfig", "Resource://MyConfig"]),
        ("{+x}Config{/y}", ["resource://MyConfig", "resource://MyConfig/%7E"], ["resource://x/config"]),
        ("git://Repo/{branch}", ["git://Repo/main"], ["git://Repo/a%2Fb", "git://Repo/a%3Fb", "git://Repo/a%5Cb"]),
        ("git://Repo/{+branch}", ["git://Repo/a%2Fb"], ["git://Repo/..%2F..%2Fb", "git://repo/b"]),
        ("docs://Pub/*", ["docs://Pub/x"], ["docs://Pub/../pub/x"]),
    ],
)
def test_what_is_allowed_is_allowed_in_every_reading(entry: str, shown: list[str], not_shown: list[str]) -> None:
    is_shown = judge_of(Part(allow=(entry, "other")), is_uri=True)
    assert [uri for uri in shown if not is_shown(uri)] == []
    assert [uri for uri in not_shown if is_shown(uri)] == []


def test_names_are_no_uris() -> None:
    is_shown = judge_of(Part(allow=("a/*",), deny=("a/b",)))
    assert [is_shown(name) for name in ("a/c/../b", "a/%62", "a/b ")] == [True] * 3


def test_choices_are_equal_by_value() -> None:
    one, same, other = (
        Choice(tools=Part(edits=(("a", Edit(fixed=(("x", text),))),))) for text in (b"1", b"1", b"true")
    )
    assert one == same != other
    assert hash(one) == hash(same)


def test_what_could_not_be_told_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="'c' is the new name of two"):
        Part(edits=(("a", Edit(rename="c")), ("b", Edit(rename="c"))))
    with pytest.raises(ValueError, match="'a' is edited twice"):
        Part(edits=(("a", Edit(rename="c")), ("a", Edit(rename="d"))))


@pytest.mark.parametrize("edit", [Edit(hidden=("x",)), Edit(fixed=(("x", b"1"),))])
def test_only_a_tool_has_arguments_to_hide(edit: Edit) -> None:
    part = Part(edits=(("a", edit),))
    Choice(tools=part)
    with pytest.raises(ValueError, match="only a tool's arguments"):
        Choice(prompts=part)
    with pytest.raises(ValueError, match="only a tool's arguments"):
        Choice(resources=part)
