"""What many servers say of themselves, as one."""

from msgspec import Raw

from isthmus.routing import merge


def test_capabilities_are_those_of_any_and_true_goes_before_false() -> None:
    one = {"tools": {"listChanged": False}, "logging": {}, "resources": {"subscribe": False, "listChanged": True}}
    other = {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "completions": {}, "odd": {"a": [1]}}
    expected = {
        "tools": {"listChanged": True},
        "logging": {},
        "resources": {"subscribe": True, "listChanged": True},
        "completions": {},
        "odd": {"a": [1]},
    }
    assert merge.capabilities([one, other]) == merge.capabilities([other, one]) == expected
    assert merge.capabilities([]) == {}
    assert one["tools"] == {"listChanged": False}


def test_extensions_are_united_and_tasks_are_nobodys() -> None:
    tasks: dict[str, object] = {"io.modelcontextprotocol/tasks": {}}
    ui: dict[str, object] = {"io.modelcontextprotocol/ui": {"mimeTypes": ["a"]}}
    assert merge.capabilities([{"extensions": tasks, "tasks": {"list": {}}}]) == {}
    merged = merge.capabilities([{"extensions": tasks | ui}, {"extensions": {"x/y": {}}, "experimental": {"z": {}}}])
    assert merged == {"extensions": ui | {"x/y": {}}, "experimental": {"z": {}}}


def test_nonsense_among_capabilities_counts_as_nothing() -> None:
    assert merge.capabilities([{"tools": True, "extensions": 1, "prompts": {}}]) == {"prompts": {}}


def test_server_that_has_said_nothing_may_have_every_list() -> None:
    changing = {"listChanged": True}
    merged = merge.capabilities([{"tools": {"listChanged": False}, "logging": {}}], is_whole=False)
    assert merged == {"tools": changing, "prompts": changing, "resources": changing, "logging": {}}


def test_instructions_stand_under_the_servers_names() -> None:
    assert merge.instructions([("a", "Be kind.\n"), ("b", " \n"), ("c", "Be quick.")]) == (
        "# a\n\nBe kind.\n\n# c\n\nBe quick."
    )
    assert merge.instructions([("a", "")]) is None
    assert merge.instructions([]) is None


def test_discovery_says_what_there_is_and_who_is_missing() -> None:
    info = Raw(b'{"name":"i"}')
    plain = {"resultType": "complete", "supportedVersions": ["v"], "capabilities": {"tools": {}}}
    private = {"ttlMs": 0, "cacheScope": "private"}
    assert merge.discover({"tools": {}}, None, ["v"], None, None, "k") == plain | private
    assert merge.discover({"tools": {}}, "Hi.", ["v"], info, {"a": "out"}, "k") == plain | private | {
        "instructions": "Hi.",
        "_meta": {"io.modelcontextprotocol/serverInfo": info, "k": {"a": "out"}},
    }
