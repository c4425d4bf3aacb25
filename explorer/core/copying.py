"""What is copied from a heatmap: a cell as one line, a row as a table, and the command that measures a cell again."""

import glob
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...store import Estimate, Layer, inert
from .part import state_of
from .picture import Picture
from .scene import NETWORK
from .words import deed


def cell_line(picture: Picture, layer: int | None, column: int, *, run: bool = True) -> str:
    """All that is known of a place in one line of text; with `run`, where it is from."""
    name = NETWORK if layer is None else inert(picture.layer_names[layer])
    said = f"{name} {deed(picture.columns[column])}: {', '.join(_numbers(picture, layer, column))}"
    return f"{inert(picture.run.name)}, probe {inert(picture.home(layer)[0])}, {said}" if run else said


def _numbers(picture: Picture, layer: int | None, column: int) -> list[str]:
    cell = picture.cell(layer, column)
    if cell is None or not cell.measured:
        reason = inert(picture.unavailable(layer, column))
        said = [state_of(picture, "error", layer, column) + (f" ({reason})" if reason else "")]
    else:
        about = "" if cell.complete and cell.exact else "~"
        said = [f"error {about}{100 * cell.error:.2f} %"]
        if not cell.exact:
            said.append(f"95 % interval {100 * cell.low:.2f} to {100 * cell.high:.2f} %")
        if cell.expected > 1:
            several = f"{len(cell.draws)}" if cell.complete else f"{len(cell.draws)} of {cell.expected}"
            said.append(f"mean of {several} draws ({' '.join(map(_draw, cell.draws))})")
        if cell.spread is not None:
            said.append(f"standard deviation {100 * cell.spread:.2f}")
        said.append(f"n = {cell.n:,}" if cell.exact else f"n = {cell.n:,} of {cell.total:,}")
        said += [f"loss {cell.loss:.4g}", f"agreement {100 * cell.agreement:.2f} %"]
        verdict = picture.verdict(layer, column) if layer is not None else None
        said += [verdict] if verdict else []
    l2, linf = picture.value("l2", layer, column), picture.value("linf", layer, column)
    if l2 is not None and linf is not None:
        said.append(f"distance from initialisation l2 {l2:.4g}, linf {linf:.4g}")
    return said


def _draw(draw: Estimate) -> str:
    return f"{100 * draw.error:.2f}"


def row_tsv(picture: Picture, metric: str, layers: Sequence[int | None]) -> str:
    """Rows of the heatmap as tab-separated values: heads; for each layer its numbers, all digits, and their states."""
    states = {
        layer: [state_of(picture, metric, layer, column) for column in range(len(picture.columns))] for layer in layers
    }
    columns = [c for c in range(len(picture.columns)) if any(states[layer][c] != "none" for layer in layers)]
    lines = [[metric, *(picture.columns[column].label for column in columns)]]
    for layer in layers:
        name = NETWORK if layer is None else inert(picture.layer_names[layer])
        values = [picture.value(metric, layer, column) for column in columns]
        lines.append([name, *("" if value is None else repr(value) for value in values)])
        lines.append([f"{name} state", *(states[layer][column] for column in columns)])
    return "\n".join("\t".join(line) for line in lines) + "\n"


# The command that measures a cell again

SAID = {
    "granularity": "layer", "patterns": {}, "norm_statistics": "rewound", "norm_batches": 20, "precision": "fp32",
    "evaluator": "replay", "tolerance": 0.05,
}  # fmt: skip
"""The settings of a probe that its numbers or its verdicts depend on, with their defaults; draws, examples, columns and
rows are said otherwise."""


_RESETS = {"patterns": ("granularity",), "norm_batches": ("norm_statistics",)}


def command(picture: Picture, store: Path, layer: int | None, column: int) -> str:
    """The command line that measures this cell again, into a probe of its own beside the others.

    It gives the very number: same rows, same draws, same examples; where it cannot, :func:`unlike` says why.
    """
    info, head, cell = picture.probe, picture.columns[column], picture.cell(layer, column)
    words = [("--store", str(store)), ("--at", head.label)]
    settings = {**info.settings, "granularity": info.granularity}
    before: Mapping[str, Any] = picture.run.spec.get("probe", {})
    for key, usual in SAID.items():
        # What another setting makes meaningless is back at its default already.
        reset = any(("--set", f"probe.{other}={_toml(settings.get(other))}") in words for other in _RESETS.get(key, ()))
        wanted = settings.get(key, usual)
        if wanted != (usual if reset else before.get(key, usual)):
            words.append(("--set", f"probe.{key}={_toml(wanted)}"))
    words += _rows(picture, layer, before)
    if head.drawn and head.draws != before.get("draws", 3):
        words.append(("--draws", str(head.draws)))
    examples = _examples(picture, layer, column)
    if examples != before.get("examples"):
        # 'All' cannot be said where the spec limits them; a number as great as the data can.
        most = examples or (cell.total if cell is not None and cell.measured else 0)
        words += [("--examples", str(most))] if most else []
    parts = ["lyrx", "probe", "--exact"]
    for option, value in words:
        parts += [f"{option}={quoted(value)}"] if value.startswith("-") else [option, quoted(value)]
    name = picture.run.name
    return " ".join([*parts, *(["--"] if name.startswith("-") else []), quoted(name)])


def unlike(picture: Picture, layer: int | None, column: int) -> str:
    """Why :func:`command` gives another number than the one that is shown; empty where it gives the same."""
    cell = picture.cell(layer, column)
    if cell is None or not cell.measured:
        return "not measured yet"
    if len({draw.n for draw in cell.draws}) > 1:
        return "its draws saw different numbers of examples: this measures all"
    return "" if cell.complete else "some of its draws are missing: this measures all"


def _rows(picture: Picture, layer: int | None, before: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How to ask for one row: the whole network comes along with any other."""
    layers = picture.probe.layers
    row: Layer | None = None if layer is None else layers[layer]
    if row is not None and row.joint:
        groups = [[glob.escape(name) for name in row.joint]]
        plain = row.joint[0]
    else:
        groups = []
        # The trained network's row is part of every probe; the smallest layer costs the least beside it.
        plain = row.name if row else min((one for one in layers if not one.joint), key=lambda one: one.parameters).name
    said = [("--layers", glob.escape(plain))]
    if groups and not any("," in pattern or pattern != pattern.strip() for pattern in groups[0]):
        said.append(("--joint", ",".join(groups[0])))
    elif groups or before.get("joint"):
        said.append(("--set", f"probe.joint={_toml(groups)}"))
    return said


def _examples(picture: Picture, layer: int | None, column: int) -> int | None:
    """How many examples the command looks at: those that were seen, where all draws saw as many."""
    cell = picture.cell(layer, column)
    if cell is not None and cell.measured:
        seen = {draw.n for draw in cell.draws}
        if len(seen) == 1 and not cell.exact:
            return seen.pop()
        if cell.exact:
            return None
    return picture.probe.settings.get("examples")


def quoted(word: str) -> str:
    """`word` for a shell. What could steer a terminal is written out, as bash and zsh read it: pasting runs nothing."""
    if inert(word) == word:
        return shlex.quote(word)
    written = "".join(
        f"\\{c}" if c in "\\'" else c if inert(c) == c else "".join(f"\\x{byte:02x}" for byte in _bytes(c))
        for c in word
    )
    return f"$'{written}'"


def _bytes(letter: str) -> bytes:
    return letter.encode("utf-8", "surrogateescape")


def _toml(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
