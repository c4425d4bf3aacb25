"""A network's tree in words, columns and bars."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from ...store import inert
from .cellpanel import MARK_OF
from .model import STANDINGS, Node, Standing, Sums, TreeRow
from .picture import Picture
from .sizes import share_text
from .texts import shorten
from .words import deed

MARKS: dict[Standing, str] = {**MARK_OF, "missing": "·"}
TONES: dict[Standing, str] = {"robust": "info", "critical": "alarm", "undecided": "muted", "missing": "faint"}
WORDS: dict[Standing, str] = {
    "robust": "robust", "critical": "critical", "undecided": "undecided", "missing": "not measured",
}  # fmt: skip
_FILLS: dict[Standing, str] = {"robust": "█", "critical": "▓", "undecided": "▒", "missing": "░"}
"""Of the bar above the tree: told apart without colours."""
_EIGHTHS = " ▏▎▍▌▋▊▉"

FOLDED, OPEN = "▸", "▾"


@dataclass(frozen=True)
class Ground:
    """What a line of the tree is seen against."""

    standings: Mapping[int, Standing]
    total: int
    """Weights of the whole network."""
    largest: int
    """Of the largest module at the top: it fills a bar."""


@dataclass(frozen=True)
class Columns:
    """How wide each column of the tree is; 0: it is not shown."""

    name: int
    shape: int = 0
    dtype: int = 0
    own: int = 0
    total: int = 0
    share: int = 0
    bar: int = 0
    standing: int = 0


HEADS = {
    "name": "module", "shape": "shape", "dtype": "type", "own": "own", "total": "weights", "share": "share", "bar": "",
    "standing": "layers",
}  # fmt: skip
_GAP = 2
_LONGEST_NAME, _LONGEST_SHAPE, _LONGEST_STANDING = 44, 18, 24
_LEAST_STANDING = len("▲ critical")


def fit(rows: Sequence[TreeRow], ground: Ground, width: int) -> Columns:
    """The columns that `width` has room for: names and sizes first, then shares, standings, bars, shapes, types."""
    names = max((2 * row.depth + 2 + cell_len(inert(row.node.name)) for row in rows), default=8)
    wanted = {
        "total": max(len("weights"), len(f"{ground.total:,}")),
        "share": 7,
        "standing": min(_LONGEST_STANDING, max([6, *(len(standing_text(row.node, ground)) for row in rows)])),
        "bar": 10,
        "shape": min(_LONGEST_SHAPE, max([5, *(len(shape_text(row.node)) for row in rows)])),
        "dtype": max([4, *(len(dtype_text(row.node)) for row in rows)]),
        "own": max(len("own"), *(len(f"{row.node.own:,}") for row in rows)) if rows else 3,
    }
    least = min(names, max(16, width // 3))
    left = width - min(names, least)
    shown: dict[str, int] = {}
    for column, size in wanted.items():
        if column == "standing":
            size = max(_LEAST_STANDING, min(size, left - _GAP))
        if left >= size + _GAP:
            shown[column] = size
            left -= size + _GAP
    more = min(left, min(names, _LONGEST_NAME) - least)
    name = least + max(0, more)
    left -= max(0, more)
    if "bar" in shown:
        shown["bar"] += min(left, 40)
    return Columns(name, **shown)


def tree_line(row: TreeRow, columns: Columns, ground: Ground) -> Text:
    """One line of the tree."""
    node = row.node
    fold = "" if row.folded is None else FOLDED if row.folded else OPEN
    indent = "  " * row.depth
    line = Text(no_wrap=True, overflow="ellipsis")
    room = columns.name - len(indent) - 2
    name = shorten(node.name, max(3, room))
    line.append(f"{indent}{fold:<2}", "muted")
    line.append(name, "accent bold" if row.found else "muted" if node.is_tensor else "")
    line.append(" " * max(0, columns.name - cell_len(line.plain)))
    line.truncate(columns.name)
    parts: dict[str, tuple[str | Text, str, bool]] = {
        "shape": (shape_text(node), "muted", False),
        "dtype": (dtype_text(node), "muted", False),
        "own": (_count(node.own) if not node.is_tensor else "", "muted", True),
        "total": (_count(node.total) if not node.tied else "", "muted" if node.is_tensor else "", True),
        "share": (share_text(node.total, ground.total) if node.total else "", "muted", True),
        "bar": (bar(node, columns.bar, ground), "", False),
        "standing": (standing(node, ground), "", False),
    }
    for column, (part, tone, right) in parts.items():
        size = getattr(columns, column)
        if not size:
            continue
        text = part if isinstance(part, Text) else Text(part, tone)
        text.truncate(size, overflow="ellipsis")
        line.append(" " * _GAP + (" " * (size - text.cell_len) if right else ""))
        line.append_text(text)
        line.append("" if right else " " * (size - text.cell_len))
    return line


def heads(columns: Columns, ground: Ground) -> Text:
    """What stands above the columns."""
    line = Text(HEADS["name"].ljust(columns.name)[: columns.name], "muted", no_wrap=True)
    for column in ("shape", "dtype", "own", "total", "share", "bar", "standing"):
        if size := getattr(columns, column):
            title = HEADS[column]
            if column == "bar" and size >= 14:
                full = share_text(ground.largest, ground.total)
                title = f"a full bar is {full}" if size >= 22 else f"full: {full}"
            right = column in ("own", "total", "share")
            line.append(" " * _GAP + (title.rjust(size) if right else title.ljust(size))[:size])
    return line


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def shape_text(node: Node) -> str:
    """A tensor's shape '64×3×7×7'; of a module that holds tensors only, that of its largest weight."""
    tensor = node.tensor
    if tensor is None and node.leaf:
        weights = [child.tensor for child in node.children if child.tensor and child.tensor.kind == "parameter"]
        tensor = max(weights, key=lambda one: (len(one.shape), _product(one.shape)), default=None)
    if tensor is None:
        return ""
    return "×".join(map(str, tensor.shape)) or "one number"


def tied_to(node: Node) -> str:
    """The tensor that a node is another name of; of a module that holds nothing else, its first one's."""
    if node.children and all(child.tied for child in node.children):
        return node.children[0].tied
    return node.tied


def _product(shape: Sequence[int]) -> int:
    found = 1
    for length in shape:
        found *= length
    return found


def dtype_text(node: Node) -> str:
    """A tensor's type; a module's, where all its weights have the same."""
    if node.tensor is not None:
        return node.tensor.dtype + ("" if node.tensor.kind == "parameter" else " buffer")
    if node.leaf and not node.tied:
        types = {child.tensor.dtype for child in node.children if child.tensor and child.tensor.kind == "parameter"}
        return types.pop() if len(types) == 1 else ""
    return ""


def by_standing(node: Node, ground: Ground) -> dict[Standing, int]:
    """Weights below a node by what is known of their layers."""
    found: dict[Standing, int] = {}
    for layer, count in node.by_layer.items():
        key: Standing = "missing" if layer is None else ground.standings[layer]
        found[key] = found.get(key, 0) + count
    return found


def standing_text(node: Node, ground: Ground) -> str:
    """See :func:`standing`."""
    return standing(node, ground).plain


def standing(node: Node, ground: Ground) -> Text:
    """What is known of the layers below a node: '▲ critical', or how many of each, '▲2 ●5 ?1'; '= X': tied to X."""
    if not node.total:
        same = tied_to(node)
        return Text(f"= {inert(same)}" if same else "", "faint")
    if not node.layers:
        return Text("in no layer", "faint")
    counts = {key: sum(ground.standings[layer] == key for layer in node.layers) for key in STANDINGS}
    if len(node.layers) == 1:
        key = next(key for key in STANDINGS if counts[key])
        strong = "" if node.is_tensor else " bold" if key == "critical" else ""
        return Text(f"{MARKS[key]} {WORDS[key]}", ("faint" if node.is_tensor else TONES[key]) + strong)
    text = Text()
    for key in STANDINGS:
        if counts[key]:
            text.append(" " if text.plain else "")
            text.append(f"{MARKS[key]}{counts[key]}", TONES[key])
    return text


def bar(node: Node, width: int, ground: Ground) -> Text:
    """A node's share of the weights, in the colours of what is known of them; the largest module fills it."""
    text = Text()
    if not width or not node.total or node.is_tensor:
        return text
    length = width * node.total / max(1, ground.largest)
    cells = int(length)
    parts = by_standing(node, ground)
    place, passed = 0, 0
    last = "faint"
    for key in STANDINGS:
        if not (count := parts.get(key, 0)):
            continue
        passed += count
        end = round(cells * passed / node.total)
        text.append("█" * (end - place), TONES[key])
        place, last = end, TONES[key]
    # What is left of a character, in eighths; something that is there is seen.
    eighths = int(8 * (length - cells))
    if eighths or not cells:
        text.append(_EIGHTHS[max(1, eighths)] if cells == 0 else _EIGHTHS[eighths], last)
    text.truncate(width)
    return text


# Above the tree


def summary(picture: Picture, found: Sums, width: int) -> list[Text]:
    """How many weights sit in robust layers: a sentence, and a bar of all weights."""
    what = deed(picture.columns[found.column])
    lines = [Text(f"each layer by itself {what}", "bold")]
    parts = [key for key in STANDINGS if found.weights.get(key)]

    def said(long: bool, key: Standing) -> Text:
        count, share = found.weights.get(key, 0), share_text(found.weights.get(key, 0), found.total)
        layers = found.layers.get(key, 0)
        text = Text()
        text.append(f"{_FILLS[key]} ", TONES[key])
        text.append(f"{share} ", "bold")
        text.append(WORDS[key])
        if long:
            inside = f"{layers} layer{'s' if layers != 1 else ''}" if layers else "in no layer"
            text.append(f" {count:,} in {inside}" if layers else f" {count:,}, {inside}", "muted")
        return text

    def joined(long: bool) -> Text:
        return Text("   ").join(said(long, key) for key in parts)

    drawn = stacked([(found.weights.get(key, 0), _FILLS[key], TONES[key]) for key in STANDINGS], width)
    lines.append(drawn)
    if joined(True).cell_len <= width:
        lines.append(joined(True))
    elif joined(False).cell_len <= width and len(parts) > 2:
        lines.append(joined(False))
    else:
        lines += [said(True, key) for key in parts]
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return lines


def stacked(parts: Sequence[tuple[int, str, str]], width: int) -> Text:
    """A bar as wide as `width` of (count, character, tone): what is there at all is seen."""
    total = sum(count for count, _, _ in parts)
    text = Text()
    if not total or width < len(parts):
        return text
    sizes = [max(1, round(width * count / total)) if count else 0 for count, _, _ in parts]
    sizes[max(range(len(parts)), key=lambda index: sizes[index])] += width - sum(sizes)
    for size, (_, fill, tone) in zip(sizes, parts, strict=True):
        text.append(fill * size, tone)
    return text


def facts(counted: tuple[int, int, int, int], width: int) -> str:
    """One line on what there is: see :func:`.model.weight_tensors`."""
    weights, tensors, tied, buffers = counted
    parts = [f"{weights:,} weights in {tensors} tensors"]
    if tied:
        parts.append(f"{tied} tied, counted once")
    if buffers:
        parts.append(f"{buffers:,} numbers in buffers")
    while len(parts) > 1 and len(" · ".join(parts)) > width:
        parts.pop()
    return " · ".join(parts)


def about(node: Node, picture: Picture, ground: Ground, column: int, enter: Callable[[str], str]) -> Text:
    """Everything about the node under the cursor, in one line; `enter` says what enter does with a layer."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(inert(node.path), "bold")
    if same := tied_to(node):
        text.append(f"  is {inert(same)}: the same tensor, counted there", "muted")
        return text
    if node.tensor is not None:
        text.append(f"  {node.tensor.kind} {dtype_text(node).removesuffix(' buffer')} {shape_text(node)}", "muted")
        if node.tensor.aliases:
            text.append(f", also {', '.join(map(inert, node.tensor.aliases))}", "muted")
    if node.total:
        text.append(f"  {node.total:,} weights, {share_text(node.total, ground.total)}", "muted")
    if node.buffers and node.tensor is None:
        text.append(f", {node.buffers:,} in buffers", "muted")
    if len(node.layers) == 1:
        layer = node.layers[0]
        key = ground.standings[layer]
        value = picture.value("error", layer, column)
        number = "" if value is None else f", error {100 * value:.2f} %"
        text.append(f"  layer {inert(picture.layer_names[layer])}: ", "muted")
        text.append(f"{MARKS[key]} {WORDS[key]}", TONES[key])
        text.append(f"{number}  {enter(picture.layer_names[layer])}", "muted")
    return text
