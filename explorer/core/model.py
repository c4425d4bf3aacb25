"""A network as a tree of its modules: shapes, sizes, and which of its weights sit in robust layers. No drawing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ...store import TensorInfo
from .picture import Picture
from .sizes import elements, parameters_of
from .words import judged

Standing = str
"""What is known of a layer: its verdict, or 'missing'."""

STANDINGS: tuple[Standing, ...] = ("robust", "critical", "undecided", "missing")

Order = Literal["model", "size"]


@dataclass(frozen=True)
class Node:
    """A module, or a tensor that a module holds."""

    path: str
    """Its full name; empty for the network itself."""
    tensor: TensorInfo | None = None
    tied: str = ""
    """Another name of a tensor that is counted there: the name under which it is."""
    children: tuple["Node", ...] = ()
    by_layer: Mapping[int | None, int] = field(default_factory=dict)
    """Weights below it by the layer of the probe that resets them; None: in no layer."""
    own: int = 0
    """Weights that it holds itself, not in a module below it."""
    buffers: int = 0
    """Numbers in buffers below it: running statistics, counters; no weights."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    @property
    def total(self) -> int:
        """Weights below it, its own included; tied ones where they are first."""
        return sum(self.by_layer.values())

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of the probe that its weights belong to."""
        return tuple(layer for layer in self.by_layer if layer is not None)

    @property
    def leaf(self) -> bool:
        """Whether it is a module that holds tensors only."""
        return self.tensor is None and not self.tied and all(child.is_tensor for child in self.children)

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor, or another name of one."""
        return self.tensor is not None or bool(self.tied)

    def walk(self) -> Iterator["Node"]:
        """It and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def layer_of(picture: Picture) -> dict[str, int]:
    """By a tensor's name, the layer of the probe that resets it by itself: the first where there are several."""
    found: dict[str, int] = {}
    for index, layer in enumerate(picture.probe.layers):
        if not layer.joint:
            for name in layer.tensors:
                found.setdefault(name, index)
    return found


def build_tree(tensors: Sequence[TensorInfo], layers: Mapping[str, int]) -> Node:
    """The network as a tree; modules and tensors stand in the order in which the network has them.

    `layers`: see :func:`layer_of`.  A tensor with several names stands under each, and is counted under the first.
    """
    folders: dict[str, dict[str, None]] = {"": {}}
    held: dict[str, tuple[TensorInfo, str]] = {}
    for tensor in tensors:
        for name in (tensor.name, *tensor.aliases):
            held[name] = (tensor, "" if name == tensor.name else tensor.name)
            child, parent = name, ""
            while child:
                parent = child.rpartition(".")[0]
                folders.setdefault(parent, {})[child] = None
                child = parent

    def made(path: str) -> Node:
        if path in held:
            tensor, tied = held[path]
            if tied:
                return Node(path, None, tied)
            size = elements(tensor)
            weights = {layers.get(tensor.name): size} if tensor.kind == "parameter" else {}
            return Node(path, tensor, by_layer=weights, own=sum(weights.values()), buffers=0 if weights else size)
        children = tuple(made(child) for child in folders[path])
        by_layer: Counter[int | None] = Counter()
        for child in children:
            by_layer.update(child.by_layer)
        own = sum(child.own for child in children if child.is_tensor)
        return Node(path, None, "", children, dict(by_layer), own, sum(child.buffers for child in children))

    return made("")


@dataclass(frozen=True)
class Sums:
    """How many weights sit in layers of each standing, by one column of a probe."""

    column: int
    weights: Mapping[Standing, int]
    layers: Mapping[Standing, int]
    total: int
    outside: int
    """Weights that no layer of the probe resets: they are among the missing."""


def standings(picture: Picture, column: int) -> dict[int, Standing]:
    """What a column says about each layer."""
    return {layer: picture.verdict(layer, column) or "missing" for layer in range(len(picture.probe.layers))}


def sums(picture: Picture, root: Node, column: int) -> Sums:
    """The weights of the network by what `column` says of their layers. Tied weights count once, buffers not at all."""
    known = standings(picture, column)
    weights: Counter[Standing] = Counter()
    for layer, count in root.by_layer.items():
        weights["missing" if layer is None else known[layer]] += count
    layers = Counter(known[layer] for layer, info in enumerate(picture.probe.layers) if not info.joint)
    return Sums(column, dict(weights), dict(layers), root.total, root.by_layer.get(None, 0))


def columns_to_tell(picture: Picture) -> list[int]:
    """The columns whose verdicts are told."""
    return judged(picture.columns)


@dataclass(frozen=True)
class TreeRow:
    """One line of the tree."""

    node: Node
    depth: int
    folded: bool | None
    """None: there is nothing below it."""
    found: bool = False
    """It matches what is looked for."""


def default_folds(root: Node) -> frozenset[str]:
    """At first modules are seen, and what they hold is not."""
    return frozenset(node.path for node in root.walk() if node.leaf and node.path)


def tree_rows(root: Node, folded: frozenset[str], order: Order = "model", query: str = "") -> list[TreeRow]:
    """The lines that are seen: `folded` are the paths of modules that hide what is below them.

    With a `query` those whose name holds each of its words (small and capital letters are one), and what they lie in;
    nothing that matches is hidden by a fold.  By 'size' the largest of each module's parts is the first.
    """
    words = query.casefold().split()
    rows: list[TreeRow] = []

    def matches(node: Node) -> bool:
        path = node.path.casefold()
        return bool(words) and all(word in path for word in words)

    def below(node: Node) -> Sequence[Node]:
        return node.children if order == "model" else sorted(node.children, key=lambda child: -child.total)

    def walk(node: Node, depth: int, whole: bool) -> bool:
        """Add what is seen of `node`, and tell whether that is anything; `whole`: all of it is looked for."""
        at, found = len(rows), matches(node)
        hides = node.path in folded
        rows.append(TreeRow(node, depth, hides if node.children else None, found))
        if whole or found:
            for child in () if hides else below(node):
                walk(child, depth + 1, True)
            return True
        if sum([walk(child, depth + 1, False) for child in below(node)]):
            rows[at] = TreeRow(node, depth, False)
            return True
        del rows[at:]
        return False

    for child in below(root):
        walk(child, 0, not words)
    return rows


def home_of(root: Node, layer: int | None) -> str | None:
    """The path of the module that holds most of a layer's weights, and no other's; the outermost of equals."""
    holds = [node for node in root.walk() if node.path and not node.is_tensor and set(node.by_layer) == {layer}]
    if layer is None or not holds:
        return None
    return max(holds, key=lambda node: (node.total, -node.path.count("."))).path


def parent_of(rows: Sequence[TreeRow], index: int) -> int | None:
    """The line of the module that a line lies in."""
    depth = rows[index].depth
    return next((above for above in range(index - 1, -1, -1) if rows[above].depth < depth), None)


def weight_tensors(tensors: Sequence[TensorInfo]) -> tuple[int, int, int, int]:
    """(weights, tensors that hold them, names that are other names of one of these, numbers in buffers)."""
    parameters = [tensor for tensor in tensors if tensor.kind == "parameter"]
    buffers = sum(elements(tensor) for tensor in tensors if tensor.kind == "buffer")
    return parameters_of(tensors), len(parameters), sum(len(tensor.aliases) for tensor in parameters), buffers
