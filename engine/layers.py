"""Layers: which tensors of a model are reset together, under the model's own names, in depth order.

`module`: each module that holds parameters itself.  `layer` (default): each weighted layer with its norm; of a
transformer's or mixer's block the attention with all its projections, and each feed-forward network.  `block`: each
residual, transformer or mixer block, and what lies outside of blocks (stem, head) as layers.  `patterns`: rows of the
user's own.  Where that is decided: :mod:`.grouping`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import Tensor, nn

from ..store import Layer, TensorInfo, did_you_mean, inert
from .errors import LayerError
from .grouping import Groups, by_block, by_layer, by_module, call_order, find_units
from .replay.replayer import Arguments


@dataclass(frozen=True)
class Layers:
    """The rows of a probe, and what belongs to none of them."""

    rows: tuple[Layer, ...]
    skipped: tuple[str, ...]
    """`name (Class): reason`, in order of registration."""


def find_layers(
    model: nn.Module,
    tensors: Sequence[TensorInfo],
    example: Tensor | Arguments,
    granularity: str = "layer",
    patterns: Mapping[str, Sequence[str]] | None = None,
    only: Sequence[str] = (),
    joint: Sequence[Sequence[str]] = (),
) -> Layers:
    """The layers of `model` at a granularity.

    `example` is a batch the model can process, or all that it is called with: depth order is the order in which its
    modules are first called on it.
    `patterns` maps row names to globs over tensor and module names (granularity 'patterns'); `only` selects rows by
    globs over their names.  Each entry of `joint` adds a row behind them that holds all rows which match one of its
    globs, whether `only` selects these or not.  Raises LayerError when a pattern matches nothing or a joint row would
    hold fewer than two rows, ModelError when the forward fails.
    """
    modules = dict(model.named_modules())
    units = find_units(model, tensors, call_order(model, example))
    if granularity == "patterns":
        groups = _by_patterns(tensors, patterns or {})
    else:
        group_of = {"module": by_module, "layer": by_layer, "block": by_block}[granularity]
        groups = group_of(units, modules)
    rows = [_row(name, members) for name, members in groups if any(t.kind == "parameter" for t in members)]
    if not rows:
        raise LayerError(f"the model has no layer at granularity '{granularity}': it holds no parameters.")
    together = _joint_rows(rows, joint, {tensor.name: tensor for tensor in tensors})
    rows = [*(_selected(rows, only, "layers") if only else rows), *together]
    return Layers(tuple(rows), tuple(_skipped(modules, tensors, rows)))


def _by_patterns(tensors: Sequence[TensorInfo], patterns: Mapping[str, Sequence[str]]) -> Groups:
    groups: Groups = []
    for name, globs in patterns.items():
        members: dict[str, TensorInfo] = {}
        for glob in globs:
            found = [tensor for tensor in tensors if _matches(tensor, glob)]
            if not found:
                known = sorted({tensor.name.rpartition(".")[0] or tensor.name for tensor in tensors})
                raise LayerError(
                    f"probe.patterns.{inert(name)}: '{inert(glob)}' matches no parameter or module."
                    f"{did_you_mean(glob, known)} The model has: {_few(known)}."
                )
            members.update((tensor.name, tensor) for tensor in found)
        if not any(tensor.kind == "parameter" for tensor in members.values()):
            raise LayerError(f"probe.patterns.{inert(name)}: matches buffers only, no parameter.")
        groups.append((name, [tensor for tensor in tensors if tensor.name in members]))
    return groups


def _matches(tensor: TensorInfo, glob: str) -> bool:
    for name in (tensor.name, *tensor.aliases):
        parts = name.split(".")
        if any(fnmatchcase(".".join(parts[:depth]), glob) for depth in range(1, len(parts) + 1)):
            return True
    return False


def _selected(rows: Sequence[Layer], only: Sequence[str], key: str) -> list[Layer]:
    names = [row.name for row in rows]
    for glob in only:
        if not any(fnmatchcase(name, glob) for name in names):
            raise LayerError(
                f"probe.{key}: '{inert(glob)}' matches no layer.{did_you_mean(glob, names)} "
                f"The layers are: {_few(names)}."
            )
    return [row for row in rows if any(fnmatchcase(row.name, glob) for glob in only)]


def _joint_rows(
    rows: Sequence[Layer], joint: Sequence[Sequence[str]], tensors: Mapping[str, TensorInfo]
) -> list[Layer]:
    """A row 'a+b' for each group of patterns, with the tensors of all rows that match, in depth order."""
    made: dict[str, Layer] = {}
    for globs in joint:
        members = _selected(rows, globs, "joint")
        name = "+".join(row.name for row in members)
        group = inert(",".join(globs))
        if len(members) < 2:
            raise LayerError(
                f"probe.joint: '{group}' is one layer only, '{inert(name)}'; a joint row needs two or more."
            )
        if name in made or any(row.name == name for row in rows):
            raise LayerError(f"probe.joint: '{group}' makes a second row '{inert(name)}'. Leave one of them out.")
        held = dict.fromkeys(tensor for row in members for tensor in row.tensors)
        joined = _row(name, [tensors[tensor] for tensor in held])
        made[name] = replace(joined, joint=tuple(row.name for row in members))
    return list(made.values())


def _row(name: str, members: Sequence[TensorInfo]) -> Layer:
    weights = sum(math.prod(tensor.shape) for tensor in members if tensor.kind == "parameter")
    return Layer(name, tuple(tensor.name for tensor in members), weights)


def _skipped(modules: Mapping[str, nn.Module], tensors: Sequence[TensorInfo], rows: Sequence[Layer]) -> Iterable[str]:
    """Leaf modules without parameters, modules that only use weights owned elsewhere, and tensors in no row."""
    claimed = {name for row in rows for name in row.tensors}
    tied = {alias: tensor.name for tensor in tensors for alias in tensor.aliases}
    for path, module in modules.items():
        kind = type(module).__name__
        own = [f"{path}.{name}" if path else name for name, _ in module.named_parameters(recurse=False)]
        if own and all(name in tied for name in own):
            yield f"{path} ({kind}): its weights are those of {', '.join(tied[name] for name in own)}"
        elif not own and path and not any(True for _ in module.children()):
            yield f"{path} ({kind}): no parameters"
    for tensor in tensors:
        if tensor.name not in claimed:
            yield f"{tensor.name} ({tensor.kind}): in no row"


def _few(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(inert(name) for name in names[:most])
    return f"{shown}, and {len(names) - most} more" if len(names) > most else shown
