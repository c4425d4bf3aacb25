"""A warm measuring session: one run's network and data on the device, ready for any cell.

`lyrx batch` and `lyrx probe` carry out whole plans with it, the worker single cells; all commit to the store.
"""

import time
from collections.abc import Callable, Generator, Sequence

import numpy as np
import torch

from ..store import (
    PATH,
    REINITIALISE,
    Cell,
    DamagedError,
    Estimate,
    LyrxError,
    NotCommittedError,
    Probe,
    Run,
    inert,
)
from ..store import (
    Baseline as StoredBaseline,
)
from ..store.notes import BATCHES
from ..store.stopping import Rule, rule_of
from ..store.verdict import verdict
from .building import build_model
from .cells import Cells
from .data.base import DataSet
from .device import choose_device, slow_arithmetic
from .errors import INSTEAD, RestoreError, RunConflictError
from .examples import First, Ordered, held_out_examples, order_of, training_examples
from .forwards import Forwards, Row
from .interventions import Interventions
from .looks import COMMIT_EVERY, Look, Writer, estimate_of, facts_of, tally_of
from .memory import BatchSize, choose_batch_size
from .norms import norm_batches
from .precision import Precision
from .renorm import Renormer
from .replay.replayer import Arguments
from .seeds import derive
from .sharing import Alone, Sharing
from .sources import StoreSource
from .spec import ProbeSection, Spec
from .specfile import stored_spec
from .state import load_arrays, named_tensors, to_array
from .sweep import CHECKED, AfterCell, Sweep, Work
from .tallies import Baseline, Tally
from .tasks import TASKS
from .trained import measure_baseline
from .trust import Fallback
from .variants import Residents

SAME_ERROR = 0.005
"""How far the rebuilt network's error may lie from the one measured in training: another device rounds otherwise."""

_NETWORK = "whole network"

_TELL_EVERY = 0.5
"""Seconds between two words on how far a look is."""


def _raise(cell: Cell, error: LyrxError) -> None:
    raise error


class Session:
    """The trained network of `run`, and the examples that `probe` is measured on. Close it when done.

    Raises NotCommittedError when the run is not trained, RunConflictError when its data are not those it was made
    from, and what loading data and building models raise.  `spec` and `data` are the run's own, where the caller has
    read them already; `on_fallback` hears which layers are not replayed, and why, once that is in the store.  Where the
    trained network is not known on all examples yet, `on_baseline(seen, of)` hears how far that has come after each
    batch, and may raise CancelledError.
    """

    def __init__(
        self,
        run: Run,
        probe: Probe,
        spec: Spec | None = None,
        data: DataSet | None = None,
        on_fallback: Callable[[Fallback], None] = lambda fallback: None,
        sharing: Sharing | None = None,
        on_baseline: Callable[[int, int], None] = lambda seen, of: None,
    ):
        if not run.trained:
            raise NotCommittedError(
                f"run '{run.name}' is not trained: its final checkpoint {run.checkpoints.final} is not in the store. "
                "Finish it with `lyrx batch`."
            )
        spec = spec or stored_spec(run.info.spec, run.name, {})
        self.run, self.probe = run, probe
        self.device = choose_device(spec.run.device)
        data = data or spec.data.load_again(run)
        if data.fingerprint != run.info.data_facts.get("fingerprint"):
            raise RunConflictError(
                f"run '{run.name}' was made from other data than the data set '{spec.data.name}' holds now. "
                "Put the old data back, or make the run anew with --fresh."
            )
        # What the probe was made with, whatever the run's spec says of probing by now.
        self.settings = ProbeSection.model_validate(dict(probe.info.settings))
        seed, shape, classes = spec.run.seed, data.shape, data.classes
        source = StoreSource(run, lambda drawn: build_model(spec.model, shape, classes, drawn))
        self._interventions = Interventions(source, probe.info, seed)
        self.model = build_model(spec.model, shape, classes, derive(seed, "init"))
        load_arrays(self.model, run.checkpoints.tensors, run.checkpoints.read(run.checkpoints.final))
        self.model.to(self.device).eval().requires_grad_(False)
        # Each process looks at what the first one does, whatever its own file system shows by now.
        self._sharing = sharing or Alone()
        self._stored = self._sharing.tell(_whole_baseline(probe) if self._sharing.rank == 0 else None)
        self._measured_anew = self._stored is None
        self._judge = TASKS[data.task].judge
        order = self._stored.order if self._stored else order_of(len(data.test_inputs), seed)
        self._order = order
        self._doubted = {(fallback.layer, fallback.kind) for fallback in probe.fallbacks()}
        self._on_fallback, self._on_baseline = on_fallback, on_baseline
        self._batches = Ordered(held_out_examples(data, self.device), order)
        self.total = len(order)
        self.forwards = Forwards(
            self.model,
            Precision(self.settings.precision, self.device),
            replay=self.settings.evaluator == "replay",
            on_fallback=self._fell_back,
            on_trusted=self._trusted,
        ).__enter__()
        try:
            self._open(data, spec)
        except BaseException:
            self.close()
            raise

    def _open(self, data: DataSet, spec: Spec) -> None:
        """All that needs the network to be attached already."""
        self.forwards.prepare(self._batches.between(0, min(CHECKED, self.total))[0])
        size = self.settings.batch_size
        rows = [Row(layer.name, layer.tensors) for layer in self.probe.info.layers]
        size = size or choose_batch_size(self.forwards, rows, self.device, self.settings.memory_bytes)
        self.batch_size = BatchSize(min(self._sharing.collect(size)))
        self._residents = Residents(self.forwards.swap, self.device, self.settings.memory_bytes)
        renormer = None
        if self.settings.norm_statistics == "reestimated":
            count, size = self.settings.norm_batches, spec.train.batch_size
            chosen = norm_batches(spec.run.seed, len(data.train_inputs), count, size)
            # Only these are kept, or decoded; from here on they go by their places among themselves.
            training = training_examples(data, self.device, only=torch.cat(chosen).numpy())
            batches = torch.arange(len(training)).split([len(batch) for batch in chosen])
            renormer = Renormer(self.forwards, lambda places: Arguments((training.take(places)[0],)), batches)
        network = Row(_NETWORK, tuple(self.run.checkpoints.tensors))
        self._cells = Cells(self.probe.info, rows, self._interventions, self._residents, renormer, network)
        self._baseline = self._known_baseline() if self._stored else self._new_baseline()

    def close(self) -> None:
        """Take everything off the network again."""
        self.forwards.__exit__()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def note(self) -> str:
        """What a user should know of how examples are kept, their batches, the arithmetic; '' when there is nothing."""
        slow = slow_arithmetic(self.device, "probe.precision", self.settings.precision)
        return "; ".join(filter(None, [self._batches.note, self.forwards.mixes, slow]))

    @property
    def examples(self) -> int:
        """How many examples a cell sees at most."""
        return min(self.settings.examples or self.total, self.total)

    def measure(
        self,
        cells: Sequence[Cell],
        *,
        exact: bool = False,
        again: bool = False,
        after_cell: AfterCell = lambda work, seen: None,
        on_error: Callable[[Cell, LyrxError], None] = _raise,
        on_progress: Callable[[int, float], None] = lambda seen, share: None,
        commit_every: float = COMMIT_EVERY,
    ) -> Generator[Look, None, None]:
        """Measure `cells` until the probe's rule is content with them, or with `exact` to the end of the data.

        The caller holds the run's writer's lock.  Cells go on from what is committed, unless `again`.  Those that have
        ended are committed before their look is yielded, the others every `commit_every` seconds.
        `after_cell(work, examples seen)` may raise CancelledError: what was seen until then is committed first.  Cells
        whose checkpoint is damaged, or with which the network's own code fails, are left out; `on_error` hears of each.
        However it ends, the network is verified then: raises RestoreError.
        `on_progress(examples seen, share of the work)` hears at least every second how far a look is.
        """
        rank, size = self._sharing.rank, self._sharing.size
        if rank == 0:
            self.commit_baseline()
        works = self._works(cells, again)
        writer = Writer(self.probe, self._row_of, rank, size, commit_every)
        known = [cell for cell in cells if self._is_trained(cell)]
        writer.trained(known, self.baseline_estimate())
        rule = rule_of(self.probe.info.settings, exact=exact)
        sweep = Sweep(self.forwards, self._batches, self._baseline, rule, self.batch_size, self._judge, self._sharing)

        told: set[Cell] = set()
        touched: dict[Cell, Work] = {}
        spoke = time.monotonic()

        def and_commit(work: Work, seen: int) -> None:
            nonlocal spoke
            touched[work.key] = work
            writer.changed(work)
            if time.monotonic() - spoke > _TELL_EVERY:
                spoke = time.monotonic()
                on_progress(seen, self._share(works, len(known), rule))
            if writer.due:
                sweep.judge(writer.waiting)
                writer.write(durable=False)
            after_cell(work, seen)

        try:
            for group in sweep.run(works, self.examples, and_commit):
                for work in group:
                    writer.changed(work)
                    if work.ended:
                        self._residents.drop(work.key)
                    if work.failure is not None:
                        on_error(work.key, work.failure)
                touched.clear()
                ended = [(cell, 0.0) for cell in known if cell not in told]
                ended += [(work.key, work.seconds) for work in works if work.ended and work.key not in told]
                if ended or writer.due or not writer.written:
                    writer.write(durable=False)
                told.update(cell for cell, _ in ended)
                yield self._look(group, works, known, ended, rule)
            if not told:  # all of them are as they should be
                ended = [(cell, 0.0) for cell in known] + [(work.key, work.seconds) for work in works]
                yield self._look([], works, known, ended, rule)
        finally:
            for work in touched.values():  # a GPU's numbers are counted when their batch ends, also after a cancel
                writer.changed(work)
            sweep.judge(writer.waiting)
            writer.write(durable=True)
            for work in works:
                self._residents.drop(work.key)
            # However it ended: a cancel, or code of the network's that failed, may have come anywhere in between.
            if works:
                self.verify()

    def commit_baseline(self) -> None:
        """Commit what all cells are compared with, if it is not in the store yet, and what to know of all of them."""
        if self._stored is None:
            baseline = self._baseline
            seen = baseline.prediction.cpu().numpy()
            prediction = np.empty_like(seen)
            prediction[self._order] = seen
            loss = baseline.loss * self.total
            self.probe.write_baseline(self._order, prediction, baseline.errors, loss, device=self.device.type)
            self._stored = self.probe.read_baseline()
        if self.forwards.mixes:
            self.probe.write_note(BATCHES, self.forwards.mixes)

    def verify(self) -> None:
        """Is the network on the device still the trained one, bit for bit? Raises RestoreError."""
        live = named_tensors(self.model)
        stored = self.run.checkpoints.read(self.run.checkpoints.final)
        wrong = [name for name, array in stored.items() if to_array(live[name]).tobytes() != array.tobytes()]
        if wrong:
            names = inert(", ".join(wrong[:5]))
            raise RestoreError(f"after probing, the network is no longer the trained one: {names} differ. {INSTEAD}")

    def _look(
        self,
        group: Sequence[Work],
        works: Sequence[Work],
        known: Sequence[Cell],
        ended: Sequence[tuple[Cell, float]],
        rule: Rule,
    ) -> Look:
        error = self._baseline.error
        decided = sum(verdict(work.low, work.high, error, rule.tolerance) != "undecided" for work in works)
        return Look(
            cells=tuple(work.key for work in group),
            seen=group[0].tally.seen if group else self.total,
            finished=sum(work.ended for work in works) + len(known),
            todo=len(works) + len(known),
            decided=decided + len(known),
            ended=tuple(ended),
            share=self._share(works, len(known), rule),
        )

    def _share(self, works: Sequence[Work], known: int, rule: Rule) -> float:
        """How much is done. To the end of the data it is known beforehand, else as many cells as have ended."""
        if rule.exact:
            done = sum(1.0 if work.failure else work.tally.seen / self.examples for work in works)
        else:
            done = float(sum(work.ended for work in works))
        return (done + known) / max(1, len(works) + known)

    def _works(self, cells: Sequence[Cell], again: bool) -> list[Work]:
        tallies = self._sharing.tell(self._tallies(cells) if self._sharing.rank == 0 and not again else {})
        return [self._cells.work(cell, tallies.get(cell)) for cell in cells if not self._is_trained(cell)]

    def _tallies(self, cells: Sequence[Cell]) -> dict[Cell, Tally]:
        """What is committed of `cells`, as far as it was compared with the baseline that holds now."""
        if self._measured_anew:
            return {}
        known = self.probe.results()
        return {cell: tally_of(known.records[cell], known.estimates[cell]) for cell in cells if cell in known.records}

    def _is_trained(self, cell: Cell) -> bool:
        """Whether a cell puts back what is there: the final checkpoint, which is the baseline."""
        column = self.probe.info.columns[cell.column]
        final = self.run.checkpoints.final
        return (column.kind == REINITIALISE and column.checkpoint == final) or (
            column.kind == PATH and (column.alpha == 1 or column.checkpoint == final)
        )

    def _row_of(self, work: Work) -> tuple[Cell, Estimate, dict[str, object]]:
        """What is committed of a cell."""
        facts = facts_of(work, self.device.type, self._interventions.draw_seed(work.key))
        if self._sharing.size > 1:
            facts["rank"] = self._sharing.rank
        return work.key, estimate_of(work, self.total, self._baseline.parts), facts

    def baseline_estimate(self) -> Estimate:
        """Of the trained network, and of every cell that puts back what is there."""
        error = self._baseline.error
        return Estimate(error, error, error, self._baseline.loss, 1.0, self.total, self.total)

    def _new_baseline(self) -> Baseline:
        baseline = measure_baseline(
            self.forwards,
            self._batches,
            self.batch_size,
            self._judge,
            after_batch=lambda seen: self._on_baseline(seen, self.total),
            sharing=self._sharing,
        )
        trained = self.run.history.at(self.run.checkpoints.final)
        # Fewer bits may give another error: then the store's own weights in full precision are what is compared.
        if trained is not None and self.settings.precision in ("fp32", "tf32"):
            self._compare(baseline.error, trained.test_error)
        return baseline

    def _known_baseline(self) -> Baseline:
        """The committed one, if the network on the device still predicts so."""
        assert self._stored is not None
        stored = self._stored
        prediction = torch.from_numpy(stored.prediction[stored.order]).to(self.device)
        baseline = Baseline(prediction, prediction != self._batches.targets, stored.loss_sum / self.total)
        if baseline.errors != stored.wrong:
            raise RunConflictError(
                f"run '{inert(self.run.name)}': the committed baseline does not fit the data. "
                "Run `lyrx check` on the store."
            )
        few = min(256, self.total)
        now = measure_baseline(self.forwards, First(self._batches, few), self.batch_size, self._judge)
        changed, looked_at = int((now.prediction != prediction[:few]).sum()), now.prediction.numel()
        if changed > max(2, 0.02 * looked_at):
            self._differs(f"predicts otherwise in {changed} of {looked_at} cases")
        return baseline

    def _compare(self, error: float, trained: float) -> None:
        if abs(error - trained) > SAME_ERROR:
            self._differs(
                f"has a test error of {100 * error:.2f} %, the one that was trained had {100 * trained:.2f} %"
            )

    def _fell_back(self, fallback: Fallback) -> None:
        self.probe.write_fallback(fallback.row, fallback.kind, fallback.reason)
        self._on_fallback(fallback)

    def _trusted(self, row: str, kind: str) -> None:
        """Replays of a row were proven right: what an earlier session said of it holds no more."""
        for said in {(row, kind), (row, "")} & self._doubted:
            self.probe.withdraw_fallback(*said)
            self._doubted.discard(said)

    def _differs(self, how: str) -> None:
        if self.forwards.mixes:
            return  # in other batches it does, and the note says so
        raise RunConflictError(
            f"run '{inert(self.run.name)}': the network built from its stored weights {how}. Its model's code has "
            "changed, or it keeps state that is neither a parameter nor a persistent buffer."
        )


def _whole_baseline(probe: Probe) -> StoredBaseline | None:
    try:
        return probe.read_baseline()
    except DamagedError:
        return None  # it is measured anew, and written over
