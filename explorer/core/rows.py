"""The rows of a heatmap: layers in the order of the network or of what they matter, stages and blocks folded or not.

Groups come from the layers' own module names: `layer1.0.conv1` and `layer1.0.conv2` are together in `layer1.0`, and
that with `layer1.1.conv1` in `layer1`.  A folded group is one row, which shows the worst of its layers.  Of several
runs that are compared the rows are made in the same way, from the names of all of their layers.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from .picture import Picture
from .scene import NETWORK, NETWORK_KEY, Row
from .view import HeatView
from .words import judged

FOLDED = "▸"
"""Begins the key of a folded group: no module is called so."""


_NUMBERED = re.compile(r"(^|_)[0-9]+$")


def _within_block(prefix: str) -> bool:
    """Whether this is a part of a block, such as the `mlp` of `layers.3.mlp`, and no block: blocks are numbered."""
    *outer, last = prefix.split(".")
    return not _NUMBERED.search(last) and any(map(_NUMBERED.search, outer))


@lru_cache(maxsize=32)
def groups(names: tuple[str, ...]) -> Mapping[str, tuple[int, ...]]:
    """Layers (indices) by the name of the module that they share, outermost modules first.

    Only what holds at least two layers and not all, and of modules that hold the same layers the innermost.
    """
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        parts = name.split(".")
        for length in range(1, len(parts)):
            found.setdefault(".".join(parts[:length]), []).append(index)
    innermost: dict[tuple[int, ...], str] = {}
    for prefix, layers in found.items():
        if 1 < len(layers) < len(names) and not _within_block(prefix):
            innermost[tuple(layers)] = prefix
    chosen = {prefix: layers for layers, prefix in innermost.items()}
    return dict(sorted(chosen.items(), key=lambda item: item[0].count(".")))


def holding(names: Sequence[str], layer: int) -> list[str]:
    """The groups that hold a layer, the outermost first."""
    return [prefix for prefix, layers in groups(tuple(names)).items() if layer in layers]


def levels(names: Sequence[str]) -> list[frozenset[str]]:
    """What is folded at each step of folding all: nothing, the innermost groups, ..., the outermost ones."""
    known = groups(tuple(names))
    inner = frozenset(prefix for prefix in known if not any(other.startswith(f"{prefix}.") for other in known))
    outer = frozenset(prefix for prefix in known if not any(prefix.startswith(f"{other}.") for other in known))
    steps = [frozenset(), inner, outer]
    return [step for index, step in enumerate(steps) if step not in steps[:index]]


def folded_next(names: Sequence[str], folded: frozenset[str]) -> frozenset[str]:
    """What is folded after one more step of folding all; after the last one, nothing."""
    steps = levels(names)
    at = steps.index(folded) if folded in steps else len(steps) - 1
    return steps[(at + 1) % len(steps)]


def plain_rows(picture: Picture, marked: frozenset[str] = frozenset()) -> tuple[Row, ...]:
    """A row for each layer and joint reset, in the order of the network."""
    return tuple(
        Row(layer.name, layer.name, (index,), joint=bool(layer.joint), marked=layer.name in marked and not layer.joint)
        for index, layer in enumerate(picture.probe.layers)
    )


def toggled(plain: Sequence[Row], view: HeatView, row: Row) -> HeatView:
    """The view with the group of `row` folded, or with `row` unfolded. The cursor goes along.

    `plain` are the rows with nothing folded, as for :func:`arranged`.
    """
    names = tuple(one.key for one in plain)
    if row.folded:
        prefix = row.key.removeprefix(FOLDED)
        first = next((plain[index] for index in inside(plain, prefix)), None)
        return view.with_(folded=view.folded - {prefix}, layer=first.key if first else view.layer)
    if row.network or row.joint:
        return view
    open_groups = [prefix for prefix in holding(names, names.index(row.key)) if prefix not in view.folded]
    if not open_groups:
        return view
    prefix = open_groups[-1]
    within = {other for other in view.folded if other.startswith(f"{prefix}.")}
    return view.with_(folded=(view.folded - within) | {prefix}, layer=FOLDED + prefix)


def row_of_layer(plain: Sequence[Row], folded: frozenset[str], row: Row) -> str:
    """Key of the row that the (first) layer of `row` is in when `folded` are folded."""
    if row.network or row.joint:
        return row.key
    names = tuple(one.key for one in plain)
    layers = inside(plain, row.key.removeprefix(FOLDED)) if row.folded else (names.index(row.key),)
    if not layers:
        return row.key
    return next((FOLDED + prefix for prefix in holding(names, layers[0]) if prefix in folded), names[layers[0]])


def inside(plain: Sequence[Row], prefix: str) -> tuple[int, ...]:
    """The layers (indices) that the group of this name holds; joint resets have rows of their own."""
    found = groups(tuple(row.key for row in plain)).get(prefix, ())
    return tuple(index for index in found if not plain[index].joint)


def arranged(plain: Sequence[Row], view: HeatView, rank: Callable[[int], float]) -> tuple[Row, ...]:
    """The rows as `view` wants them: layers and groups, then joint resets, then the whole network.

    `plain` has one row for each layer, in the order of the network; where the view sorts, the layers (indices) of the
    greatest `rank` come first.
    """
    shut: dict[int, str] = {}
    for prefix, layers in groups(tuple(row.key for row in plain)).items():  # outermost first
        if prefix in view.folded:
            for layer in layers:
                shut.setdefault(layer, prefix)
    single, joint, seen = [], [], set()
    for index, row in enumerate(plain):
        if row.joint:
            joint.append(row)
        elif (prefix := shut.get(index)) is None:
            single.append(row)
        elif prefix not in seen:
            seen.add(prefix)
            layers = inside(plain, prefix)
            marked = any(plain[layer].marked for layer in layers)
            single.append(Row(FOLDED + prefix, f"{prefix} ({len(layers)})", layers, folded=True, marked=marked))
    if view.order == "criticality":
        single.sort(key=lambda row: -max(map(rank, row.layers)))
    return (*single, *joint, Row(NETWORK_KEY, NETWORK))


def rows(picture: Picture, view: HeatView) -> tuple[Row, ...]:
    """The rows of `picture` as `view` wants them."""
    rises = criticality(picture) if view.order == "criticality" else []
    return arranged(plain_rows(picture, view.marked), view, rises.__getitem__)


def criticality(picture: Picture) -> list[float]:
    """How far each layer's error rises above the trained network's, 0..1: the most over the judged columns.

    A layer without a number comes last.
    """
    base = picture.baseline.error if picture.baseline else 0.0
    columns = judged(picture.columns)
    found = []
    for layer in range(len(picture.probe.layers)):
        values = [picture.value("error", layer, column) for column in columns]
        found.append(max((value - base for value in values if value is not None), default=-math.inf))
    return found
