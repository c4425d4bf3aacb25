"""Spec files to choose from: what each says of itself, which of them are meant, and the options typed beside them.

Plain values in, plain values out; the reading is done in `explorer/specfiles.py`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from ...store import inert

_SECTIONS = {"run", "model", "data", "train"}
_FLAGS = ("--fresh", "--exact")


@dataclass(frozen=True)
class SpecFile:
    """One TOML file that may be a spec."""

    path: Path
    group: str
    """The folder it is listed under."""
    run: str = ""
    about: tuple[str, ...] = ()
    """Network, data and epochs, as far as it says so."""
    broken: bool = False
    """It is no TOML, cannot be read, or is not there."""

    @property
    def name(self) -> str:
        """Of the file."""
        return self.path.name


def looks_like_a_spec(values: Mapping[str, Any]) -> bool:
    """Whether a TOML file is meant to be one: a pyproject.toml is not."""
    return len(_SECTIONS & values.keys()) >= 2


def described(path: Path, group: str, values: Mapping[str, Any] | None) -> SpecFile:
    """What the list says of a file with these contents; None where they cannot be read."""
    if values is None:
        return SpecFile(path, group, broken=True)

    def key(section: str, name: str) -> str:
        found = values.get(section)
        value = found.get(name, "") if isinstance(found, Mapping) else ""
        return str(value) if isinstance(value, str | int) else ""

    epochs = key("train", "epochs")
    length = f"{epochs} epoch{'' if epochs == '1' else 's'}" if epochs else ""
    parts = [key("model", "name"), key("data", "name"), length]
    return SpecFile(path, group, key("run", "name"), tuple(filter(None, parts)))


def is_path(typed: str) -> bool:
    """Whether what was typed is a path and not words to filter by."""
    return "/" in typed or typed.startswith(("~", ".")) or typed.endswith(".toml")


def matching(files: Sequence[SpecFile], typed: str) -> list[SpecFile]:
    """The files that have all typed words in their names or in what they say, as they are listed."""
    words = typed.lower().split()

    def searched(one: SpecFile) -> str:
        return f"{one.group}/{one.name} {one.run} {' '.join(one.about)}".lower()

    return [one for one in files if all(word in searched(one) for word in words)]


def split_options(typed: str) -> list[str]:
    """`train.epochs=3 "--set" probe.at=[0, 1] --exact` as options of `lyrx batch`.

    Blanks within brackets and quotes separate nothing.  Raises ValueError, which says what is wrong.
    """
    options: list[str] = []
    for piece in _pieces(typed):
        if piece in _FLAGS:
            options.append(piece)
        elif piece != "--set":
            if "=" not in piece:
                raise ValueError(
                    f"'{inert(piece)}': write it as section.key=value, such as train.epochs=10, or --exact, --fresh."
                )
            options += ["--set", piece]
    return options


def _pieces(typed: str) -> Iterator[str]:
    piece, depth, quote = "", 0, ""
    for character in typed:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        if character.isspace() and not quote and depth <= 0:
            if piece:
                yield piece
            piece = ""
        else:
            piece += character
    if quote:
        raise ValueError(f"{inert(piece)}: a quotation mark is not closed.")
    if depth > 0:
        raise ValueError(f"{inert(piece)}: a bracket is not closed.")
    if piece:
        yield piece


def list_line(file: SpecFile, width: int, name_width: int) -> Text:
    """One line of the list: the file's name, and as much of what it says as there is room for."""
    name = inert(file.name)
    text = Text(no_wrap=True, overflow="ellipsis", end="")
    text.append(name.ljust(name_width), "alarm" if file.broken else "")
    about = ["not TOML"] if file.broken else [inert(part) for part in file.about]
    while len(about) > 1 and text.cell_len + 2 + cell_len(" · ".join(about)) > width:
        about.pop()
    text.append(f"  {' · '.join(about)}", "muted")
    text.truncate(max(8, width), overflow="ellipsis")
    return text


_TOML = re.compile(
    r"(?P<comment>#[^\n]*)"
    r"|(?P<table>^[ \t]*\[{1,2}[^\]\n#]*\]{1,2})"
    r"|(?P<key>^[ \t]*[A-Za-z0-9_.\"'-]+(?=[ \t]*=))"
    r"|(?P<text>\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*')"
    r"|(?P<value>\b(?:true|false)\b|[+-]?\b\d[\d_.eE+-]*\b)",
    re.MULTILINE | re.DOTALL,
)
_TONES = {"comment": "muted", "table": "accent bold", "key": "info", "text": "good", "value": "working"}


def highlighted(toml: str) -> Text:
    """A spec's text in tones. It need not be right TOML: a wrong one is looked at most of all."""
    text = Text(inert(toml.expandtabs(4), keep="\n"), end="")
    for token in _TOML.finditer(text.plain):
        assert token.lastgroup
        text.stylize(_TONES[token.lastgroup], token.start(), token.end())
    return text
