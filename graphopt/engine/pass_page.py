"""A pass's description as a page of Markdown, and the table of all passes.

Docstrings are plain text with code in backticks. A paragraph that starts with `Before:` or
`After:`, or that is laid out with runs of spaces, is a drawing and stays as it is, in a code block;
prose is escaped, so that it reads on the page as it does in the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from graphopt.contract import Effect
from graphopt.engine.describe import REQUIRED, Description, Option, command_text, toml_text
from graphopt.engine.registry import class_of

_MEANING = {
    Effect.IDENTICAL: "the answers keep every bit",
    Effect.ROUNDING: "the same mathematics, so that the last bits may differ",
    Effect.LOSSY: "values change on purpose; the loss is measured and reported",
}

_DRAWING = re.compile(r"^(Before|After):")
_LAID_OUT = re.compile(r"\S {3,}\S")
_CODE = re.compile(r"((?<!`)`[^`]+`(?!`))")
_SPECIAL = re.compile(
    r"""\\            # a backslash
    | \*(?=\S) | (?<=\S)\*    # emphasis, not `x * y`
    | (?<![^\W_])_ | _(?![^\W_])       # emphasis, not `max_bytes`
    | ~(?=~) | `
    | <(?=[A-Za-z/!?])         # a tag or an address, not `x < y`
    | &(?=[A-Za-z#])           # an entity
    | \](?=[(\[:])             # a link
    """,
    re.VERBOSE,
)
_LEADING = re.compile(r"^(?=[-+*#>=~|])|^(\d+)(?=[.)](?:\s|$))")
"""What a line may not start with, lest it become an item, a heading or a row."""


def pass_page(described: Description) -> str:
    """One pass as a page of Markdown, ending in a newline."""
    entry = described.entry
    parts = [
        f"<!-- Printed by `graphopt passes {entry.name} --markdown` from the docstrings and fields "
        f"of {entry.module}: change them, not this page. -->",
        f"# {entry.name}",
        _prose(described.summary),
        _facts(described),
        *_blocks(described.module_text),
        *_blocks(described.class_text),
        *_tested(described),
        "## Options",
        _option_table(described.options),
        "## Using it",
        "In a recipe, here with the default of every option:"
        if described.options
        else "In a recipe:",
        _fence("toml", _recipe(described)),
        "On the command line and in Python:",
        _fence("sh", _command(described)),
        _fence("python", _python(described)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def pass_index(described: Iterable[Description]) -> str:
    """The table of passes as a page of Markdown, each name a link to `NAME.md` beside it."""
    rows = ["| pass | category | effect | what it does |", "|---|---|---|---|"]
    for one in described:
        entry = one.entry
        link = f"[{entry.name}]({entry.name}.md)"
        rows.append(f"| {link} | {entry.category} | {one.effect} | {_cell(one.summary)} |")
    effects = [f"- `{effect}`: {meaning}." for effect, meaning in _MEANING.items()]
    parts = [
        "<!-- Printed by `graphopt passes --markdown`: change the docstrings, not this page. -->",
        "# Passes",
        "The effect is the strongest that one rewrite of the pass may have:",
        "\n".join(effects),
        "A recipe says which effects it admits; a rewrite above that is not made.",
        "\n".join(rows),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(described: Description) -> str:
    entry = described.entry
    roots = ", ".join(f"`{root}`" for root in described.roots)
    rows = {
        "category": entry.category,
        "effect": f"`{described.effect}`: {_MEANING[described.effect]}",
        "looks at": roots or "the whole graph",
        "comes with": entry.distribution,
    }
    body = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    return f"| | |\n|---|---|\n{body}"


def _tested(described: Description) -> Iterator[str]:
    if described.fires_on:
        yield f"Fires on: {', '.join(f'`{name}`' for name in described.fires_on)}."
    if described.source:
        yield f"Source: {_prose(described.source)}"


def _option_table(options: tuple[Option, ...]) -> str:
    if not options:
        return "None."
    rows = ["| option | takes | default | |", "|---|---|---|---|"]
    for option in options:
        default = "required" if option.default is REQUIRED else f"`{toml_text(option.default)}`"
        rows.append(
            f"| `{option.name}` | {_cell(option.type)} | {default} | {_cell(option.text)} |"
        )
    return "\n".join(rows)


def _recipe(described: Description) -> str:
    lines = [f'admits = "{described.effect}"', "", "[[stage]]", "", "  [[stage.pass]]"]
    lines.append(f'  name = "{described.entry.name}"')
    for option in described.options:
        if option.default is REQUIRED:
            lines.append(f"  # {option.name} = ... ({option.type}) has no default")
        else:
            lines.append(f"  {option.name} = {toml_text(option.default)}")
    return "\n".join(lines)


def _command(described: Description) -> str:
    options = [option for option in described.options if option.default is not REQUIRED]
    text = described.entry.name
    if options:
        text += f":{options[0].name}={command_text(options[0].default)}"
    quoted = text if re.fullmatch(r"[\w:=+.,/-]+", text) else f"'{text}'"
    return f"graphopt optimize model.onnx -o smaller.onnx --pass {quoted}"


def _python(described: Description) -> str:
    name = class_of(described.entry.name)
    own = described.entry.module.startswith("graphopt.passes.")
    home = "graphopt.passes" if own else described.entry.module
    return (
        f"import graphopt\nfrom {home} import {name}\n\n"
        f'result = graphopt.optimize("model.onnx", passes=[{name}()])'
    )


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs of a docstring; drawings that follow each other share one code block."""
    drawn: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if _is_drawing(paragraph):
            drawn.append(paragraph)
            continue
        if drawn:
            yield _fence("text", "\n\n".join(drawn))
            drawn = []
        yield _prose(paragraph)
    if drawn:
        yield _fence("text", "\n\n".join(drawn))


def _is_drawing(paragraph: str) -> bool:
    lines = paragraph.splitlines()
    return bool(
        _DRAWING.match(paragraph)
        or any(_LAID_OUT.search(line) for line in lines)
        or (lines and all(line.startswith(" ") for line in lines))
    )


def _prose(text: str) -> str:
    """Plain text as Markdown; `- ` items stay a list, at the start or behind a colon."""
    lines: list[str] = []
    in_list, may_start = False, True
    for line in _escaped(text).splitlines():
        in_list = (may_start or in_list) if line.startswith("- ") else in_list and line[:1] == " "
        may_start = line.rstrip().endswith(":")
        lines.append(line if in_list else _LEADING.sub(r"\1\\", line.strip()))
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Escape what Markdown would take for more than text, outside of code in backticks."""
    parts = _CODE.split(text)
    return "".join(
        part.replace("\n", " ") if index % 2 else _SPECIAL.sub(r"\\\g<0>", part)
        for index, part in enumerate(parts)
    )


def _cell(text: str) -> str:
    return _prose(text.replace("\n", " ")).replace("|", "\\|")


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
