"""What is left out is left out in every spelling, and nothing else is."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isthmus.routing.choice import Part, judge_of
from isthmus.routing.spelling import is_twisted, readings

_SEGMENTS = st.lists(st.text("aB7-._~é", min_size=1, max_size=4), min_size=1, max_size=4)
_PIECES = st.lists(
    st.sampled_from(["a", "B", "/", "%41", "%2f", "%2A", "%5B", "%zz", "é", "x y", "~", "x.y", "#"]), max_size=8
)
_PLAIN = (
    st.lists(st.text("ab:*?{}", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join).map("d://h/".__add__)
)


def spelled(draw: st.DrawFn, segment: str) -> str:
    """A segment with some of its characters encoded."""
    return "".join(f"%{ord(each):02X}" if each < "\x80" and draw(st.booleans()) else each for each in segment)


@st.composite
def respelled(draw: st.DrawFn, segments: list[str]) -> str:
    """Another spelling of `db://host/…`, as RFC 3986 section 6.2.2 has it."""
    head = "".join(each.upper() if draw(st.booleans()) else each for each in "db://host")
    path = ""
    for segment in segments:
        around = draw(st.sampled_from(["", "/.", "/x/..", "/x/%2e%2E", "/%2E"]))
        path += f"{around}/{spelled(draw, segment)}"
    return head + path


@settings(max_examples=400, deadline=None)
@given(data=st.data(), segments=_SEGMENTS)
def test_no_spelling_of_a_denied_uri_is_shown_nor_one_of_what_is_not_allowed(
    data: st.DataObject, segments: list[str]
) -> None:
    assume(not {".", ".."} & set(segments))
    uri = "db://host/" + "/".join(segments)
    other = data.draw(respelled(segments))
    for entry in (uri, "db://host/*", "d?://*", "db://host/{+path}", "db://{host}/" + "/".join(segments)):
        assert not judge_of(Part(deny=(entry,)), is_uri=True)(other), entry
    assert judge_of(Part(deny=("db://host/x", "db://h/*")), is_uri=True)(other)
    scheme, rest = other[: len("db://")], other[len("db://") :].replace("/", data.draw(st.sampled_from(["/", "//"])))
    opened = data.draw(st.sampled_from([scheme + rest, f"{scheme}{rest}/", f"{scheme}:@{rest}"]))
    assert not judge_of(Part(deny=(uri,)), is_uri=True)(opened)
    assert not judge_of(Part(allow=(uri,)), is_uri=True)(f"{uri}//../../x")


@settings(max_examples=400, deadline=None)
@given(text=st.text(max_size=20), pieces=_PIECES, data=st.data())
def test_what_an_entry_names_is_shown_however_it_is_spelled(text: str, pieces: list[str], data: st.DataObject) -> None:
    for uri in (text, f"db://H/{text}", f"db://{text}"):
        assert judge_of(Part(allow=(uri,)), is_uri=True)(uri) is not is_twisted(uri)
        assert not judge_of(Part(deny=(uri,)), is_uri=True)(uri)
    uri = "db://H/" + "".join(pieces)
    assume("/." not in uri)
    until = data.draw(st.integers(0, len(pieces)))
    entry = "db://H/" + "".join(pieces[:until])
    assert judge_of(Part(allow=(f"{entry}*",)), is_uri=True)(uri)


@settings(max_examples=400, deadline=None)
@given(uri=_PLAIN, entries=st.lists(_PLAIN, min_size=1, max_size=3))
def test_plain_uris_are_judged_as_they_are_spelled(uri: str, entries: list[str]) -> None:
    assert readings(uri) == (uri,) * 5
    for part in (Part(allow=tuple(entries)), Part(deny=tuple(entries))):
        assert judge_of(part, is_uri=True)(uri) == judge_of(part)(uri)


@settings(max_examples=400, deadline=None)
@given(text=st.text(alphabet=st.characters(), max_size=30))
def test_nothing_makes_a_reading_raise(text: str) -> None:
    for uri in (text, f"{text}://%{text}/../%2e", f"a:{text}"):
        assert len(readings(uri)) == 5
        assert judge_of(Part(allow=(uri, uri + "*", "{x}" + uri)), is_uri=True)(uri) is not is_twisted(uri)
        assert not judge_of(Part(deny=(uri,)), is_uri=True)(uri)
