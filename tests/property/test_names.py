"""Names and URIs with prefixes: reversible under every accepted set, and nothing else changed around them."""

import json

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from isthmus.routing.choice import Choice, Edit, Part
from isthmus.routing.face import Face
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
from tests.property.json_text import SPACES, STRINGS, VALUES, tokens, write_object

# Few letters, so that prefixes begin with one another and names with prefixes; and those that mean something.
_CLOSE = st.text(alphabet="aAb_-.9", max_size=6)
_PREFIXES = st.lists(st.one_of(_CLOSE, st.text(max_size=8)), min_size=1, max_size=8)
_NAMES = st.one_of(_CLOSE, st.text(alphabet="ab_-./9", max_size=90), st.text(max_size=20))
_SCHEMES = st.one_of(
    st.sampled_from(["file", "data", "ui", "my_scheme", "a+b.c-d"]), st.text(alphabet="ab+", min_size=1)
)
_RESTS = st.one_of(st.text(alphabet="aAb_/.:?#%9", max_size=12), st.text(max_size=12))
_UNPREFIXED = st.sampled_from(["http://a/b", "https://a", "HTTPS://a/x", "mailto:a@b", "urn:a:b", "a", "", "//a/b"])
_URIS = st.one_of(st.builds("{}://{}".format, _SCHEMES, _RESTS), _UNPREFIXED, st.text(max_size=20))
_VARIABLES = st.sampled_from(["{a}", "{b}", "{+a}", "{/b}", "{?a,b}"])
_TEMPLATE_PARTS = st.lists(st.one_of(st.text(alphabet="aAb_/.:?#%9", max_size=4), _VARIABLES), max_size=5)
_TEMPLATE_RESTS = _TEMPLATE_PARTS.map("".join)
_TEMPLATES = st.one_of(
    st.builds("{}://{}".format, _SCHEMES, _TEMPLATE_RESTS),
    st.builds("{}{}://{}".format, st.sampled_from(["", "a", "https"]), _VARIABLES, _TEMPLATE_RESTS),
    st.builds("{}://{}".format, st.sampled_from(["http", "https"]), _TEMPLATE_RESTS),
)


def accepted(wanted: list[str]) -> list[str]:
    """A set of prefixes made of what was wanted, as a configuration's would be: refused ones give way to proposals."""
    prefixes = [prefix_of(each) for each in wanted]
    while (found := clash(prefixes)) is not None:
        first, second, instead = found
        prefixes[prefixes.index(second, prefixes.index(first) + 1)] = instead
    assert [fault_of(each) for each in prefixes] == [None] * len(prefixes)
    return prefixes


def expand(template: str, a: str, b: str) -> str:
    """An expansion of RFC 6570 for the expressions above, its values literal."""
    for expression, value in (("{a}", a), ("{b}", b), ("{+a}", a), ("{/b}", f"/{b}"), ("{?a,b}", f"?a={a}&b={b}")):
        template = template.replace(expression, value)
    return template


@settings(max_examples=400, deadline=None)
@given(wanted=_PREFIXES, name=_NAMES)
@example(wanted=["a", "a_b", "a_", "A"], name="b_c")
def test_every_name_is_split_as_it_was_joined(wanted: list[str], name: str) -> None:
    prefixes = accepted(wanted)
    namespace = Namespace(prefixes)
    for prefix in prefixes:
        shown = join_name(prefix, name, 10_000)
        assert namespace.split_name(shown) == (prefix, name)
        face = Face(prefix, longest=10_000)
        assert (face.shown("tools", name), face.own("tools", name)) == (shown, name)


@settings(max_examples=400, deadline=None)
@given(wanted=_PREFIXES, uri=_URIS)
def test_every_uri_is_split_as_it_was_joined(wanted: list[str], uri: str) -> None:
    prefixes = accepted(wanted)
    namespace = Namespace(prefixes)
    for prefix in prefixes:
        shown = join_uri(prefix, uri)
        if shown != uri:
            assert namespace.split_uri(shown) == (prefix, uri)
            assert namespace.split_uri(shown.replace(prefix, prefix.lower(), 1)) is not None


@settings(max_examples=400, deadline=None)
@given(uri=_UNPREFIXED, wanted=_PREFIXES)
def test_uri_that_takes_no_prefix_is_taken_for_none(uri: str, wanted: list[str]) -> None:
    prefixes = accepted(wanted)
    assert {join_uri(prefix, uri) for prefix in prefixes} == {uri}
    assert Namespace(prefixes).split_uri(uri) is None


@settings(max_examples=400, deadline=None)
@given(wanted=_PREFIXES, template=_TEMPLATES, a=st.text("aAb_/9", max_size=4), b=st.text("aAb_9", max_size=4))
def test_every_template_is_split_as_it_was_joined_and_expands_to_joined_uris(
    wanted: list[str], template: str, a: str, b: str
) -> None:
    prefixes = accepted(wanted)
    namespace = Namespace(prefixes)
    for prefix in prefixes:
        shown = join_template(prefix, template)
        if shown != template:
            assert namespace.split_template(shown) == (prefix, template)
        if "{" not in template.partition("://")[0]:
            uri = expand(template, a, b)
            assert expand(shown, a, b) == join_uri(prefix, uri)
            assert namespace.split_uri(expand(shown, a, b)) == ((prefix, uri) if shown != template else None)


@settings(max_examples=400, deadline=None)
@given(wanted=_PREFIXES)
def test_set_of_prefixes_is_accepted_only_if_none_begins_a_name_of_another(wanted: list[str]) -> None:
    prefixes = [prefix_of(each) for each in wanted]
    overlap = any(
        f"{second}_".startswith(f"{first}_") or first.lower() == second.lower()
        for at, second in enumerate(prefixes)
        for before, first in enumerate(prefixes)
        if before != at
    )
    assert (clash(prefixes) is not None) == overlap


@settings(max_examples=400, deadline=None)
@given(
    wanted=_PREFIXES,
    names=st.sets(st.text(alphabet="ab", min_size=60, max_size=70), max_size=6),
    longest=st.integers(20, 80),
)
def test_shortened_names_are_distinct_stable_and_lead_to_their_server(
    wanted: list[str], names: set[str], longest: int
) -> None:
    prefixes = accepted(wanted)
    assume(all(fault_of(prefix, longest) is None for prefix in prefixes))
    namespace = Namespace(prefixes)
    shown = {(prefix, name): join_name(prefix, name, longest) for prefix in prefixes for name in names}
    assert len(set(shown.values())) == len(shown)
    for (prefix, name), short in shown.items():
        assert short == join_name(prefix, name, longest)
        split = namespace.split_name(short)
        assert split is not None
        assert split[0] == prefix
        assert len(short) <= longest
        assert is_shortened(short, longest) or split == (prefix, name)


def same(sent: bytes, expected: str) -> None:
    assert tokens(sent) == tokens(expected.encode())


def collapsed(members: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of a member that is repeated in an opened object the last is left, where the first stood."""
    last: dict[str, tuple[str, str]] = {}
    for name, value in members:
        last[json.loads(name)] = (name, value)
    return list(last.values())


def others(*reserved: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Members of an object beside those that mean something."""
    names = STRINGS.filter(lambda name: json.loads(name) not in reserved)
    return st.lists(st.tuples(names, VALUES), max_size=3)


@settings(max_examples=400, deadline=None)
@given(before=others("name", "_meta"), after=others("name", "_meta"), space=SPACES)
def test_item_keeps_every_token_but_its_name(
    before: list[tuple[str, str]], after: list[tuple[str, str]], space: str
) -> None:
    text = write_object([*before, ('"n\\u0061me"', '"\\u0067et"'), *after], space)
    found = Face("w").item("tools", text.encode())
    assert found is not None
    assert found[0] == "w_get"
    same(found[1], write_object(collapsed([*before, ('"n\\u0061me"', '"w_get"'), *after]), ""))


@settings(max_examples=300, deadline=None)
@given(
    outer=others("name", "_meta", "inputSchema"),
    schema=others("properties", "required"),
    arguments=others("x", "y"),
    space=SPACES,
)
def test_item_keeps_every_token_of_a_schema_but_what_is_hidden(
    outer: list[tuple[str, str]], schema: list[tuple[str, str]], arguments: list[tuple[str, str]], space: str
) -> None:
    def text(name: str, hidden: list[tuple[str, str]], required: str, schema: list[tuple[str, str]]) -> str:
        properties = ('"properties"', write_object([*hidden, *collapsed(arguments)], space))
        return write_object(
            [
                ('"name"', name),
                *collapsed(outer),
                ('"inputSchema"', write_object([*schema, properties, ('"required"', required)], space)),
            ],
            space,
        )

    face = Face("w", Choice(tools=Part(edits=(("get", Edit(hidden=("x",), fixed=(("y", b"1"),))),))))
    came = text('"get"', [('"x"', "{}"), ('"\\u0079"', "[1.0]")], '["y", "\\u0061"]', schema)
    found = face.item("tools", came.encode())
    assert found is not None
    same(found[1], text('"w_get"', [], '["\\u0061"]', collapsed(schema)))


@settings(max_examples=300, deadline=None)
@given(
    message=others("jsonrpc", "id", "result", "error", "method"),
    result=others("content"),
    block=others("type", "uri"),
    neighbours=st.lists(VALUES.filter(lambda value: "resource" not in value), max_size=3),
    space=SPACES,
)
def test_answer_keeps_every_token_but_its_uris(
    message: list[tuple[str, str]],
    result: list[tuple[str, str]],
    block: list[tuple[str, str]],
    neighbours: list[str],
    space: str,
) -> None:
    def text(uri: str, spread: str) -> str:
        link = write_object([('"type"', '"resource_link"'), *collapsed(block), ('"uri"', uri)], spread)
        content = f"[{spread}" + f"{spread},{spread}".join([*neighbours, link]) + f"{spread}]"
        answer = write_object([*collapsed(result), ('"content"', content)], spread)
        head = [('"jsonrpc"', '"2.0"'), ('"id"', "1e0"), *collapsed(message)]
        return write_object([*head, ('"result"', answer)], spread)

    same(Face("w").answer("tools/call", text('"a:\\/\\/b"', space).encode()), text('"a://w/b"', ""))
    elsewhere = text('"https:\\/\\/b"', space).encode()
    assert Face("w").answer("tools/call", elsewhere) is elsewhere


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(VALUES.map(str.encode), st.text(max_size=60).map(str.encode)),
    kind=st.sampled_from(["tools", "resources"]),
)
def test_nothing_makes_a_face_raise(text: bytes, kind: str) -> None:
    face = Face("w", Choice(tools=Part(edits=(("", Edit(hidden=("x",))),))))
    face.item(kind, text)
    face.item(kind, b'{"name":"","uri":"","inputSchema":' + text + b',"_meta":' + text + b"}")
    face.item(kind, b'{"name":"","inputSchema":{"properties":' + text + b',"required":' + text + b'},"_meta":{"ui":1}}')
    for method in ("tools/call", "prompts/get", "resources/read"):
        for inside in (b'{"content":', b'{"messages":', b'{"contents":[{"uri":'):
            face.answer(method, b'{"id":1,"result":' + inside + text + b"}]}}")
            face.answer(method, b'{"id":1,"uri":0,"result":' + inside[:-1] + b":" + text + b"}}")
        face.answer(method, b'{"uri":' + text + b"}")
    face.notification(b'{"method":"notifications/resources/updated","params":' + text + b"}")
