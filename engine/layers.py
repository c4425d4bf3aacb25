"""Layers: which tensors of a model are reset together, under the model's own names, in depth order.

`module`: each module that holds parameters itself.  `layer` (default): each weighted layer with the norm that follows
it in the same parent; attention with its output projection.  `block`: each residual, transformer or mixer block, and
what lies outside of blocks (stem, head) as layers.  `patterns`: rows of the user's own.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ..store import Layer, TensorInfo, did_you_mean, inert
from .errors import LayerError, ModelError
from .replay.replayer import Arguments
from .state import evaluating, named_tensors


@dataclass(frozen=True)
class Layers:
    """The rows of a probe, and what belongs to none of them."""

    rows: tuple[Layer, ...]
    skipped: tuple[str, ...]
    """`name (Class): reason`, in order of registration."""


@dataclass
class _Unit:
    """Tensors that one module holds itself: the smallest thing that can be reset."""

    name: str
    module: str
    tensors: list[TensorInfo] = field(default_factory=list)

    @property
    def parent(self) -> str:
        return self.module.rpartition(".")[0]

    @property
    def has_parameters(self) -> bool:
        return any(tensor.kind == "parameter" for tensor in self.tensors)


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
    units = _without_overlaps(model, _units(modules, tensors, _call_order(model, example)))
    if granularity == "patterns":
        groups = _by_patterns(tensors, patterns or {})
    else:
        group_of = {"module": _by_module, "layer": _by_layer, "block": _by_block}[granularity]
        groups = group_of(units, modules)
    rows = [_row(name, members) for name, members in groups if any(t.kind == "parameter" for t in members)]
    if not rows:
        raise LayerError(f"the model has no layer at granularity '{granularity}': it holds no parameters.")
    together = _joint_rows(rows, joint, {tensor.name: tensor for tensor in tensors})
    rows = [*(_selected(rows, only, "layers") if only else rows), *together]
    return Layers(tuple(rows), tuple(_skipped(modules, tensors, rows)))


def _call_order(model: nn.Module, example: Tensor | Arguments) -> dict[str, int]:
    """When each module is first entered in a forward of `example`."""
    arguments = example if isinstance(example, Arguments) else Arguments((example,))
    order: dict[str, int] = {}
    handles = []
    try:
        for name, module in model.named_modules():

            def note(_module: nn.Module, _args: object, name: str = name) -> None:
                order.setdefault(name, len(order))

            handles.append(module.register_forward_pre_hook(note))
        with evaluating(model), torch.no_grad():
            model(*arguments.args, **arguments.kwargs)
    except Exception as error:  # anything may go wrong in somebody's forward
        shapes = ", ".join(str(list(tensor.shape[1:])) for tensor in arguments.tensors())
        raise ModelError(
            f"the model cannot process examples of shape {shapes}: {type(error).__name__}: {error}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return order


def _units(modules: Mapping[str, nn.Module], tensors: Iterable[TensorInfo], order: Mapping[str, int]) -> list[_Unit]:
    """Units in depth order. Modules that were never called stand behind the one registered before them."""
    units: dict[str, _Unit] = {}
    for tensor in tensors:
        module = tensor.name.rpartition(".")[0].partition(".parametrizations")[0]
        # A module with parameters of its own *and* children with parameters (a ViT's class token, an encoder's
        # position embedding): its name would stand for the whole, so a lone parameter goes by its own name.
        composite = module == "" or any(
            True
            for name, child in modules[module].named_children()
            if name != "parametrizations"
            for _ in child.parameters()
        )
        alone = composite and (module == "" or len(list(modules[module].parameters(recurse=False))) == 1)
        name = tensor.name if alone else module
        units.setdefault(name, _Unit(name, module)).tensors.append(tensor)
    positions: list[tuple[int, int]] = []
    last = -1
    for index, unit in enumerate(units.values()):
        last = order.get(unit.module, last)
        positions.append((last, index))
    return [unit for _, unit in sorted(zip(positions, units.values(), strict=True), key=lambda pair: pair[0])]


def _without_overlaps(model: nn.Module, units: list[_Unit]) -> list[_Unit]:
    """Tensors that are views of one memory (weights tied by a transpose) go to the first unit that has one of them."""
    live = named_tensors(model)
    taken: list[tuple[int, int, _Unit]] = []  # bytes from, to, and whose they are
    for unit in units:
        for tensor in list(unit.tensors):
            start, stop = _memory(live[tensor.name])
            owner = next((o for a, b, o in taken if start < b and a < stop), None)
            if owner is not None and owner is not unit:
                unit.tensors.remove(tensor)
                owner.tensors.append(tensor)
            elif stop > start:
                taken.append((start, stop, unit))
    return [unit for unit in units if unit.tensors]


def _memory(tensor: Tensor) -> tuple[int, int]:
    """The addresses that a tensor's elements lie between."""
    if not tensor.numel():
        return 0, 0
    last = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


_Groups = list[tuple[str, list[TensorInfo]]]


def _by_module(units: Sequence[_Unit], modules: Mapping[str, nn.Module]) -> _Groups:
    del modules
    return [(unit.name, unit.tensors) for unit in units if unit.has_parameters]


def _by_layer(units: Sequence[_Unit], modules: Mapping[str, nn.Module]) -> _Groups:
    return _gathered(units, _layer_names(units, modules))


def _layer_names(units: Sequence[_Unit], modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """By each unit's name, the layer it belongs to."""
    names: dict[str, str] = {}
    before: tuple[str, str] | None = None  # the weighted layer that a norm called next would follow: (name, parent)
    for unit in units:
        attention = _attention_around(unit.module, modules)
        if attention is not None:
            names[unit.name] = attention
            before = (attention, attention.rpartition(".")[0])
        elif _is_norm(modules[unit.module]) and before is not None and before[1] == unit.parent:
            names[unit.name] = before[0]
        else:
            names[unit.name] = unit.name
            weighted = unit.has_parameters and not _is_norm(modules[unit.module])
            before = (unit.name, unit.parent) if weighted else None
    return names


def _by_block(units: Sequence[_Unit], modules: Mapping[str, nn.Module]) -> _Groups:
    blocks = {unit.name: _block_of(unit.module, modules) for unit in units}
    outside = _layer_names([unit for unit in units if blocks[unit.name] is None], modules)
    return _gathered(units, {unit.name: blocks[unit.name] or outside[unit.name] for unit in units})


def _gathered(units: Sequence[_Unit], group_of: Mapping[str, str]) -> _Groups:
    """Tensors by group, groups in the order in which their first unit comes."""
    groups: dict[str, list[TensorInfo]] = {}
    for unit in units:
        groups.setdefault(group_of[unit.name], []).extend(unit.tensors)
    return list(groups.items())


def _block_of(module: str, modules: Mapping[str, nn.Module]) -> str | None:
    """The outermost composite module around `module` that stands in a plain sequence or list."""
    containers = (nn.Sequential, nn.ModuleList)
    parts = module.split(".") if module else []
    for depth in range(1, len(parts) + 1):
        path = ".".join(parts[:depth])
        parent = modules[".".join(parts[: depth - 1])]
        candidate = modules[path]
        composite = any(True for _ in candidate.children())
        if type(parent) in containers and composite and type(candidate) not in containers:
            return path
    return None


def _by_patterns(tensors: Sequence[TensorInfo], patterns: Mapping[str, Sequence[str]]) -> _Groups:
    groups: _Groups = []
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


def _attention_around(module: str, modules: Mapping[str, nn.Module]) -> str | None:
    """The MultiheadAttention that `module` is, or is a part of."""
    parts = module.split(".") if module else []
    paths = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return next((path for path in paths if isinstance(modules[path], nn.MultiheadAttention)), None)


def _is_norm(module: nn.Module) -> bool:
    """BatchNorm, LayerNorm, GroupNorm, RMSNorm, ... of any library: they go by these names."""
    return "Norm" in type(module).__name__ and not any(True for _ in module.children())


def _few(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(inert(name) for name in names[:most])
    return f"{shown}, and {len(names) - most} more" if len(names) > most else shown
