"""Training by Accelerate, epoch by epoch into the store.

The recipe is the paper's (JMLR 23, 2022): a piecewise constant learning rate, cross entropy, every checkpoint's weights
kept, checkpoint 0 before the first step.  After every epoch the state needed to go on is committed, so a killed run
loses at most one epoch; since every random number derives from the run's seed and the epoch, a resumed run ends with
the same bits as one that was never killed.
"""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..store import EpochMetrics, ResumeState, Run, TensorInfo
from .building import seed_all, starting_model
from .data.base import DataSet
from .device import deterministic
from .errors import RunFailedError
from .events import EpochCommitted, Observer, TrainProgress
from .examples import Examples, held_out_examples, training_examples
from .optimisers import make_optimiser, restore, set_lr, state_of
from .seeds import derive
from .spec import Spec
from .state import load_arrays, state_arrays
from .tallies import judge
from .team import Team

EVAL_BATCH = 1000
_TELL_EVERY = 0.2  # seconds between two words on progress within an epoch


class Trainer:
    """Trains `run` by `spec` on `data` with the processes of `team`. The first one holds the run's writer's lock."""

    def __init__(self, run: Run, spec: Spec, data: DataSet, team: Team, observer: Observer):
        deterministic()
        self._run, self._spec, self._team, self._observer = run, spec, team, observer
        self._tensors: dict[str, TensorInfo] = run.checkpoints.tensors
        self._train = training_examples(data, team.device)
        self._test = held_out_examples(data, team.device)
        model = starting_model(spec, data)
        self._optimiser = make_optimiser(spec.train, model.parameters())
        self._model: nn.Module
        self._model, self._optimiser = team.accelerator.prepare(model, self._optimiser)
        # Accelerate's wrapper looks for packages on the disk at every step (7 % of an epoch on a small network). It is
        # needed where gradients are scaled for mixed precision; else the optimiser inside takes the very same step.
        scaled = team.accelerator.scaler is not None
        self._step = self._optimiser.step if scaled else self._optimiser.optimizer.step

    @property
    def _plain(self) -> nn.Module:
        """The network without what a distributed run wraps around it."""
        return self._team.accelerator.unwrap_model(self._model)

    def train(self) -> None:
        """Go on after the last committed epoch, to the end. Raises RunFailedError when the loss is no number."""
        epochs = self._spec.train.epochs
        done = self._resume()
        if done is None:
            self._commit(self._metrics(0, math.nan, math.nan, time.perf_counter()))
            done = 0
        for epoch in range(done + 1, epochs + 1):
            start = time.perf_counter()
            lr = self._spec.train.lr_at(epoch)
            loss = self._epoch(epoch, lr)
            if not math.isfinite(loss):
                raise RunFailedError(
                    f"run '{self._run.name}' diverged in epoch {epoch}: its training loss is {loss}. "
                    f"Everything up to epoch {epoch - 1} is kept. A lower train.lr (it is {self._spec.train.lr:g}) and "
                    "--fresh start it anew."
                )
            self._commit(self._metrics(epoch, loss, lr, start))
        self._team.lead(self._run.resume.drop)

    def _resume(self) -> int | None:
        """Load the state of the last committed epoch; returns its number, or None when there is none."""
        # Every process reads it from the store: all see what the first one has committed.
        state = self._run.resume.read(self._run.info.fingerprint)
        epoch = self._team.tell(state.epoch if state else None)
        if epoch is None or state is None:
            return None
        weights = {name.removeprefix("model."): a for name, a in state.arrays.items() if name.startswith("model.")}
        load_arrays(self._plain, self._tensors, weights)
        optimiser = {n.removeprefix("optim."): a for n, a in state.arrays.items() if n.startswith("optim.")}
        restore(self._optimiser, optimiser, state.extra)
        return epoch

    def _epoch(self, epoch: int, lr: float) -> float:
        """One pass over the training examples; returns their mean loss as they were visited."""
        spec, team, accelerator = self._spec, self._team, self._team.accelerator
        # Dropout and the like: each process draws its own, the same again when the epoch is done again.
        seed_all(derive(spec.run.seed, "epoch", epoch, team.rank))
        order = epoch_order(spec.run.seed, epoch, len(self._train)).to(team.device)
        set_lr(self._optimiser, lr)
        self._model.train()
        total = torch.zeros((), dtype=torch.float64, device=team.device)
        told = time.perf_counter()
        seen = 0
        for batch in batches(order, spec.train.batch_size):
            mine, share = _share(batch, team.rank, team.size)
            inputs, targets = self._train.take(mine)
            loss = functional.cross_entropy(self._model(inputs), targets)
            # Gradients are averaged over processes; this makes that average the mean over the whole batch.
            accelerator.backward(loss if share * team.size == 1 else loss * (share * team.size))
            self._step()
            self._model.zero_grad()
            total.add_(loss.detach(), alpha=share * len(batch))
            seen += len(batch)
            now = time.perf_counter()
            if now - told > _TELL_EVERY:
                told = now
                self._observer(TrainProgress(self._run.name, epoch, spec.train.epochs, seen / len(order)))
        return float(accelerator.reduce(total, reduction="sum")) / len(order)  # type: ignore[arg-type]

    def _metrics(self, epoch: int, train_loss: float, lr: float, start: float) -> EpochMetrics:
        error, loss = distributed_error(self._team, self._model, self._test)
        return EpochMetrics(epoch, train_loss, lr, error, loss, time.perf_counter() - start)

    def _commit(self, metrics: EpochMetrics) -> None:
        epoch, run = metrics.epoch, self._run
        kept = epoch in run.checkpoints.epochs
        fingerprint = run.info.fingerprint

        def write() -> None:
            weights = state_arrays(self._plain, self._tensors.values())
            run.history.append(metrics, fingerprint)
            if kept:
                run.checkpoints.append(epoch, weights, fingerprint)
            if epoch < self._spec.train.epochs:
                # Last: what was written before it is written again, the same, if the process dies in between.
                arrays, extra = state_of(self._optimiser)
                named = {f"model.{name}": array for name, array in weights.items()}
                named |= {f"optim.{name}": array for name, array in arrays.items()}
                run.resume.write(ResumeState(epoch, named, extra), fingerprint)

        self._team.lead(write)
        self._observer(EpochCommitted(run.name, self._spec.train.epochs, metrics, kept))


def epoch_order(seed: int, epoch: int, examples: int) -> Tensor:
    """The order in which epoch `epoch` visits the training examples: int64[examples]."""
    return torch.randperm(examples, generator=torch.Generator().manual_seed(derive(seed, "order", epoch)))


def batches(order: Tensor, size: int) -> Sequence[Tensor]:
    """`order` in batches of `size`. A last one of a single example joins the one before: no norm can train on it."""
    parts = list(order.split(size))
    if size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _share(batch: Tensor, rank: int, size: int) -> tuple[Tensor, float]:
    """This process's examples of a batch, and which share of the batch they are.

    Every process must take part in every step: one that gets none takes an example with weight 0.
    """
    if size == 1:
        return batch, 1.0
    mine = batch.tensor_split(size)[rank]
    return (mine, len(mine) / len(batch)) if len(mine) else (batch[:1], 0.0)


@torch.no_grad()
def distributed_error(team: Team, model: nn.Module, examples: Examples) -> tuple[float, float]:
    """Error fraction and mean loss over all examples, each counted once, the same in every process.

    Every process looks at its own part; the per-example numbers are gathered with their indices, and what pads the
    shorter parts is thrown away by its index.
    """
    bounds = torch.arange(len(examples)).tensor_split(team.size)[team.rank]
    outcomes = []
    model.eval()
    # The plain network: a distributed wrapper would wait for the others before each forward.
    plain = team.accelerator.unwrap_model(model)
    if len(bounds):
        first, last = int(bounds[0]), int(bounds[-1]) + 1
        for start in range(first, last, EVAL_BATCH):
            inputs, targets = examples.between(start, min(start + EVAL_BATCH, last))
            outcomes.append(judge(plain(inputs), targets))
    device = examples.targets.device
    nothing = torch.zeros(0, device=device)
    wrong = torch.cat([nothing, *(o.wrong for o in outcomes)]).double()
    loss = torch.cat([nothing, *(o.loss for o in outcomes)]).double()
    if team.size > 1:
        index = bounds.to(device)
        pad, gather = team.accelerator.pad_across_processes, team.accelerator.gather
        index, wrong, loss = (gather(pad(value, dim=0, pad_index=-1)) for value in (index, wrong, loss))
        real = index >= 0
        wrong, loss = wrong[real], loss[real]
    return float(wrong.sum()) / len(examples), float(loss.sum()) / len(examples)
