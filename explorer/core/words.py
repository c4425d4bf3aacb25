"""What a column does to a layer, in words."""

import math
from collections.abc import Sequence

from ...store import NOISE, PATH, REINITIALISE, RERANDOMISE, SHUFFLE, ZERO, Column
from .scene import NETWORK

REINITIALISED = ("re-initialised at checkpoint", "at checkpoint", "checkpoint", "epoch")
"""What stands above the re-initialised columns, the longest first."""


def over_checkpoints(room: int) -> str:
    """As much of what stands above the re-initialised columns as fits into `room`."""
    return next((title for title in REINITIALISED if len(title) <= room), "")


_SHORT = {RERANDOMISE: "rnd", SHUFFLE: "shuf", ZERO: "0"}


def head(column: Column, width: int) -> str:
    """A column's label below what :func:`above` says, in `width` columns of text where it can be shortened."""
    label = column.label.removeprefix(f"{column.kind}:")
    return label if len(label) <= width else _SHORT.get(column.kind, label)


def above(kind: str, room: int) -> str:
    """What stands above the columns of one kind, as much of it as fits into `room`; empty where the label says it."""
    if kind == REINITIALISE:
        return over_checkpoints(room)
    return kind[:room] if kind in (NOISE, PATH) else ""


def network(room: int) -> str:
    """What the whole network's row is called in `room` columns of text: a word is never cut."""
    return NETWORK if len(NETWORK) <= room else "network"


def perplexity(loss: float) -> float:
    """Of a mean cross entropy of `loss` nats; infinite where no float holds it."""
    return math.inf if loss >= 700 else math.exp(loss)


def perplexity_text(loss: float) -> str:
    """The perplexity of a mean cross entropy of `loss` nats."""
    value = perplexity(loss)
    if value != value:
        return "not a number"
    return f"{value:.1f}" if value < math.inf else "out of all bounds"


def next_token_text(error: str, loss: float) -> str:
    """What a language model does: its error, told as `error`, with its loss and perplexity."""
    return f"next-token {error}, loss {loss:.3f} nats, perplexity {perplexity_text(loss)}"


def deed(column: Column) -> str:
    """What was done to a layer, to be read after its name: 'at checkpoint 8', 're-randomised', 'set to zero'."""
    match column.kind:
        case "rerandomise":
            return "re-randomised"
        case "reinitialise":
            return f"at checkpoint {column.checkpoint}"
        case "zero":
            return "set to zero"
        case "shuffle":
            return "shuffled"
        case "noise":
            return f"with noise of {column.scale:g}"
        case "path":
            return f"{100 * (column.alpha or 0):g} % of the way from {column.checkpoint}"
    return column.label


_MEANINGS = {
    RERANDOMISE: "random: re-randomised",
    SHUFFLE: "shuffle: weights in another order",
    NOISE: "noise:S: Gaussian noise added, S times the weights' root mean square",
    ZERO: "zero: weights set to 0",
    PATH: "path:A, path:E:A: a share A of the way from checkpoint 0, or E, to the end",
}


def meanings(columns: Sequence[Column], *, spread: bool) -> list[str]:
    """A line for each kind of column whose label does not speak for itself; with `spread`, what stands after ±."""
    lines = [meaning for kind, meaning in _MEANINGS.items() if any(column.kind == kind for column in columns)]
    draws = sorted({column.draws for column in columns if column.draws > 1})
    if spread and draws:
        several = f"{draws[0]} to {draws[-1]}" if len(draws) > 1 else f"{draws[0]}"
        mean = f"mean ± standard deviation of {several} draws"
        kinds = {column.kind for column in columns if column.draws > 1}
        if kinds == {RERANDOMISE}:
            lines[0] += f", {mean}"
        else:
            lines.append(f"where ± stands: {mean}")
    return lines


def judged(columns: Sequence[Column]) -> list[int]:
    """The columns whose verdicts are told: the first of each kind that leads away from the trained network.

    Re-randomising is told only where there is nothing else: it says of nearly every layer that it is critical.
    """
    final = max((column.checkpoint or 0 for column in columns if column.kind == REINITIALISE), default=None)
    first: dict[str, int] = {}
    for index, column in enumerate(columns):
        if not (column.kind == REINITIALISE and column.checkpoint == final):
            first.setdefault(column.kind, index)
    if len(first) > 1:
        first.pop(RERANDOMISE, None)
    if not first and final is not None:
        return [index for index, column in enumerate(columns) if column.kind == REINITIALISE]
    return sorted(first.values(), key=lambda index: (columns[index].kind != REINITIALISE, index))
