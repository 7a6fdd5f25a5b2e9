"""Draws docs/reference/python.md and the pages below it out of the package: every public name, with its signature, its
arguments, what it raises and where it is; with `--check`, only compares.

The sources are read and never run, so drawing costs nothing of what they import. What a docstring has to have is
tests/docs/test_reference.py's affair.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
INDEX: Final = ROOT / "docs" / "reference" / "python.md"
FOLDER: Final = INDEX.with_suffix("")
BY: Final = "<!-- Drawn by tools/draw_reference.py out of the docstrings: change those. -->"
Def = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Function = (ast.FunctionDef, ast.AsyncFunctionDef)


class Page(NamedTuple):
    """A page: its file, its heading, and the modules on it; a module with `:` and names stands for these alone."""

    file: str
    heading: str
    modules: tuple[str, ...]


PAGES: Final = (
    Page("server", "Servers", ("isthmus.server", "isthmus.server.serving:Place", "isthmus.server.dependencies")),
    Page("proxy", "Proxies", ("isthmus.server.proxy",)),
    Page("middleware", "Middleware", ("isthmus.server.middleware", "isthmus.server.between:Refused")),
    Page("client", "Clients", ("isthmus.client.client:Client", "isthmus.client.results:CallToolResult")),
    Page("transports", "Transports of clients", ("isthmus.client.transports", "isthmus.client.auth")),
    Page(
        "handlers",
        "Handlers of clients",
        (
            *("isthmus.client.roots", "isthmus.client.sampling", "isthmus.client.elicitation"),
            *("isthmus.client.logging", "isthmus.client.progress", "isthmus.client.messages"),
        ),
    ),
    Page(
        "components",
        "Components",
        (
            "isthmus.components.component:Component,NotSet,NotSetT",
            "isthmus.components.tools:Tool,FunctionTool,ProxyTool,ToolResult",
            "isthmus.components.transform:ArgTransform,TransformedTool",
            "isthmus.components.resources:Resource,FunctionResource,TextResource,BinaryResource,FileResource,"
            "DirectoryResource,ProxyResource",
            "isthmus.components.templates:ResourceTemplate,FunctionResourceTemplate,ProxyTemplate",
            "isthmus.components.prompts:Prompt,FunctionPrompt,ProxyPrompt,PromptArgument,Message",
            "isthmus.components.elicitation:AcceptedElicitation,DeclinedElicitation,CancelledElicitation",
        ),
    ),
    Page("configuration", "Configurations", ("isthmus.mcp_config",)),
    Page("errors", "Errors", ("isthmus.exceptions", "isthmus.errors")),
    Page(
        "settings",
        "Settings",
        ("isthmus.limits:Limits", "isthmus.transports.http_front.access:Access,Verifier", "isthmus.version"),
    ),
    Page("testing", "Testing", ("isthmus.testing",)),
)


# -- what the sources say ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thing:
    """Something public: where it is defined, under which name, and how; `node` is None for what is of others."""

    module: str
    name: str
    node: ast.stmt | None
    doc: str = ""

    @property
    def is_other(self) -> bool:
        """Whether another package defines it."""
        return not self.module.startswith("isthmus")


@dataclass
class Doc:
    """A docstring in its parts."""

    text: str = ""
    args: dict[str, str] = field(default_factory=dict)
    returns: str = ""
    raises: dict[str, str] = field(default_factory=dict)


def path_of(module: str) -> Path:
    """The file of a module."""
    stem = ROOT / "src" / Path(*module.split("."))
    return stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")


@cache
def tree_of(module: str) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path_of(module).read_text(encoding="utf-8"))


def _statements(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """The statements of a module or class with the text that stands below each, those under conditions included."""
    for at, node in enumerate(body):
        after = body[at + 1] if at + 1 < len(body) else None
        said = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        yield node, said if isinstance(said, str) else ""
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])


def _target(node: ast.stmt) -> str:
    """The name that a statement gives a value to, or an empty one."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


@cache
def resolve(module: str, name: str) -> Thing:
    """Where a name of a module is defined.

    Raises:
        KeyError: the module has no such name.
    """
    for node, said in _statements(tree_of(module).body):
        if isinstance(node, Def) and node.name == name:
            return Thing(module, name, node)
        if _target(node) == name:
            return Thing(module, name, node, said)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    is_ours = node.module.startswith("isthmus")
                    other = f"`{node.module}.{alias.name}`, under this name."
                    return resolve(node.module, alias.name) if is_ours else Thing(node.module, name, None, other)
    raise KeyError(f"{module} has no {name}.")


def public(module: str) -> list[str]:
    """The public names of a module: those in its `__all__`, or else those that it defines."""
    tree = tree_of(module)
    for node, _ in _statements(tree.body):
        if isinstance(node, ast.Assign) and _target(node) == "__all__":
            return [str(each) for each in ast.literal_eval(node.value)]
    names = [node.name if isinstance(node, Def) else _target(node) for node, _ in _statements(tree.body)]
    return [name for name in names if (name and not name.startswith("_") and len(name) > 1) or name == "__version__"]


def names_of(place: str) -> tuple[str, list[str]]:
    """A module of a `Page`, and the names of it that are on the page."""
    module, _, chosen = place.partition(":")
    return module, chosen.split(",") if chosen else public(module)


def parse_doc(text: str | None) -> Doc:
    """A docstring in its parts: the text, and `Args:`, `Returns:` and `Raises:`."""
    parts = re.split(r"^(Args|Returns|Raises):\n", text or "", flags=re.MULTILINE)
    found = Doc(text=parts[0].strip())
    for name, part in zip(parts[1::2], parts[2::2], strict=True):
        inside, _, after = (part + "\n\n").partition("\n\n")
        entries = re.split(r"^ {4}(?=\S)", inside, flags=re.MULTILINE)[1:]
        pairs = [" ".join(entry.split()).partition(": ") for entry in entries]
        if name == "Returns":
            found.returns = " ".join(inside.split())
        else:
            (found.args if name == "Args" else found.raises).update({key: said for key, _, said in pairs})
        found.text = f"{found.text}\n\n{after.strip()}".strip()
    return found


def members(thing: Thing) -> Iterator[tuple[str, Def | ast.stmt, str]]:
    """What a class has of its own, and of bases that are on no page: name, definition and the text below it."""
    assert isinstance(thing.node, ast.ClassDef)
    seen: set[str] = set()
    for each in (thing, *_hidden_bases(thing)):
        assert isinstance(each.node, ast.ClassDef)
        for node, said in _statements(each.node.body):
            name = node.name if isinstance(node, Def) else _target(node)
            if not name or name.startswith("_") or name in ("model_config", "kind", *seen):
                continue
            if is_decorated(node, "overload"):
                continue
            seen.add(name)
            yield name, node, said or _described(node)


def _described(node: ast.stmt) -> str:
    """What a field says of itself: `Field(description=…)`."""
    value = getattr(node, "value", None)
    found = [each.value for each in value.keywords if each.arg == "description"] if isinstance(value, ast.Call) else []
    return str(ast.literal_eval(found[0])) if found else ""


def bases(thing: Thing) -> list[Thing]:
    """The bases of a class that this package defines."""
    found = []
    for base in thing.node.bases if isinstance(thing.node, ast.ClassDef) else ():
        name = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(name, ast.Name):
            try:
                found.append(resolve(thing.module, name.id))
            except KeyError:
                continue
    return [each for each in found if isinstance(each.node, ast.ClassDef)]


def _hidden_bases(thing: Thing) -> Iterator[Thing]:
    for base in bases(thing):
        if base not in shown():
            yield base
            yield from _hidden_bases(base)


def shown_bases(thing: Thing) -> list[Thing]:
    """The nearest bases of a class that are on a page."""
    return [each for base in bases(thing) for each in ([base] if base in shown() else shown_bases(base))]


@cache
def shown() -> "dict[Thing, Page]":
    """Everything that is on a page, and on which; what is in several modules is on the first that has it."""
    found: dict[Thing, Page] = {}
    for page in PAGES:
        for place in page.modules:
            module, names = names_of(place)
            for name in names:
                found.setdefault(resolve(module, name), page)
    return found


def made_by(thing: Thing) -> ast.FunctionDef | None:
    """The `__init__` of a class, or that of the nearest base of ours which has one."""
    assert isinstance(thing.node, ast.ClassDef)
    for node in thing.node.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return node
    return next((found for base in bases(thing) if (found := made_by(base)) is not None), None)


# -- what a page says -------------------------------------------------------------------------------------------------


def _plain(node: ast.expr | None) -> str:
    """An annotation or a default as it is written, without quotation marks around types."""
    if node is None:
        return ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return re.sub(r"'([^',]*[\[|.][^']*|[A-Z]\w*)'", r"\1", ast.unparse(node))


def arguments_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str]]:
    """The arguments of a function, without `self`: name, and how it stands in the signature."""
    said = node.args
    given = [*said.posonlyargs, *said.args]
    defaults: list[ast.expr | None] = [*[None] * (len(given) - len(said.defaults)), *said.defaults]
    is_method = bool(given) and given[0].arg in ("self", "cls")
    for argument, default in list(zip(given, defaults, strict=True))[is_method:]:
        yield argument.arg, _written(argument, default)
    if said.vararg:
        yield said.vararg.arg, "*" + _written(said.vararg, None)
    elif said.kwonlyargs:
        yield "", "*"
    for argument, default in zip(said.kwonlyargs, said.kw_defaults, strict=True):
        yield argument.arg, _written(argument, default)
    if said.kwarg:
        yield said.kwarg.arg, "**" + _written(said.kwarg, None)


def _written(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {_plain(argument.annotation)}" if argument.annotation is not None else ""
    return f"{argument.arg}{kind}" + (f" = {ast.unparse(default)}" if default is not None else "")


def is_decorated(node: ast.stmt, decorator: str) -> bool:
    return any(ast.unparse(each).startswith(decorator) for each in getattr(node, "decorator_list", ()))


def signature(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """A function as it is called."""
    before = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    returns = f" → {_plain(node.returns)}" if node.returns is not None and node.name != "__init__" else ""
    inside = ", ".join(text for _, text in arguments_of(node))
    return f"`{before}{name}({inside}){'' if returns == ' → None' else returns}`"


def _body(doc: Doc) -> list[str]:
    """A docstring as Markdown."""
    lines = [doc.text, ""] if doc.text else []
    if doc.args:
        lines += ["Arguments:", "", *(f"* `{name}`: {said}" for name, said in doc.args.items()), ""]
    if doc.returns:
        lines += [f"Returns {doc.returns}", ""]
    for names, said in doc.raises.items():
        kinds = ", ".join(f"`{each.strip()}`" for each in names.split(","))
        lines += [f"Raises {kinds}: {said}", ""]
    return lines


def _source(thing: Thing, page: Page) -> str:
    path = path_of(thing.module).relative_to(ROOT).as_posix()
    return f"In [`{thing.module}`](../../../{path})."


def link(thing: Thing, page: Page | None) -> str:
    """A link to something, from a page or from the index."""
    there = shown()[thing]
    place = "" if there is page else f"{there.file}.md" if page is not None else f"python/{there.file}.md"
    return f"[`{thing.name}`]({place}#{thing.name.lower()})"


def section(thing: Thing, page: Page) -> list[str]:
    """What a page says of one name."""
    if thing.is_other:
        return [f"## {thing.name}", "", thing.doc, ""]
    if isinstance(thing.node, ast.ClassDef):
        return _class(thing, page)
    if isinstance(thing.node, Function):
        doc = parse_doc(ast.get_docstring(thing.node))
        return [f"## {thing.name}", "", signature(thing.name, thing.node), "", *_body(doc), _source(thing, page), ""]
    assert isinstance(thing.node, ast.Assign | ast.AnnAssign)
    value = f"`{thing.name} = {_plain(thing.node.value)}`"
    return [
        f"## {thing.name}",
        "",
        value,
        "",
        *([_joined(thing.doc), ""] if thing.doc else []),
        _source(thing, page),
        "",
    ]


def _joined(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _class(thing: Thing, page: Page) -> list[str]:
    assert isinstance(thing.node, ast.ClassDef)
    lines = [f"## {thing.name}", ""]
    made = made_by(thing)
    if made is not None:
        lines += [signature(thing.name, made), ""]
    doc = parse_doc(ast.get_docstring(thing.node))
    own = list(members(thing))
    fields_ = [each for each in own if not isinstance(each[1], Def) or is_decorated(each[1], "property")]
    told = {name: doc.args.pop(name) for name, node, _ in fields_ if made is None and name in doc.args}
    lines += _body(doc)
    above = [link(base, page) for base in shown_bases(thing)]
    if above:
        lines += [f"It has also what {' and '.join(above)} has.", ""]
    lines += [_source(thing, page), ""]
    if fields_:
        lines += [
            "| | | |",
            "|---|---|---|",
            *(_row(name, node, told.get(name) or said) for name, node, said in fields_),
        ]
        lines += [""]
    for name, node, _ in own:
        if isinstance(node, Function) and not is_decorated(node, "property"):
            title = f"{thing.name}.{name}"
            lines += [f"### {title}", "", signature(_called(title, node), node), ""]
            lines += _body(parse_doc(ast.get_docstring(node)))
    return lines


def _called(title: str, node: ast.stmt) -> str:
    """Methods are called on an object, unless they are the class's."""
    is_of_class = is_decorated(node, "classmethod") or is_decorated(node, "staticmethod")
    return title if is_of_class else title.partition(".")[2]


def _row(name: str, node: Def | ast.stmt, said: str) -> str:
    """A field or a property in the table of a class."""
    kind = default = ""
    if isinstance(node, Function):
        doc = parse_doc(ast.get_docstring(node))
        kind, said = (
            _plain(node.returns),
            " ".join([doc.text, *(f"Raises `{each}`: {why}" for each, why in doc.raises.items())]),
        )
    elif isinstance(node, ast.AnnAssign):
        kind = _plain(node.annotation)
        is_simple = node.value is not None and not isinstance(node.value, ast.Call)
        default = f" = {ast.unparse(node.value)}" if is_simple and node.value is not None else ""
    elif isinstance(node, ast.Assign):
        default = f" = {ast.unparse(node.value)}"
    cells = (f"`{name}{default}`", f"`{kind}`" if kind else "", " ".join(said.split()))
    return "| " + " | ".join(each.replace("|", r"\|") for each in cells) + " |"


def draw(page: Page) -> str:
    """A page."""
    lines = [f"# {page.heading}", "", BY, ""]
    done: set[Thing] = set()
    for place in page.modules:
        module, names = names_of(place)
        if len(names) > 1 or len(page.modules) == 1:
            lines += [_joined(ast.get_docstring(tree_of(module)) or ""), ""]
        for name in names:
            thing = resolve(module, name)
            if shown()[thing] is page and thing not in done:
                done.add(thing)
                lines += section(thing, page)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def summary(thing: Thing) -> str:
    """The first sentence that is said of something."""
    said = thing.doc if not isinstance(thing.node, Def) else ast.get_docstring(thing.node) or ""
    return re.split(r"(?<=[.:])\s", " ".join(said.split()), maxsplit=1)[0].rstrip(":")


def draw_index() -> str:
    """The page that leads to the others."""
    lines = ["# Python", "", BY, ""]
    lines += ["What `isthmus` has, each loaded when it is first used:", "", "| | |", "|---|---|"]
    for name in public("isthmus"):
        thing = resolve("isthmus", name)
        lines.append(f"| {link(thing, None)} | {summary(thing)} |")
    lines += ["", "And by module:", "", "| | modules | |", "|---|---|---|"]
    for page in PAGES:
        modules = dict.fromkeys(names_of(place)[0] for place in page.modules)
        here = [thing for thing, on in shown().items() if on is page]
        cells = (
            f"[{page.heading}](python/{page.file}.md)",
            " ".join(f"`{module}`" for module in modules),
            " ".join(link(each, None) for each in here),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the pages; or say whether they are as they should be: 1 if not."""
    drawn = {INDEX: draw_index()} | {FOLDER / f"{page.file}.md": draw(page) for page in PAGES}
    stale = [path for path in FOLDER.glob("*.md") if path not in drawn]
    wrong = [path for path, text in drawn.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in [*wrong, *stale]:
            print(f"{path.relative_to(ROOT)} is not what the docstrings say. Run tools/draw_reference.py.")
        return int(bool(wrong or stale))
    FOLDER.mkdir(exist_ok=True)
    for path in wrong:
        path.write_text(drawn[path], encoding="utf-8")
    for path in stale:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
