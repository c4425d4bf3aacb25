"""The rows of a heatmap: layers in the order of the network or of what they matter, stages and blocks folded or not.

Groups come from the layers' own module names: `layer1.0.conv1` and `layer1.0.conv2` are together in `layer1.0`, and
that with `layer1.1.conv1` in `layer1`.  A folded group is one row, which shows the worst of its layers.
"""

import math
import re
from collections.abc import Mapping, Sequence
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


def toggled(picture: Picture, view: HeatView, row: Row) -> HeatView:
    """The view with the group of `row` folded, or with `row` unfolded. The cursor goes along."""
    names = picture.layer_names
    if row.folded:
        prefix = row.key.removeprefix(FOLDED)
        return view.with_(folded=view.folded - {prefix}, layer=names[row.layers[0]])
    if len(row.layers) != 1 or row.joint:
        return view
    open_groups = [prefix for prefix in holding(names, row.layers[0]) if prefix not in view.folded]
    if not open_groups:
        return view
    prefix = open_groups[-1]
    inside = {other for other in view.folded if other.startswith(f"{prefix}.")}
    return view.with_(folded=(view.folded - inside) | {prefix}, layer=FOLDED + prefix)


def rows(picture: Picture, view: HeatView) -> tuple[Row, ...]:
    """The rows of `picture` as `view` wants them: layers and groups, joint resets, the whole network."""
    names = picture.layer_names
    known = groups(tuple(names))
    shut: dict[int, str] = {}
    for prefix, layers in known.items():  # outermost first
        if prefix in view.folded:
            for layer in layers:
                shut.setdefault(layer, prefix)
    single, joint, seen = [], [], set()
    for index, layer in enumerate(picture.probe.layers):
        if layer.joint:
            joint.append(Row(layer.name, layer.name, (index,), joint=True))
        elif (prefix := shut.get(index)) is None:
            single.append(Row(layer.name, layer.name, (index,), marked=layer.name in view.marked))
        elif prefix not in seen:
            seen.add(prefix)
            layers = tuple(i for i in known[prefix] if not picture.probe.layers[i].joint)
            marked = any(names[i] in view.marked for i in layers)
            single.append(Row(FOLDED + prefix, f"{prefix} ({len(layers)})", layers, folded=True, marked=marked))
    if view.order == "criticality":
        rises = criticality(picture)
        single.sort(key=lambda row: -max(rises[layer] for layer in row.layers))
    return (*single, *joint, Row(NETWORK_KEY, NETWORK))


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
