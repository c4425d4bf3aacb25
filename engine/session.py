"""A warm measuring session: one run's network and data on the device, ready for any cell.

`lyrx batch` carries out a whole plan with it, the worker single cells; both commit to the store.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..store import RERANDOMISE, Cell, Estimate, NotCommittedError, Probe, Run, inert
from .building import build_model
from .data.base import DataSet
from .device import choose_device
from .errors import RestoreError, RunConflictError
from .evaluate import Tally, full_forward
from .examples import held_out_examples
from .intervals import CONFIDENCE, error_interval
from .interventions import Interventions, applied
from .seeds import derive
from .spec import Spec
from .specfile import make_spec
from .state import load_arrays, named_tensors, to_array

SAME_ERROR = 0.005
"""How far the rebuilt network's error may lie from the one measured in training: another device rounds otherwise."""


@dataclass(frozen=True)
class Measured:
    """A cell that was measured and committed."""

    cell: Cell
    estimate: Estimate
    seconds: float


class Session:
    """The trained network of `run`, and the examples that `probe` is measured on.

    Raises NotCommittedError when the run is not trained, RunConflictError when its data are not those it was made
    from, and what loading data and building models raise.  `spec` and `data` are the run's own, where the caller has
    read them already.
    """

    def __init__(self, run: Run, probe: Probe, spec: Spec | None = None, data: DataSet | None = None):
        if not run.trained:
            raise NotCommittedError(
                f"run '{run.name}' is not trained: its final checkpoint {run.checkpoints.final} is not in the store. "
                "Finish it with `lyrx batch`."
            )
        spec = spec or make_spec(dict(run.info.spec), f"the spec stored with run '{run.name}'")
        self.run, self.probe = run, probe
        self.device = choose_device(spec.run.device)
        data = data or spec.data.load()
        if data.fingerprint != run.info.data_facts.get("fingerprint"):
            raise RunConflictError(
                f"run '{run.name}' was made from other data than the data set '{spec.data.name}' holds now. "
                "Put the old data back, or make the run anew with --fresh."
            )
        seed, shape, classes = spec.run.seed, data.shape, data.classes
        self._batch_size = int(probe.info.settings.get("batch_size", 1000))
        self._chosen = choose_examples(len(data.test_inputs), probe.info.settings.get("examples"), seed)
        self.total = len(data.test_inputs)
        self._all = held_out_examples(data, self.device)
        self._examples = self._all if self._chosen is None else self._all.only(self._chosen)
        self._interventions = Interventions(
            run, probe.info, seed, lambda drawn: build_model(spec.model, shape, classes, drawn)
        )
        self.model = build_model(spec.model, shape, classes, derive(seed, "init"))
        load_arrays(self.model, run.checkpoints.tensors, run.checkpoints.read(run.checkpoints.final))
        self.model.to(self.device).eval().requires_grad_(False)
        self._baseline, predictions = full_forward(self.model, self._all, self._batch_size)
        self._check_baseline()
        self._reference = predictions if self._chosen is None else predictions[torch.from_numpy(self._chosen)]

    @property
    def examples(self) -> int:
        """How many examples a cell sees."""
        return len(self._examples)

    def measure(self, cell: Cell, after_batch: Callable[[int], bool] | None = None) -> Estimate:
        """Carry out one cell by full forwards. Raises CancelledError when `after_batch` says so."""
        if self._is_baseline(cell):
            # Known on all examples, also where the other cells see fewer: it is what they are compared with.
            return self._estimate(cell, self._baseline)
        values = self._interventions.values(cell)
        with applied(self.model, values):
            tally, _ = full_forward(self.model, self._examples, self._batch_size, self._reference, after_batch)
        return self._estimate(cell, tally)

    def commit(self, cell: Cell, after_batch: Callable[[int], bool] | None = None) -> Measured:
        """Carry out one cell and commit it to the store. The caller holds the run's writer's lock."""
        start = time.perf_counter()
        estimate = self.measure(cell, after_batch)
        seconds = time.perf_counter() - start
        extra: dict[str, object] = {"seconds": seconds, "device": self.device.type, "evaluator": "full"}
        column = self.probe.info.columns[cell.column]
        if cell.layer is not None and column.kind == RERANDOMISE:
            extra["seed"] = self._interventions.draw_seed(self.probe.info.layers[cell.layer], cell.draw)
        self.probe.write(cell, estimate, **extra)
        return Measured(cell, estimate, seconds)

    def _is_baseline(self, cell: Cell) -> bool:
        return cell.layer is None and self.probe.info.columns[cell.column].checkpoint == self.run.checkpoints.final

    def _check_baseline(self) -> None:
        """Is this the network that was trained? Its error must be what training measured."""
        trained = self.run.history.at(self.run.checkpoints.final)
        error = self._baseline.wrong / self._baseline.seen
        if trained is not None and abs(error - trained.test_error) > SAME_ERROR:
            raise RunConflictError(
                f"run '{inert(self.run.name)}': the network built from its stored weights has a test error of "
                f"{100 * error:.2f} %, the one that was trained had {100 * trained.test_error:.2f} %. Its model's "
                "code has changed, or it keeps state that is neither a parameter nor a persistent buffer."
            )

    def verify(self) -> None:
        """Is the network on the device still the trained one, bit for bit? Raises RestoreError."""
        live = named_tensors(self.model)
        stored = self.run.checkpoints.read(self.run.checkpoints.final)
        wrong = [name for name, array in stored.items() if to_array(live[name]).tobytes() != array.tobytes()]
        if wrong:
            raise RestoreError(f"after probing, the network is no longer the trained one: {', '.join(wrong)} differ.")

    def _estimate(self, cell: Cell, tally: Tally) -> Estimate:
        column = self.probe.info.columns[cell.column]
        # Bonferroni over the draws: the mean of their intervals' ends then holds the mean of their errors.
        confidence = 1 - (1 - CONFIDENCE) / column.draws
        low, high = error_interval(tally.wrong, tally.seen, self.total, confidence)
        return Estimate(
            error=tally.wrong / tally.seen,
            low=low,
            high=high,
            loss=tally.loss,
            agreement=tally.agreeing / tally.seen,
            n=tally.seen,
            total=self.total,
        )


def choose_examples(total: int, wanted: int | None, seed: int) -> np.ndarray | None:
    """Indices of `wanted` of `total` test examples, a fair sample that every cell shares; None: all of them."""
    if wanted is None or wanted >= total:
        return None
    generator = torch.Generator().manual_seed(derive(seed, "examples"))
    return torch.randperm(total, generator=generator)[:wanted].sort().values.numpy()
