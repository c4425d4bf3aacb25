"""The columns of the table of runs: what they say, and which give way where there is not room for all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from ...store import inert
from .runrow import MARKS, RunRow, kind_of, span, state_words

GUTTER = 4
"""Before the first column: the cursor, the mark of a marked run, a space each."""
GAP = 2
MARKED, CURSOR = "◆", "▸"
ASCENDING, DESCENDING = "▲", "▼"


def line(row: RunRow, shown: "Sequence[Shown]", now: float) -> Text:
    """One run's line, from the first column's start to the last one's end; styles are words of the tones."""
    found = Text(no_wrap=True, end="")
    for place, column in enumerate(shown):
        text = column.spec.text(row, now, column.width)
        spare = " " * max(0, column.width - text.cell_len)
        parts = (spare, text) if column.spec.right else (text, spare)
        for part in parts:
            found.append_text(part) if isinstance(part, Text) else found.append(part)
        if place < len(shown) - 1:
            found.append(" " * GAP)
    return found


@dataclass(frozen=True)
class Spec:
    """One column."""

    id: str
    title: str
    least: int
    """Columns of text below which it says too little to be there."""
    good: int
    """What it gets before less important columns get anything."""
    most: int
    text: Callable[[RunRow, float, int], Text]
    """(run, now, width): what stands there, at most that wide."""
    right: bool = False


def _name(row: RunRow, now: float, width: int) -> Text:
    return Text(middle(row.name, width), "text bold")


def _state(row: RunRow, now: float, width: int) -> Text:
    kind = kind_of(row, now)
    words = state_words(row, now)
    if kind == "failed" and width >= 14:
        # As much of the reason as there is room for.
        fitting = words[0]
    else:
        fitting = next((pair for pair in words if cell_len(pair[0] + pair[1]) <= width), words[-1])
    text = Text(no_wrap=True, end="").append(fitting[0], MARKS[kind][1])
    text.append(fitting[1], "alarm" if kind == "failed" else "muted")
    text.truncate(width, overflow="ellipsis")
    return text


def facts(row: RunRow, now: float) -> list[Text]:
    """What the table's line has no room for, what matters most first: the name and the state in full, with what failed
    and why, or who is at work; model, data and sizes."""
    kind = kind_of(row, now)
    word, rest = state_words(row, now)[0]
    state = Text().append(word, MARKS[kind][1]).append(rest, "alarm" if kind == "failed" else "muted")
    if row.writer and kind in ("training", "probing", "stalled"):
        state.append(f"  by {inert(row.writer)}", "muted")
    about = Text().append(f"{inert(row.model)} on {inert(row.data)}", "text")
    if row.layers:
        about.append(f", {row.layers} layers, {row.checkpoints} of {row.planned} checkpoints", "muted")
    return [Text().append(inert(row.name), "accent bold"), state, about]


def _words(of: Callable[[RunRow], str]) -> Callable[[RunRow, float, int], Text]:
    return lambda row, now, width: Text(middle(of(row), width), "text")


def _checkpoints(row: RunRow, now: float, width: int) -> Text:
    whole = row.checkpoints >= row.planned
    return _number(f"{row.checkpoints}" if whole else f"{row.checkpoints}/{row.planned}", width)


def _epochs(row: RunRow, now: float, width: int) -> Text:
    if row.status is None:
        return _number(f"{row.epochs}", width)
    done = "–" if row.epoch is None else str(row.epoch)
    return _number(done if row.epoch == row.epochs else f"{done}/{row.epochs}", width)


def _error(row: RunRow, now: float, width: int) -> Text:
    if row.error is None:
        return Text("–", "muted")
    # Of a run that is not trained yet it is not the last word.
    return Text(f"{100 * row.error:.2f} %", "text" if row.trained else "muted")


def _number(text: str, width: int) -> Text:
    return Text(text if len(text) <= width else text.partition("/")[0][:width], "text")


COLUMNS: tuple[Spec, ...] = (
    Spec("run", "run", 8, 14, 44, _name),
    Spec("state", "state", 1, 18, 34, _state),
    Spec("model", "model", 7, 11, 24, _words(lambda row: row.model)),
    Spec("data", "data", 6, 8, 20, _words(lambda row: row.data)),
    Spec("layers", "layers", 8, 8, 8, lambda row, now, width: _number(str(row.layers or "–"), width), right=True),
    Spec("checkpoints", "ckpts", 7, 7, 7, _checkpoints, right=True),
    Spec("epochs", "epochs", 8, 8, 9, _epochs, right=True),
    Spec("error", "error", 7, 7, 8, _error, right=True),
    Spec("age", "age", 6, 6, 6, lambda row, now, width: Text(span(now - row.created), "muted"), right=True),
)
"""In the order in which they stand."""

IMPORTANCE = ("run", "state", "error", "age", "model", "data", "epochs", "layers", "checkpoints")
"""Which go first where there is not room for all: the last of these."""

_STATE = len("○ interrupted")
"""Of the state, before names are cut: its mark and a word."""
_NAME = 20
"""Of the names, before the age goes."""


@dataclass(frozen=True)
class Shown:
    """A column as it is laid out."""

    spec: Spec
    x: int
    """Where it starts, the gutter included."""
    width: int


def natural(rows: Sequence[RunRow], now: float) -> dict[str, int]:
    """How wide each column would be if there were room for everything."""
    widest = {
        "run": max((cell_len(inert(row.name)) for row in rows), default=0),
        "model": max((cell_len(inert(model)) for model in {row.model for row in rows}), default=0),
        "data": max((cell_len(inert(data)) for data in {row.data for row in rows}), default=0),
        "state": max((len(word) + len(rest) for row in rows for word, rest in state_words(row, now)[:1]), default=0),
    }
    return {spec.id: min(spec.most, max(len(spec.title) + 2, spec.least, widest.get(spec.id, 0))) for spec in COLUMNS}


def fit(wanted: dict[str, int], width: int) -> tuple[Shown, ...]:
    """The columns that have room in `width`, given how wide each would like to be (:func:`natural`).

    Names matter most: runs are told apart by them.  Where there is not room for all, the model and what follows it in
    :data:`IMPORTANCE` go first, then the details of the state; only then are names cut, and below a width at which they
    still tell something the age goes too.
    """
    specs = {spec.id: spec for spec in COLUMNS}
    room = width - GUTTER
    widths = {name: min(specs[name].good, wanted[name]) for name in IMPORTANCE[:4]} | {"run": wanted["run"]}

    def over() -> int:
        return sum(widths.values()) + GAP * (len(widths) - 1) - room

    def narrow(name: str, least: int) -> None:
        widths[name] = max(min(least, widths[name]), widths[name] - max(0, over()))

    narrow("state", _STATE)
    narrow("run", _NAME)
    if over() > 0:
        del widths["age"]
        widths["run"] = wanted["run"]
        narrow("run", _NAME)
    for name in ("state", "run"):
        narrow(name, specs[name].least)
    for name in ("error", "state"):
        if over() > 0:
            del widths[name]
    for name in IMPORTANCE[4:] if "age" in widths else ():
        least = min(specs[name].least, wanted[name])
        left = -over() - GAP
        if left < least:
            break
        widths[name] = min(specs[name].good, wanted[name], left)
    for name in ("run", "state", "model", "data"):
        if name in widths:
            widths[name] += max(0, min(-over(), wanted[name] - widths[name]))
    shown, x = [], GUTTER
    for spec in COLUMNS:
        if spec.id in widths:
            shown.append(Shown(spec, x, widths[spec.id]))
            x += widths[spec.id] + GAP
    return tuple(shown)


def head(shown: Sequence[Shown], sort: str, reverse: bool) -> Text:
    """The line of titles; the one sorted by has an arrow."""
    found = Text(no_wrap=True, end="")
    for place, column in enumerate(shown):
        here = column.spec.id == sort
        arrow = (DESCENDING if reverse else ASCENDING) if here else ""
        title = column.spec.title
        if here:
            title = f"{arrow} {title}" if column.spec.right else f"{title} {arrow}"
        if len(title) > column.width:
            title = (arrow + column.spec.title)[: column.width]
        found.append(title.rjust(column.width) if column.spec.right else title.ljust(column.width),
                     "accent" if here else "muted")  # fmt: skip
        if place < len(shown) - 1:
            found.append(" " * GAP)
    return found


def column_at(shown: Sequence[Shown], x: int) -> str | None:
    """The column at `x`, its gap to the next included; None left of the first and right of the last."""
    for column in shown:
        if column.x <= x < column.x + column.width + GAP:
            return column.spec.id
    return None


def middle(name: str, width: int) -> str:
    """`name` made harmless and at most `width` wide: begin and end stay, since runs of one series differ at the end."""
    name = inert(name)
    if cell_len(name) <= width:
        return name
    if width < 2:
        return "…"[:width]
    head_room = width // 2
    start, end = "", ""
    for letter in name:
        if cell_len(start + letter) > head_room:
            break
        start += letter
    for letter in reversed(name[len(start) :]):
        if cell_len(start + letter + end) > width - 1:
            break
        end = letter + end
    return f"{start}…{end}"
