"""Which of a network's tensors belong together: modules, layers, and blocks, by the network's own names.

A *part* is what a transformer's or mixer's block is made of: its attention with all projections, or its feed-forward
network.  Modules are known by what their classes are called, since every library has its own: `Attention`,
`GPT2Attention`, `Mlp`, `LlamaMLP`, `MLPBlock`, ...  Only inside a block: somebody's whole network may be called MLP.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..store import TensorInfo
from .errors import ModelError
from .replay.purity import left_alone
from .replay.replayer import Arguments
from .state import evaluating, named_tensors

Modules = Mapping[str, nn.Module]
Groups = list[tuple[str, list[TensorInfo]]]

_LISTS = (nn.Sequential, nn.ModuleList)
_PARTS = re.compile(r"Attention|Attn|Mlp|MLP|FeedForward|Ffn|FFN|FF$|GLU|Glu|Moe|MoE")


@dataclass
class Unit:
    """Tensors that one module holds itself: the smallest thing that can be reset."""

    name: str
    module: str
    tensors: list[TensorInfo] = field(default_factory=list)

    @property
    def has_parameters(self) -> bool:
        return any(tensor.kind == "parameter" for tensor in self.tensors)


def call_order(model: nn.Module, example: Tensor | Arguments) -> dict[str, int]:
    """When each module is first entered in a forward of `example`. Raises ModelError when the forward fails."""
    arguments = example if isinstance(example, Arguments) else Arguments((example,))
    order: dict[str, int] = {}
    handles = []
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        # On its fast path an encoder layer computes with its modules' weights and calls none of them.
        torch.backends.mha.set_fastpath_enabled(False)
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # it takes no hooks: its parts stand in the order in which they are registered

            def note(_module: nn.Module, _args: object, name: str = name) -> None:
                order.setdefault(name, len(order))

            handles.append(module.register_forward_pre_hook(note))
        # What a network keeps of this forward must not be what it is probed with.
        with left_alone(model), evaluating(model), torch.no_grad():
            model(*arguments.args, **arguments.kwargs)
    except Exception as error:  # anything may go wrong in somebody's forward
        shapes = ", ".join(str(list(tensor.shape[1:])) for tensor in arguments.tensors())
        raise ModelError(
            f"the model cannot process examples of shape {shapes}: {type(error).__name__}: {error}"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
    return order


def find_units(model: nn.Module, tensors: Iterable[TensorInfo], order: Mapping[str, int]) -> list[Unit]:
    """Units in depth order. Modules that were never called stand behind the one registered before them."""
    modules = dict(model.named_modules())
    units: dict[str, Unit] = {}
    for tensor in tensors:
        module = tensor.name.rpartition(".")[0].partition(".parametrizations")[0]
        # A module with parameters of its own *and* children with parameters (a ViT's class token, an encoder's
        # position embedding): its name would stand for the whole, so a lone parameter goes by its own name, and so do
        # several that are not one layer's weight and bias.
        composite = module == "" or any(
            True
            for name, child in modules[module].named_children()
            if name != "parametrizations"
            for _ in child.parameters()
        )
        alone = composite and (
            module == ""
            or len(list(modules[module].parameters(recurse=False))) == 1
            or (tensor.kind == "parameter" and not tensor.name.endswith(("weight", "bias")))
        )
        name = tensor.name if alone else module
        units.setdefault(name, Unit(name, module)).tensors.append(tensor)
    positions: list[tuple[int, int]] = []
    last = -1
    for index, unit in enumerate(units.values()):
        last = order.get(unit.module, last)
        positions.append((last, index))
    ordered = [unit for _, unit in sorted(zip(positions, units.values(), strict=True), key=lambda pair: pair[0])]
    return _without_overlaps(model, ordered)


def _without_overlaps(model: nn.Module, units: list[Unit]) -> list[Unit]:
    """Tensors that are views of one memory (weights tied by a transpose) go to the first unit that has one of them."""
    live = named_tensors(model)
    taken: list[tuple[int, int, Unit]] = []  # bytes from, to, and whose they are
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


def by_module(units: Sequence[Unit], modules: Modules) -> Groups:
    """Each unit that holds parameters."""
    del modules
    return [(unit.name, unit.tensors) for unit in units if unit.has_parameters]


def by_layer(units: Sequence[Unit], modules: Modules) -> Groups:
    """Each part of a block, and each other weighted unit, with its norms."""
    return _gathered(units, _layer_names(units, modules))


def by_block(units: Sequence[Unit], modules: Modules) -> Groups:
    """Each block, and the layers outside of blocks."""
    layers = _layer_names(units, modules)
    return _gathered(units, {unit.name: block_of(unit.module, modules) or layers[unit.name] for unit in units})


def _gathered(units: Sequence[Unit], group_of: Mapping[str, str]) -> Groups:
    """Tensors by group, groups in the order in which their first unit comes."""
    groups: dict[str, list[TensorInfo]] = {}
    for unit in units:
        groups.setdefault(group_of[unit.name], []).extend(unit.tensors)
    return list(groups.items())


def _layer_names(units: Sequence[Unit], modules: Modules) -> dict[str, str]:
    """By each unit's name, the layer it belongs to.

    A norm belongs to the weighted layer that it follows in the same parent.  Where a parent begins with a norm without
    running statistics (a pre-norm block), its norms belong to the layer that they feed instead.
    """
    layer = {unit.name: _part_of(unit.module, modules) or unit.name for unit in units}
    loose = {unit.name for unit in units if layer[unit.name] == unit.name and _follows(modules[unit.module])}
    siblings: dict[str, list[Unit]] = {}
    for unit in units:
        siblings.setdefault(_parent(layer[unit.name]), []).append(unit)
    before: tuple[str, str] | None = None  # the layer that a norm called next would follow: (name, parent)
    for unit in units:
        parent = _parent(layer[unit.name])
        if unit.name not in loose:
            before = (layer[unit.name], parent) if unit.has_parameters else None
        elif fed := _fed_by(unit, siblings[parent], loose, modules) if parent else None:
            layer[unit.name] = layer[fed]
        elif before is not None and before[1] == parent:
            layer[unit.name] = before[0]
        else:
            before = None
    return layer


def _fed_by(norm: Unit, siblings: Sequence[Unit], loose: set[str], modules: Modules) -> str | None:
    """The unit that a norm of a pre-norm parent feeds; the last one where nothing follows it."""
    first, kind = siblings[0], modules[norm.module]
    if first.name not in loose or _scales(modules[first.module]) or _scales(kind):
        return None
    if any(True for unit in (first, norm) for _ in _statistics(unit)):
        return None
    fed = [unit.name for unit in siblings if unit.name not in loose and unit.has_parameters]
    after = [unit.name for unit in siblings[siblings.index(norm) :] if unit.name in fed]
    return after[0] if after else fed[-1] if fed else None


def _statistics(unit: Unit) -> Iterator[TensorInfo]:
    return (tensor for tensor in unit.tensors if tensor.kind == "buffer")


def _part_of(module: str, modules: Modules) -> str | None:
    """The part of a block that `module` is in: the outermost attention or feed-forward network."""
    block = block_of(module, modules)
    for path in _paths(module):
        inside = block is not None and path.startswith(f"{block}.")
        if isinstance(modules[path], nn.MultiheadAttention) or (inside and _is_part(modules[path])):
            return path
    return None


def _is_part(module: nn.Module) -> bool:
    return bool(_PARTS.search(type(module).__name__)) and _is_composite(module)


def block_of(module: str, modules: Modules) -> str | None:
    """The block around `module`: the outermost composite module in a sequence or list that is no stage of blocks."""
    for path in _paths(module):
        parent, candidate = modules[_parent(path)], modules[path]
        in_sequence = type(parent) in _LISTS or (isinstance(parent, nn.Sequential) and _is_stage(parent))
        if in_sequence and _is_composite(candidate) and type(candidate) not in _LISTS and not _is_stage(candidate):
            return path
    return None


def _is_stage(module: nn.Module) -> bool:
    """Whether blocks stand in a row inside of it (a stage of a Swin or ConvNeXt, a backbone, a whole encoder)."""
    return any(_holds_blocks(inner) for inner in _outside_of_parts(module) if isinstance(inner, _LISTS))


def _outside_of_parts(module: nn.Module) -> Iterator[nn.Module]:
    """`module` and what is in it, but nothing from within attention or feed-forward networks: experts are no blocks."""
    yield module
    for child in module.children():
        if not _is_part(child):
            yield from _outside_of_parts(child)


def _holds_blocks(sequence: nn.Module) -> bool:
    """Whether all that is weighted in a list is of one class, and each of several layers."""
    members = [child for child in sequence.children() if any(True for _ in child.parameters())]
    return (
        bool(members)
        and len({type(member) for member in members}) == 1
        and not isinstance(members[0], _LISTS)
        and all(_weighted(member) > 1 for member in members)
    )


def _weighted(module: nn.Module) -> int:
    """How many modules in it hold weights of their own, norms not counted."""
    holding = (inner for inner in module.modules() if any(True for _ in inner.parameters(recurse=False)))
    return sum(not _follows(inner) for inner in holding)


def _paths(module: str) -> Iterator[str]:
    """The names of the modules around `module`, the outermost first, and its own."""
    parts = module.split(".") if module else []
    return (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _is_composite(module: nn.Module) -> bool:
    return any(True for _ in module.children())


def _follows(module: nn.Module) -> bool:
    """BatchNorm, LayerNorm, GroupNorm, RMSNorm, ... of any library, by their names; and what scales a residual."""
    if _scales(module):
        return True
    return "Norm" in type(module).__name__ and not any(True for child in module.children() for _ in child.parameters())


def _scales(module: nn.Module) -> bool:
    return "LayerScale" in type(module).__name__
