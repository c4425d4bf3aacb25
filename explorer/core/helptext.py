"""The text of the help: keys in groups, in as many columns as fit, and the marks."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from .keys import GROUPS, Key
from .marks import MARKS, WORDS

_GAP = 4
_KEYS = 18
"""The widest that keys may be before their description moves to the right of the others'."""


def help_text(keys: Sequence[Key], width: int, *, marks: bool) -> Text:
    """All of `keys` in `width` columns; with `marks`, what the marks of a heatmap mean."""
    blocks = [_block(group, [key for key in keys if key.group == group]) for group in GROUPS]
    blocks = [block for block in blocks if block]
    if marks:
        blocks.append(_marks())
    return beside(blocks, width)


def _block(title: str, keys: Sequence[Key]) -> list[Text]:
    if not keys:
        return []
    shown = [" ".join(key.keys) for key in keys]
    wide = min(_KEYS, max(map(cell_len, shown)))
    lines = [Text(title, "bold")]
    for key, text in zip(keys, shown, strict=True):
        line = Text(text, "accent bold")
        line.append(" " * max(1, wide + 2 - cell_len(text)), "text")
        lines.append(line.append(key.description, "text"))
    return lines


def _marks() -> list[Text]:
    lines = [Text("marks", "bold")]
    for state, word in WORDS.items():
        lines.append(Text.assemble((MARKS[state], "bold"), (f"  {word}", "text")))
    return lines


def beside(blocks: Sequence[Sequence[Text]], width: int) -> Text:
    """Blocks of lines side by side, in as many columns as fit into `width`, of about the same height."""
    for count in range(min(3, len(blocks)), 1, -1):
        columns = _dealt(blocks, count)
        widths = [max((line.cell_len for line in column), default=0) for column in columns]
        if sum(widths) + _GAP * (count - 1) <= width:
            return _joined(columns, widths)
    return _joined(_dealt(blocks, 1), [0])


def _dealt(blocks: Sequence[Sequence[Text]], count: int) -> list[list[Text]]:
    """The blocks in `count` columns at most, in their order, so that the highest column is as low as it can be."""
    limit = max(len(block) for block in blocks)
    while True:
        columns: list[list[Text]] = [[]]
        for block in blocks:
            if columns[-1] and len(columns[-1]) + 1 + len(block) > limit:
                columns.append([])
            columns[-1] += [*([Text()] if columns[-1] else []), *block]
        if len(columns) <= count:
            return columns
        limit += 1


def _joined(columns: Sequence[Sequence[Text]], widths: Sequence[int]) -> Text:
    starts = [sum(widths[:number]) + _GAP * number for number in range(len(columns))]
    lines = []
    for number in range(max(map(len, columns))):
        line = Text()
        for start, column in zip(starts, columns, strict=False):
            if number < len(column):
                line.append(" " * (start - line.cell_len))
                line.append_text(column[number])
        lines.append(line)
    return Text("\n").join(lines)
