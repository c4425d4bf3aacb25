"""`lyrx batch`: specs carried out to their end, from where they stopped."""

import contextlib
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..store import Cell, LyrxError, Probe, Run, Store, change_settings, inert
from .baselines import take_from_another
from .conflicts import refuse_together
from .device import choose_device
from .distances import commit_distances
from .errors import RunFailedError
from .events import (
    BaselineProgress,
    LayerFellBack,
    LookProgress,
    Noted,
    Observer,
    PictureSharpened,
    ProbeOpened,
    RunClosed,
    RunOpened,
    WeightsRead,
)
from .prepare import Prepared, prepare, probe_of, refuse_conflict
from .session import Session
from .sharing import Alone, Shared
from .spec import Spec
from .team import Team, processes
from .trust import Fallback


def run_batch(specs: Sequence[Spec], store_path: Path, *, fresh: bool, observer: Observer) -> None:
    """Train and probe every spec into the store at `store_path`.

    All specs are checked before the first is begun.  Raises LyrxError: exit_code 2 before anything was written, 1 when
    a run failed.  Other processes of a team do their part and write nothing.
    """
    refuse_together(specs)
    with _team(specs[0].run.device) as team, contextlib.ExitStack() as ending:
        prepared = [prepare(spec, _before(store_path, spec, fresh)) for spec in specs]
        if Store.something_at(store_path):
            _check_store(Store.open(store_path), prepared, fresh)
        if team is not None:
            team.wait()  # until all have looked, before the first one changes anything
        for one in prepared:
            if team is None and not _is_trained(store_path, one, fresh):
                team = Team(one.spec.run.device)
                ending.callback(team.close)
            with _failures_of(one.spec.run.name):
                _Job(one, store_path, fresh, observer, team).carry_out()


def run_probe(store_path: Path, name: str, overrides: Mapping[str, Any], *, observer: Observer) -> Probe:
    """Measure what is missing of a trained run's probe: that of its spec, with `{"probe.at": ["zero"]}` replaced.

    Raises LyrxError: exit_code 2 before anything was written, 1 when the run could not be probed wholly.
    """
    start = time.perf_counter()
    run = Store.open(store_path).run(name)
    with _failures_of(run.name):
        prepared = probe_of(run, overrides)
    with _team(prepared.spec.run.device) as team, _failures_of(run.name):
        first = team is None or team.first
        seen: Observer = observer if first else lambda event: None
        with contextlib.ExitStack() as held:
            (team.lead if team else lambda action: action())(lambda: _begin(run, "probe", held))
            epochs, size = run.info.epochs, team.size if team else 1
            seen(RunOpened(run.name, False, epochs, epochs, "", size, prepared.probe.skipped))
            probe, worked = _probed(run, prepared, seen, team)
        seen(RunClosed(run, probe.info.id, worked, time.perf_counter() - start))
    return probe


@contextlib.contextmanager
def _team(device: str) -> Iterator[Team | None]:
    """The processes that the launcher started, where it started several: what ends one of them ends all."""
    if processes() == 1:
        yield None
        return
    team = Team(device)
    try:
        with team.ending_together():
            yield team
    finally:
        team.close()


@contextlib.contextmanager
def _failures_of(name: str) -> Iterator[None]:
    """Turn what a network's own code, a driver or scarce memory raises into RunFailedError."""
    try:
        yield
    except (LyrxError, OSError):
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise RunFailedError(
            f"run '{inert(name)}' failed: {type(error).__name__}: {inert(str(error))} "
            f"({where.filename}, line {where.lineno}). What was finished is kept."
        ) from error


def _begin(run: Run, purpose: str, held: contextlib.ExitStack, check: Callable[[], None] = lambda: None) -> None:
    """Hold the run's lock until `held` closes, and keep in the store what ends the work before its end.

    What `check` raises is not kept: nothing has begun then.
    """
    held.enter_context(run.writing(purpose))
    check()
    run.failure.clear()
    held.enter_context(run.failure.kept(run.stage))


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
            self._lead(run.resume.drop)  # a run that was killed just before it would have done so itself
            probe, worked = _probed(run, self._prepared, self._observer, self._team)
            took = time.perf_counter() - self._start
            self._observer(RunClosed(run, probe.info.id, self._worked or worked, took))

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
        run = (
            store.create_run(info, self._prepared.probe, self._prepared.data.files) if created else store.run(info.name)
        )
        _begin(run, "batch", held, lambda: refuse_conflict(run, self._prepared))
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
        if self._prepared.data.note:
            self._observer(Noted(run.name, self._prepared.data.note))
        if created and (start := info.origins.get("start")):
            told = start["file"], tuple(start["absent"]), tuple(start["notes"])
            self._observer(WeightsRead(run.name, "start", *told, math.nan))
        return run

    def _train(self, run: Run) -> None:
        from .importing import import_checkpoints
        from .train import Trainer

        assert self._team is not None
        self._worked = True
        spec, data = self._prepared.spec, self._prepared.data
        if spec.train.imported:
            import_checkpoints(run, spec, data, self._team, self._observer)
        else:
            Trainer(run, spec, data, self._team, self._observer).train()


def _probed(run: Run, prepared: Prepared, observer: Observer, team: Team | None) -> tuple[Probe, bool]:
    """The run's probe, made if need be, with all that was missing measured; and whether anything was.

    Every process of a team calls it.
    """
    lead = team.lead if team else lambda action: action()
    tell = team.tell if team else lambda value: value
    damaged: list[LyrxError] = []

    def open_probe() -> tuple[Probe, int]:
        probe = change_settings(run.create_probe(prepared.probe), prepared.probe.settings)
        take_from_another(run, probe, choose_device(prepared.spec.run.device).type)
        committed, broken = commit_distances(run, probe)
        damaged.extend(broken)
        return probe, len(committed) if isinstance(committed, list) else int(committed)

    opened = lead(open_probe)
    todo = tell(opened[0].unfinished() if opened else None)
    probe = opened[0] if opened else run.probe(prepared.probe.id)
    if todo:
        damaged += carry_out_plan(run, probe, todo, prepared, observer, team)
    if damaged:
        raise RunFailedError(_not_wholly(run, damaged))
    return probe, bool((opened and opened[1]) or todo)


def _not_wholly(run: Run, errors: Sequence[LyrxError]) -> str:
    told = list(dict.fromkeys(map(str, errors)))
    more = f" And {len(told) - 1} more of this kind." if len(told) > 1 else ""
    return f"run '{inert(run.name)}' could not be probed wholly; all other cells are measured. {told[0]}{more}"


def carry_out_plan(
    run: Run,
    probe: Probe,
    todo: Sequence[Cell],
    prepared: Prepared,
    observer: Observer,
    team: Team | None = None,
) -> list[LyrxError]:
    """Measure and commit the cells `todo`, then make sure that the network is still the trained one.

    The processes of `team` do it together.
    Returns why cells could not be measured (what they need is damaged, the network fails with them); the others are.
    """
    damaged: list[LyrxError] = []
    info = probe.info
    observer(ProbeOpened(run.name, info.id, len(todo), len(info.all_cells())))

    def fell_back(fallback: Fallback) -> None:
        observer(LayerFellBack(run.name, fallback.row, fallback.kind, fallback.reason))

    start = time.perf_counter()
    sharing = Shared(team) if team and team.size > 1 else Alone()

    def baseline(seen: int, of: int) -> None:
        observer(BaselineProgress(run.name, info.id, seen, of))

    with Session(run, probe, prepared.spec, prepared.data, fell_back, sharing, baseline) as session:
        if session.note:
            observer(Noted(run.name, session.note))

        def progress(seen: int, share: float) -> None:
            took = time.perf_counter() - start
            observer(LookProgress(run.name, info.id, seen, session.total, len(todo), took, share))

        looks = session.measure(todo, on_error=lambda cell, error: damaged.append(error), on_progress=progress)
        for number, look in enumerate(looks, start=1):
            observer(
                PictureSharpened(
                    run.name,
                    info.id,
                    number,
                    look.seen,
                    session.total,
                    len(look.cells),
                    look.finished,
                    look.todo,
                    look.decided,
                    time.perf_counter() - start,
                    look.share,
                )
            )
    if team is not None:
        team.wait()  # until all have committed their cells, and found the network as it should be
    return damaged


def _before(store_path: Path, spec: Spec, fresh: bool) -> Run | None:
    """The run of this spec, if it is there already."""
    if fresh or not Store.something_at(store_path):
        return None
    store = Store.open(store_path)
    return store.run(spec.run.name) if spec.run.name in store else None


def _is_trained(store_path: Path, prepared: Prepared, fresh: bool) -> bool:
    run = _before(store_path, prepared.spec, fresh)
    return run is not None and run.trained


def _check_store(store: Store, prepared: Sequence[Prepared], fresh: bool) -> None:
    if fresh:
        return
    for one in prepared:
        if one.run.name in store:
            refuse_conflict(store.run(one.run.name), one)
