"""What `lyrx batch` would do with a spec, found out in half a second: `lyrx batch --dry-run`.

Nothing is written, no data are read and no network is built, so no torch is needed.  What only those can tell (labels
out of range, a network that does not fit its data, layers that no pattern
matches) is still refused when the run begins.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ..store import LyrxError, Run, RunLockedError, Store, StoreNotWritableError, inert
from ..store.layout import folder_name
from .conflicts import refuse_other_spec, refuse_together
from .spec import Spec, identity

State = Literal["new", "anew", "goes on", "complete", "being written", "refused"]


@dataclass(frozen=True)
class Outlook:
    """What would become of one spec in one store."""

    run: str
    state: State
    """No such run yet; it would be replaced (--fresh); it would go on; nothing would be left to do; a living process
    writes it; it would be refused."""
    epochs_done: int
    """Of the run that is there already."""
    trained: bool
    columns: tuple[str, ...]
    """Labels of the columns of its heatmap."""
    spec: dict[str, Any]
    """Every default written out."""
    notes: tuple[str, ...]
    """What would end it as soon as it begins: files that are not there."""
    error: LyrxError | None = None
    """Why it would be refused, also because of a living writer."""

    def to_json(self) -> dict[str, Any]:
        """Plain values: `lyrx batch --dry-run --json`."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**found, "error": None if self.error is None else str(self.error)}


def outlooks(specs: Sequence[Spec], store_path: Path, *, fresh: bool) -> list[Outlook]:
    """One for each spec.  Raises LyrxError for what is wrong with all of them: the store, two specs of one name."""
    refuse_together(specs)
    for spec in specs:
        folder_name(spec.run.name)
    store = Store.open(store_path) if Store.something_at(store_path) else None
    _refuse_unwritable(store_path)
    return [_outlook(spec, store, fresh) for spec in specs]


def _refuse_unwritable(path: Path) -> None:
    """Raises StoreNotWritableError where the first file could not be made."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    for folder in (there, there / "runs"):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise StoreNotWritableError(f"cannot write {folder}: permission denied. Check its permissions.")


def _outlook(spec: Spec, store: Store | None, fresh: bool) -> Outlook:
    resolved = spec.resolved()
    state: State = "new"
    done, trained = 0, False
    refused: LyrxError | None = None
    if store is not None and spec.run.name in store:
        try:
            run = store.run(spec.run.name)
            if not fresh:
                done, trained = _epochs(run), run.trained
                refuse_other_spec(run, resolved)
            state = "anew" if fresh else "complete" if _complete(run, spec, resolved) else "goes on"
            if (writer := run.writer()) is not None:
                state = "being written"
                refused = RunLockedError(f"run '{inert(run.name)}' is being written by {writer}.")
        except LyrxError as error:
            state, refused = ("anew", None) if fresh else ("refused", error)
    columns = tuple(column.label for column in spec.columns())
    notes = () if trained else tuple(_absent(spec))
    return Outlook(spec.run.name, state, done, trained, columns, resolved, notes, refused)


def _epochs(run: Run) -> int:
    return max((index[0] for index in run.history.rows.commits.indices()), default=0)


def _complete(run: Run, spec: Spec, resolved: dict[str, Any]) -> bool:
    """Whether the run has a probe of these settings and columns, with nothing left to measure."""
    wanted = _telling(resolved["probe"])
    for probe in reversed(run.probes()) if run.trained else ():
        if set(probe.info.columns) == set(spec.columns()) and _telling(probe.info.settings) == wanted:
            return not probe.unfinished(exact=spec.probe.exact)
    return False


def _telling(settings: Any) -> dict[str, Any]:
    """The settings of a probe that say what is measured, besides its columns."""
    kept = identity({"probe": dict(settings)}, ("probe",))["probe"]
    return {key: value for key, value in kept.items() if key not in ("at", "checkpoints", "draws")}


def _absent(spec: Spec) -> Iterator[str]:
    """Files and folders that the spec names and that are not there."""
    data = [] if getattr(spec.data, "download", False) else [("data.root", getattr(spec.data, "root", None))]
    imported = [(f"train.imported.{epoch}", path) for epoch, path in spec.train.imported.items()]
    named = [*data, ("model.weights", spec.model.weights), *imported]
    for key, path in named:
        if isinstance(path, str) and os.path.isabs(path) and not os.path.exists(path):
            yield f"{key}: there is no {path}"
