"""`lyrx batch`: specs carried out to their end, from where they stopped."""

import contextlib
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from ..store import Cell, DamagedError, LyrxError, NotCommittedError, Probe, Run, Store, inert
from .distances import commit_distances
from .errors import RunConflictError, RunFailedError, SpecError
from .events import CellCommitted, Observer, ProbeOpened, RunClosed, RunOpened
from .prepare import Prepared, prepare, refuse_conflict
from .session import Session
from .spec import Spec
from .team import Team, processes


def run_batch(specs: Sequence[Spec], store_path: Path, *, fresh: bool, observer: Observer) -> None:
    """Train and probe every spec into the store at `store_path`.

    All specs are checked before the first is begun.  Raises LyrxError: exit_code 2 before anything was written, 1 when
    a run failed.  Other processes of a team do their part and write nothing.
    """
    devices = sorted({spec.run.device for spec in specs})
    if len(devices) > 1:
        raise SpecError(f"specs of one call must compute on one device; run.device is {' and '.join(devices)}.")
    prepared = [prepare(spec) for spec in specs]
    _check_names(prepared)
    if Store.something_at(store_path):
        _check_store(Store.open(store_path), prepared, fresh)
    team = Team(specs[0].run.device) if processes() > 1 else None
    try:
        for one in prepared:
            if team is None and not _is_trained(store_path, one, fresh):
                team = Team(one.spec.run.device)
            _carry_out(_Job(one, store_path, fresh, observer, team), one.spec.run.name)
    finally:
        if team is not None:
            team.close()


def _carry_out(job: "_Job", name: str) -> None:
    try:
        job.carry_out()
    except (LyrxError, OSError):
        raise
    except Exception as error:  # a network's own code, a driver, memory that does not suffice
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise RunFailedError(
            f"run '{inert(name)}' failed: {type(error).__name__}: {inert(str(error))} "
            f"({where.filename}, line {where.lineno}). What was finished is kept."
        ) from error


class _Job:
    """One spec on its way."""

    def __init__(self, prepared: Prepared, store_path: Path, fresh: bool, observer: Observer, team: Team | None):
        self._prepared, self._fresh, self._team = prepared, fresh, team
        self._store_path = store_path
        self._first = team is None or team.first
        self._observer: Observer = observer if self._first else lambda event: None
        self._worked = False
        self._start = time.perf_counter()

    def carry_out(self) -> None:
        name = self._prepared.spec.run.name
        with contextlib.ExitStack() as held:
            run = self._lead(lambda: self._open(held))
            run = run or Store.open(self._store_path).run(name)
            if not self._agreed(run.trained):
                self._train(run)
            if self._first:
                run.resume.drop()  # a run that was killed just before it would have done so itself
                probe = self._probe(run)
                self._observer(RunClosed(run, probe.info.id, self._worked, time.perf_counter() - self._start))
        if self._team is not None:
            self._team.wait()

    def _lead(self, action):
        return action() if self._team is None else self._team.lead(action)

    def _agreed(self, value: bool) -> bool:
        return value if self._team is None else self._team.tell(value)

    def _open(self, held: contextlib.ExitStack) -> Run:
        """The run, made if need be, with its writer's lock held until `held` closes."""
        store, info = Store.open_or_create(self._store_path), self._prepared.run
        if self._fresh and info.name in store:
            store.delete_run(info.name)
        created = info.name not in store
        run = store.create_run(info, self._prepared.probe) if created else store.run(info.name)
        held.enter_context(run.writing("batch"))
        refuse_conflict(run, self._prepared)
        epochs, _ = run.history.read()
        team = self._team
        self._observer(
            RunOpened(
                run.name,
                created,
                info.epochs if run.trained else max((metrics.epoch for metrics in epochs), default=0),
                info.epochs,
                str(team.device) if team else "",
                team.size if team else 1,
                self._prepared.probe.skipped,
            )
        )
        return run

    def _train(self, run: Run) -> None:
        from .train import Trainer

        assert self._team is not None
        self._worked = True
        Trainer(run, self._prepared.spec, self._prepared.data, self._team, self._observer).train()

    def _probe(self, run: Run) -> Probe:
        probe = run.create_probe(self._prepared.probe)
        committed, damaged = commit_distances(run, probe)
        todo = probe.missing()
        self._worked |= bool(committed or todo)
        if todo:
            damaged += carry_out_plan(run, probe, todo, self._prepared, self._observer)
        if damaged:
            raise RunFailedError(
                f"run '{inert(run.name)}' could not be probed wholly; all that does not need what is damaged is "
                f"measured. {damaged[0]}"
            )
        return probe


def carry_out_plan(
    run: Run, probe: Probe, todo: Sequence[Cell], prepared: Prepared, observer: Observer
) -> list[LyrxError]:
    """Measure and commit the cells `todo`, then make sure that the network is still the trained one.

    Returns what was damaged: cells that need it are left out, the others are measured.
    """
    damaged: list[LyrxError] = []
    info = probe.info
    observer(ProbeOpened(run.name, info.id, len(todo), len(info.all_cells())))
    session = Session(run, probe, prepared.spec, prepared.data)
    for done, cell in enumerate(todo, start=1):
        try:
            measured = session.commit(cell)
        except (DamagedError, NotCommittedError) as error:
            damaged.append(error)
            continue
        layer = "whole network" if cell.layer is None else info.layers[cell.layer].name
        column = info.columns[cell.column].label
        observer(CellCommitted(run.name, layer, column, measured.estimate.error, done, len(todo), measured.seconds))
    session.verify()
    return damaged


def _is_trained(store_path: Path, prepared: Prepared, fresh: bool) -> bool:
    if fresh or not Store.something_at(store_path):
        return False
    store, name = Store.open(store_path), prepared.spec.run.name
    return name in store and store.run(name).trained


def _check_store(store: Store, prepared: Sequence[Prepared], fresh: bool) -> None:
    if fresh:
        return
    for one in prepared:
        if one.run.name in store:
            refuse_conflict(store.run(one.run.name), one)


def _check_names(prepared: Sequence[Prepared]) -> None:
    seen: set[str] = set()
    for one in prepared:
        if one.run.name in seen:
            raise RunConflictError(f"two of the specs are called '{one.run.name}' (run.name). Name them apart.")
        seen.add(one.run.name)
