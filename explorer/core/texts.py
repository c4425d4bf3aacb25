"""What is said of a run and its picture in words: one line each, for every view."""

from collections.abc import Sequence

from rich.cells import cell_len

from ...store import Fallback, inert
from .picture import Picture
from .words import next_token_text

NAMED = 12
"""Layers named in a summary before it says how many more."""


def shorten(name: str, width: int) -> str:
    """`name` made harmless and at most `width` columns wide: the end stays, since that is what tells layers apart."""
    name = inert(name)
    if cell_len(name) <= width:
        return name
    while name and cell_len(name) >= width:
        name = name[1:]
    return "…" + name


def baseline_text(picture: Picture) -> str:
    """What the trained network does untouched, with its n; of a language model its loss and perplexity too."""
    baseline = picture.baseline
    if baseline is None:
        return "trained network: not measured yet"
    interval = "" if baseline.exact else f" [{100 * baseline.low:.2f}, {100 * baseline.high:.2f}]"
    error = f"test error {100 * baseline.error:.2f} %{interval}"
    if picture.language:
        error = next_token_text(error, baseline.loss)
    return f"trained network: {error}, n = {baseline.n:,}"


def state_text(picture: Picture) -> str:
    """The run's state, with how far it is."""
    if picture.status == "complete":
        progress = picture.progress
        if progress.committed < progress.total:
            return f"complete, of this probe {progress.committed:,}/{progress.total:,} cells"
        return "complete" if picture.exact else f"complete, {progress.exact:,}/{progress.total:,} exact"
    epochs = picture.history[-1].epoch if picture.history else 0
    if picture.run.checkpoints[-1] not in picture.committed:
        return f"{picture.status}, epoch {epochs} of {picture.run.epochs}"
    return f"{picture.status}, {picture.wanted() - picture.missing():,}/{picture.wanted():,} cells"


def precision_text(picture: Picture) -> str:
    """How exact the picture is: how many cells saw all examples, and how wide the widest other interval is."""
    progress = picture.progress
    if not progress.committed:
        return ""
    text = f"{progress.exact:,} of {progress.total:,} cells exact" if not picture.exact else (
        f"all {progress.total:,} cells exact")  # fmt: skip
    if progress.committed < progress.total:
        text += f", {progress.total - progress.committed:,} not measured"
    if progress.widest is not None:
        text += f"; widest interval ±{100 * progress.widest:.1f} points"
    return text


def fallback_text(fallbacks: Sequence[Fallback]) -> str:
    """Which layers are not replayed and why, those of one reason together; empty if all are."""
    by_reason: dict[str, dict[str, list[str]]] = {}
    for fallback in fallbacks:
        by_reason.setdefault(fallback.reason, {}).setdefault(fallback.layer, []).append(fallback.kind)
    parts = []
    for reason, layers in by_reason.items():
        names = [inert(name) + (f" [{', '.join(kinds)}]" if all(kinds) else "") for name, kinds in layers.items()]
        parts.append(f"{listed(names)} ({inert(reason)})")
    return f"measured by full forwards: {'; '.join(parts)}" if parts else ""


def batchwise_text(picture: Picture) -> str:
    """Which layers were not replayed on some batches though they can be, and why; empty if there are none."""
    known = {(fallback.layer, fallback.kind) for fallback in picture.fallbacks}
    found: dict[tuple[str, str, str], Fallback] = {}
    for (layer, column), cell in picture.cells.items():
        if layer is None or not cell.reason:
            continue
        name, kind = picture.layer_names[layer], picture.columns[column].kind
        if not known & {(name, kind), (name, "")}:
            found.setdefault((name, kind, cell.reason), Fallback(name, kind, cell.reason))
    said = fallback_text(list(found.values()))
    return said.replace("measured by full forwards", "measured by full forwards in part", 1)


def unavailable_text(picture: Picture) -> str:
    """Which layers lack a checkpoint that was imported, and why; empty if none does."""
    reasons = {layer: reason for (layer, _), reason in picture.probe.unavailable.items() if layer is not None}
    parts = [f"{inert(picture.layer_names[layer])} ({inert(reason)})" for layer, reason in reasons.items()]
    return f"not available: {'; '.join(parts[:NAMED])}" if parts else ""


def listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
