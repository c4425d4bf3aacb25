"""Specs in words: what a resolved one says, and what would become of it. Plain values in, text out.

A resolved spec is the JSON of `lyrx batch --dry-run --json`: every default written out, but data from a file all the
same, so that nothing here believes its shape.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from ...store import inert

_SAID_ELSEWHERE = {"name", "weights", "root", "seed"}
_MOST = 12
"""Checkpoints and columns named before it says how many more."""

_OUTLOOKS = {
    "new": ("●", "good", "a new run"),
    "anew": ("!", "alarm", "replaces the run of this name"),
    "goes on": ("◐", "accent", "goes on"),
    "complete": ("●", "muted", "complete: there is nothing left to do"),
    "being written": ("◑", "working", "is being written"),
    "refused": ("×", "alarm", "refused"),
}
"""A mark, its tone, and words for each state of an outlook."""


@dataclass(frozen=True)
class Checked:
    """What a dry run of one spec said."""

    error: str = ""
    """Why the spec cannot be used at all, in the very words of `lyrx batch`; then there is nothing else."""
    run: str = ""
    state: str = ""
    refused: str = ""
    """Why this store does not take it, although the spec as such is right."""
    epochs_done: int = 0
    trained: bool = False
    columns: tuple[str, ...] = ()
    spec: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def startable(self) -> bool:
        """Whether starting it makes sense."""
        return not self.error and not self.refused and self.state not in ("complete", "")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Checked":
        """One entry of `lyrx batch --dry-run --json`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            run=str(value["run"]),
            state=str(value["state"]),
            refused=str(value["error"] or ""),
            epochs_done=int(value["epochs_done"]),
            trained=bool(value["trained"]),
            columns=tuple(map(str, value["columns"])),
            spec=dict(value["spec"]),
            notes=tuple(map(str, value["notes"])),
        )


def facts(spec: Mapping[str, Any], columns: Sequence[str]) -> list[tuple[str, str]]:
    """A resolved spec in short: network, data, training, checkpoints, probe; text made harmless."""
    model, data, train, probe = (_section(spec, name) for name in ("model", "data", "train", "probe"))
    found = [("network", _with_keys(model)), ("data", _with_keys(data))]
    if train.get("imported"):
        found.append(("train", f"nothing: {len(train['imported'])} checkpoints come from files"))
    else:
        found.append(("train", _training(train)))
    if model.get("weights"):
        found.append(("from", inert(str(model["weights"]))))
    found.append(("keeps", f"checkpoints {_listed(train.get('checkpoints') or ())}"))
    measured = f"{inert(str(probe.get('granularity')))}s: {_listed(columns)}"
    if any(column in ("random", "shuffle") or column.startswith("noise") for column in columns):
        measured += f"; {probe.get('draws')} draws"
    measured += "; exact" if probe.get("exact") else ""
    found.append(("probe", measured))
    return found


def outlook_text(checked: Checked, store: str) -> Text:
    """One line: what run it makes, or what becomes of the one that is there."""
    mark, tone, words = _OUTLOOKS.get(checked.state, ("?", "alarm", inert(checked.state)))
    text = Text.assemble((f"{mark} ", tone), (inert(checked.run), "accent bold"), "  ", (words, tone))
    if checked.state == "goes on":
        text.append(_goes_on(checked), "muted")
    if checked.state in ("new", "anew"):
        text.append(f" in {inert(store)}", "muted")
    return text


def _goes_on(checked: Checked) -> str:
    epochs = _section(checked.spec or {}, "train").get("epochs")
    if checked.trained:
        return ": it is trained, cells are missing"
    return f" after epoch {checked.epochs_done} of {epochs}"


def checked_text(checked: Checked, store: str, width: int = 80) -> Text:
    """All of it: the outlook, what the spec says, what is missing; or the error, with its place and hint.

    What is said of the spec hangs behind its labels in `width` columns.
    """
    if checked.error:
        return Text.assemble(("× not a spec that can be used\n", "alarm bold"), inert(checked.error, keep="\n"))
    text = outlook_text(checked, store)
    if checked.refused:
        text.append(f"\n{inert(checked.refused)}", "alarm")
    for note in checked.notes:
        text.append(f"\n! {inert(note)}", "alarm")
    for label, value in facts(checked.spec or {}, checked.columns):
        text.append(f"\n{label:<9}", "muted")
        text.append(f"\n{' ' * 9}".join(textwrap.wrap(value, max(12, width - 9))))
    return text


def _section(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = spec.get(name)
    return found if isinstance(found, Mapping) else {}


def _with_keys(section: Mapping[str, Any]) -> str:
    """A model or a data set: its name, the keys that say something, and where it is."""
    keys = [
        f"{key} {_plain(value)}"
        for key, value in section.items()
        if key not in _SAID_ELSEWHERE and value not in (None, False, {}, [], "", "none")
    ]
    where = f" in {section['root']}" if section.get("root") else ""
    return inert(" · ".join([f"{section.get('name')}{where}", *keys]))


def _training(train: Mapping[str, Any]) -> str:
    schedule = train.get("schedule")
    if schedule == "steps":
        fall = (
            f", × {_plain(train.get('gamma'))} after {_listed(train['milestones'])}" if train.get("milestones") else ""
        )
    else:
        fall = f", {schedule}"
    parts = [
        f"{train.get('epochs')} epochs",
        f"batch {train.get('batch_size')}",
        f"{train.get('optimizer')}, lr {_plain(train.get('lr'))}{fall}",
    ]
    if train.get("precision") not in (None, "no"):
        parts.append(str(train["precision"]))
    return inert(" · ".join(parts))


def _plain(value: Any) -> str:
    if value is True:
        return "yes"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(map(str, values[:_MOST]))
    return inert(shown + (f" and {len(values) - _MOST} more" if len(values) > _MOST else ""))
