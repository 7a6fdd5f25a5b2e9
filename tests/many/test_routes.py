"""Where requests go: by their prefix without any list, or by the catalog where they have none of ours."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.routing.choice import Choice, Edit, Part
from isthmus.routing.namespace import join_name
from tests.engine.clients import run
from tests.many.servers import absent, client_of, heard, launch, many, prefixed, said, shown, spec

ERAS = ["legacy", "modern"]
NOTHING = Choice(resources=Part(allow=()))


@pytest.mark.parametrize("client", ERAS)
def test_a_call_with_a_prefix_asks_for_no_list_and_starts_no_other_back(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            one = await client_of(made, client)
            for member in ("a", "b"):
                result = await one.call(member, f"{member}_echo", x=member).result()
                assert said(result) | {"pid": 0} == {"from": member, "tool": "echo", "given": {"x": member}, "pid": 0}
            assert [heard(log, each, "tools/list") for each in ("a", "b")] == [[], []]

    run(scenario)


def test_a_modern_client_starts_only_the_back_that_it_calls(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log)) as made:
            one = await client_of(made, "modern")
            await one.call(1, "b_echo").result()
            assert heard(log, "a") == []

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("prefix", ["b", None])
def test_no_call_goes_without_the_arguments_that_are_fixed(client: str, prefix: str | None, tmp_path: Path) -> None:
    async def scenario() -> None:
        choice = Choice(tools=Part(edits=(("echo", Edit(fixed=(("text", b'"x"'),))),)))
        async with many(spec("modern", "b", tmp_path / "log", prefix=prefix, choice=choice)) as made:
            one, name = await client_of(made, client), "b_echo" if prefix else "echo"
            for given in ({}, {"arguments": None}, {"arguments": {"text": "y"}}):
                result = await one.request(1, "tools/call", name=name, **given).result()
                assert said(result)["given"] == {"text": "x"}
            error = await one.request(2, "tools/call", name=name, arguments=[["text", "y"]]).error()
            assert error["code"] == -32602 and name in error["message"]

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("back", ERAS)
def test_what_names_a_thing_goes_to_its_back_under_its_own_name(client: str, back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec(back, "b", log)) as made:
            one = await client_of(made, client)
            read = await one.request(1, "resources/read", uri="note://b/x").result()
            assert read["contents"] == [{"uri": "note://b/x", "text": "note://x of b"}]
            got = await one.request(2, "prompts/get", name="b_hello").result()
            assert got["messages"][0]["content"]["text"] == "hello of b"
            refs = [
                ({"type": "ref/prompt", "name": "b_hello"}, {"type": "ref/prompt", "name": "hello"}),
                (
                    {"type": "ref/resource", "uri": "note://b/by/{name}"},
                    {"type": "ref/resource", "uri": "note://by/{name}"},
                ),
            ]
            for shown_, own in refs:
                argument = {"name": "who", "value": ""}
                done = await one.request(3, "completion/complete", ref=shown_, argument=argument).result()
                assert (done["completion"]["values"][0], json.loads(done["completion"]["values"][1])) == ("b", own)

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_link_from_a_tool_can_be_read_through_the_proxy(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            one = await client_of(made, client)
            for member in ("a", "b"):
                (link,) = (await one.call(1, f"{member}_link").result())["content"]
                assert link["uri"] == f"note://{member}/here"
                read = await one.request(2, "resources/read", uri=link["uri"]).result()
                assert read["contents"][0] == {"uri": link["uri"], "text": f"note://here of {member}"}

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_the_uri_in_an_error_is_the_clients(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with many(*(spec(each, each[0], tmp_path / "log") for each in ERAS)) as made:
            one = await client_of(made, client)
            for member in ("l", "m"):
                error = await one.request(1, "resources/read", uri=f"note://{member}/gone").error()
                assert error["code"] == (-32602 if client == "modern" else -32002)
                assert error["data"]["uri"] == f"note://{member}/gone"

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_uri_that_only_one_back_calls_its_own_is_that_backs(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        quiet = Choice(resources=Part(deny=("note://*",)))
        async with many(spec("legacy", "a", log), spec("modern", "b", log, choice=quiet)) as made:
            one = await client_of(made, client)
            for number, uri in enumerate(("note://here", "note://by/me")):
                read = await one.request(number, "resources/read", uri=uri).result()
                assert read["contents"][0]["text"] == f"{uri} of a"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            one = await client_of(made, client)
            why = (await one.request(1, "resources/read", uri="note://here").error())["message"]
            assert "No server has the resource 'note://here'" in why

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_prefix_comes_before_what_another_back_calls_its_own(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "by", log)) as made:
            one = await client_of(made, client)
            for uri, text in {"note://by/me": "note://me of by", "note://a/by/me": "note://by/me of a"}.items():
                assert (await one.request(1, "resources/read", uri=uri).result())["contents"][0]["text"] == text

    run(scenario)


DENIED = ["note://b/here", "note://here", "note://b/by/7", "note://by/7", "https://example.com/b", "urn:b:7", "urn:b:9"]
SPELLED = [
    "NOTE://b/by/7",
    "note://B/BY/7",
    "note://b/by/%37",
    "note://by/8/../7",
    "note://b/x/../../here",
    "urn:b:%39",
]
CHOICE = Choice(
    resources=Part(
        allow=("note://*", "https://example.com/*", "urn:b:{x}"),
        deny=("note://here", "note://by/7", "https://example.com/b", "urn:b:[79]"),
    )
)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("back", ERAS)
def test_a_denied_uri_is_nowhere_with_and_without_a_prefix(client: str, back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, choice=NOTHING), spec(back, "b", log, choice=CHOICE)) as made:
            one = await client_of(made, client)
            argument = {"name": "name", "value": ""}
            for uri in [*DENIED, *SPELLED, "urn:b:8/9"]:
                why = f"No server has the resource {uri!r}"
                asked = [one.request(1, "resources/read", uri=uri)]
                ref = {"type": "ref/resource", "uri": uri}
                asked.append(one.request(2, "completion/complete", ref=ref, argument=argument))
                if client == "legacy":
                    asked += [one.request(n, f"resources/{n}", uri=uri) for n in ("subscribe", "unsubscribe")]
                assert [why in (await each.error())["message"] for each in asked] == [True] * len(asked)
            for number, uri in enumerate(("note://b/by/8", "note://by/8", "urn:b:8"), 3):
                read = await one.request(number, "resources/read", uri=uri).result()
                assert read["contents"][0]["text"].endswith(" of b")
            assert len(heard(log, "b", "resources/read")) == 3
            assert heard(log, "b", "resources/subscribe") == heard(log, "b", "completion/complete") == []

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_what_is_hidden_is_nowhere_under_its_own_uri_either(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        specs = [spec("modern", "a", log, choice=NOTHING), spec("legacy", "b", log)]
        async with many(*specs) as made:
            made.reload(specs, {("resources", "note://b/by/7")})
            one = await client_of(made, client)
            for number, uri in enumerate(("note://b/by/7", "note://by/7")):
                why = (await one.request(number, "resources/read", uri=uri).error())["message"]
                assert f"No server has the resource {uri!r}" in why
            read = await one.request(3, "resources/read", uri="note://by/8").result()
            assert read["contents"][0]["text"] == "note://by/8 of b"

    run(scenario)


def test_what_a_template_makes_beside_a_hidden_one_is_the_backs_own_uri(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        specs = [
            spec("modern", "a", log),
            spec("legacy", "b", log, choice=Choice(resources=Part(deny=("note://by/7",)))),
        ]
        async with many(*specs) as made:
            made.reload(specs, {("resourceTemplates", "note://b/{+any}")})
            one = await client_of(made, "modern")
            read = await one.request(1, "resources/read", uri="note://b/by/8").result()
            assert read["contents"] == [{"uri": "note://b/by/8", "text": "note://by/8 of b"}]
            why = (await one.request(2, "resources/read", uri="note://b/by/7").error())["message"]
            assert "No server has the resource" in why

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_uris_that_are_not_rewritten_are_found_in_the_catalog(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            one = await client_of(made, client)
            for uri in ("https://example.com/b", "urn:b:x"):
                read = await one.request(1, "resources/read", uri=uri).result()
                assert read["contents"] == [{"uri": uri, "text": f"{uri} of b"}]
            error = await one.request(2, "resources/read", uri="https://example.com/nobody's").error()
            assert error["code"] == (-32602 if client == "modern" else -32002)
            assert "No server has the resource" in error["message"]
            assert error["data"] == {"uri": "https://example.com/nobody's"}

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_of_one_uri_that_two_servers_list_the_first_goes_first_and_the_log_says_so_once(
    client: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        same = replace(spec("modern", "b", log), target=launch("modern", "a", log))
        async with many(spec("legacy", "a", log), same) as made:
            one = await client_of(made, client)
            for number in (1, 2):
                listed = await one.request(number, "resources/list").result()
                assert shown(listed, "resources/list") == ["note://a/here", "https://example.com/a", "note://b/here"]
            read = await one.request(3, "resources/read", uri="https://example.com/a").result()
            assert read["contents"][0]["text"] == "https://example.com/a of a"

    run(scenario)
    assert [each.getMessage() for each in caplog.records if "both" in each.getMessage()] == [
        "a and b both list the resource 'https://example.com/a'. That of a goes first, and that of b is left out. "
        "Deny it in one of the two."
    ]


@pytest.mark.parametrize("client", ERAS)
def test_a_shortened_name_is_found_in_the_catalog(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        names = [f"{prefix}_{'n' * 20}" for prefix in ("a", "b")]
        specs = [spec("modern", name, log, longest=24) for name in names]
        async with many(*specs) as made:
            one = await client_of(made, client)
            listed = shown(await one.request(1, "tools/list").result())
            assert all(len(name) <= 24 for name in listed) and len(set(listed)) == 12
            for number, (member, tool) in {0: (0, "echo"), 6: (1, "echo")}.items():
                got = said(await one.call(2, listed[number]).result())
                assert (got["from"], got["tool"]) == (names[member], tool)
            wrong = await one.call(3, f"{listed[0][:-8]}00000000").error()
            assert wrong["code"] == -32602 and "No server has the tool" in wrong["message"]

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_shortened_name_asks_only_the_server_of_its_prefix(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        long = {own: Part(edits=((own, Edit(rename="n" * 20)),)) for own in ("echo", "hello")}
        mine = spec("legacy", "a", log, longest=16, choice=Choice(tools=long["echo"], prompts=long["hello"]))
        quiet = spec("modern", "b", log, longest=16, MUTE="tools/list prompts/list", deadline=30)
        async with many(mine, quiet, absent("c")) as made:
            one = await client_of(made, client)
            name, gone = (join_name(prefix, "n" * 20, 16) for prefix in "ac")
            assert said(await one.call(1, name).result())["tool"] == "echo"
            got = await one.request(2, "prompts/get", name=name).result()
            assert got["messages"][0]["content"]["text"] == "hello of a"
            ref = {"type": "ref/prompt", "name": name}
            done = await one.request(3, "completion/complete", ref=ref, argument={"name": "who", "value": ""}).result()
            assert done["completion"]["values"][0] == "a"
            error = await one.call(4, gone).error()
            assert error["message"].startswith("c ") and "/no/such/command" in error["message"]
            wrong = await one.call(5, f"a_{'n' * 5}_00000000").error()
            assert wrong["message"] == f"Unknown tool {'n' * 5}_00000000"  # it only looks shortened
            assert heard(log, "b", "tools/list") == heard(log, "b", "prompts/list") == []

    run(scenario)


def test_a_name_that_looks_shortened_may_be_that_of_a_server_without_prefix(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        name = "a_12345_deadbeef"
        choice = Choice(tools=Part(edits=(("echo", Edit(rename=name)),)))
        bare = spec("modern", "b", log, prefix=None, longest=16, choice=choice)
        async with many(spec("modern", "a", log, longest=16), bare) as made:
            one = await client_of(made, "modern")
            assert said(await one.call(1, name).result())["from"] == "b"

    run(scenario)


def test_a_name_that_only_looks_shortened_goes_by_its_prefix(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(*(spec("modern", each, log, longest=16) for each in ("a", "b"))) as made:
            one = await client_of(made, "modern")
            error = await one.call(1, "a_12345_deadbeef").error()
            assert error["message"] == "Unknown tool 12345_deadbeef"  # the back's own word

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_name_of_nobody_is_refused_without_asking_anybody(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log)) as made:
            one = await client_of(made, client)
            error = await one.call(1, "c_echo").error()
            assert error["code"] == -32602 and "No server has the tool 'c_echo'" in error["message"]
            nameless = await one.request(2, "tools/call", arguments={}).error()
            assert nameless["code"] == -32602 and "does not say what it is for" in nameless["message"]
            assert heard(log, "a", "tools/list") == heard(log, "b", "tools/list") == []

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_of_several_servers_nobody_gets_a_method_that_names_nothing(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log)) as made:
            one = await client_of(made, client)
            error = await one.request(1, "vendor/own", x=1).error()
            assert error["code"] == -32601
            assert "nothing in vendor/own says which of the servers it is for" in error["message"]
            assert heard(log, "a", "vendor/own") == heard(log, "b", "vendor/own") == []

    run(scenario)


@pytest.mark.parametrize("era", ERAS)
def test_one_server_without_prefix_is_as_if_it_stood_alone(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec(era, "a", log, prefix=None)) as made:
            one = await client_of(made, era)
            error = await one.request(1, "vendor/own", x=1).error()
            assert error == {"code": -32601, "message": "Method not found: vendor/own"}  # the back's own
            assert heard(log, "a", "vendor/own")[0]["params"]["x"] == 1
            assert shown(await one.request(2, "tools/list").result())[:2] == ["echo", "link"]
            assert said(await one.call(3, "echo").result())["tool"] == "echo"

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_one_server_of_which_something_is_changed_is_routed(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        choice = Choice(tools=Part(deny=("die",)))
        async with many(spec("modern", "a", tmp_path / "log", prefix=None, choice=choice)) as made:
            one = await client_of(made, client)
            assert shown(await one.request(1, "tools/list").result()) == ["echo", "link", "ask", "hang", "grow"]
            assert said(await one.call(2, "echo").result())["from"] == "a"
            assert "No server has the tool 'die'" in (await one.call(3, "die").error())["message"]

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_the_same_ids_and_progress_tokens_of_many_clients_at_many_backs(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            clients = [await client_of(made, client) for _ in range(3)]
            calls = {
                (number, name): one.call(f"{name}", f"{name}_echo", meta={"progressToken": 1}, canary=[number, name])
                for number, one in enumerate(clients)
                for name in ("a", "b")
            }
            results = dict(zip(calls, await asyncio.gather(*(each.result() for each in calls.values())), strict=True))
            assert all(said(each)["given"] == {"canary": list(key)} for key, each in results.items())
            assert all(said(each)["from"] == key[1] for key, each in results.items())

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_every_kind_is_listed_in_the_order_of_the_configuration(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "z", log, SLOW=0.2), spec("modern", "a", log)) as made:
            one = await client_of(made, client)
            tools = shown(await one.request(1, "tools/list").result())
            assert tools == prefixed(["echo", "link", "ask", "hang", "die", "grow"], "z", "a")
            wanted = {
                "prompts/list": ["z_hello", "a_hello"],
                "resources/list": ["note://z/here", "https://example.com/z", "note://a/here", "https://example.com/a"],
                "resources/templates/list": ["note://z/by/{name}", "urn:z:{x}", "note://a/by/{name}", "urn:a:{x}"],
            }
            for method, names in wanted.items():
                assert shown(await one.request(2, method).result(), method) == names

    run(scenario)
