"""Training by Accelerate, epoch by epoch into the store.

The recipe is the paper's (JMLR 23, 2022): a piecewise constant learning rate, cross entropy, every checkpoint's weights
kept, checkpoint 0 before the first step.  After every epoch the state needed to go on is committed, so a killed run
loses at most one epoch; since every random number derives from the run's seed and the epoch, a resumed run ends with
the same bits as one that was never killed.
"""

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..store import EpochMetrics, ResumeState, Run, TensorInfo
from .building import seed_all, starting_model
from .data.base import DataSet
from .device import deterministic, slow_arithmetic
from .errors import RunFailedError
from .events import EpochCommitted, Noted, Observer, TrainProgress
from .examples import Examples, first_inputs, held_out_examples, training_examples
from .optimisers import make_optimiser, restore, set_lr, state_of
from .seeds import derive
from .spec import Spec, TrainSection
from .state import evaluating, load_arrays, state_arrays
from .tallies import Judge, logits_of
from .tasks import TASKS
from .team import Team
from .training_precision import TrainingPrecision

MOST_TESTED = 1000
"""Examples of a forward of the test, at most."""

_TELL_EVERY = 0.2  # seconds between two words on progress within an epoch


class Trainer:
    """Trains `run` by `spec` on `data` with the processes of `team`. The first one holds the run's writer's lock."""

    def __init__(self, run: Run, spec: Spec, data: DataSet, team: Team, observer: Observer):
        deterministic()
        self._run, self._spec, self._team, self._observer = run, spec, team, observer
        self._tensors: dict[str, TensorInfo] = run.checkpoints.tensors
        self._train = training_examples(data, team.device)
        self._test = held_out_examples(data, team.device)
        slow = slow_arithmetic(team.device, "train.precision", spec.train.precision)
        for note in filter(None, (self._train.note, self._test.note, slow)):
            observer(Noted(run.name, note))
        self._task = TASKS[data.task]
        # The network without what compiling or a distributed run wrap around it: its weights are the ones kept.
        self._plain = starting_model(spec, data).to(team.device)
        if spec.train.channels_last:
            self._plain = self._plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimiser = make_optimiser(spec.train, self._plain.parameters())
        self._precision = TrainingPrecision(spec.train.precision, team.device)
        model = torch.compile(self._plain) if spec.train.compile else self._plain
        if team.size > 1 and _has_unused(self._plain, first_inputs(data, 2).to(team.device)):
            handler: Any = DistributedDataParallelKwargs(find_unused_parameters=True)
            team.accelerator.ddp_handler = handler
        self._model: nn.Module
        self._model, prepared = team.accelerator.prepare(model, self._optimiser)
        # Accelerate's wrapper looks for packages on the disk at every step (7 % of an epoch on a small network). The
        # optimiser inside takes the very same step.
        self._optimiser = prepared.optimizer
        normed = any(isinstance(module, _BatchNorm) for module in self._plain.modules())
        self._least = 2 if normed else 1  # examples of a forward: BatchNorm cannot train on one

    def train(self) -> None:
        """Go on after the last committed epoch, to the end. Raises RunFailedError when the loss is no number."""
        epochs = self._spec.train.epochs
        done = self._resume()
        if done is None:
            self._commit(self._metrics(0, math.nan, math.nan, time.perf_counter()))
            done = 0
        for epoch in range(done + 1, epochs + 1):
            start = time.perf_counter()
            loss, lr = self._epoch(epoch)
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
        self._precision.restore(state.extra.get("scaler", {}))
        return epoch

    def _epoch(self, epoch: int) -> tuple[float, float]:
        """One pass over the training examples: their mean loss as they were visited, and the last learning rate."""
        spec, team, train = self._spec, self._team, self._spec.train
        # Dropout and the like: each process draws its own, the same again when the epoch is done again.
        seed_all(derive(spec.run.seed, "epoch", epoch, team.rank))
        steps = batches(epoch_order(spec.run.seed, epoch, len(self._train)), train.batch_size)
        parts = [parts_of(batch, team.rank, team.size, train.accumulate, self._least) for batch in steps]
        # The same variation of an example whatever process it falls to.
        varied = derive(spec.run.seed, "augment", epoch)
        examples = self._train.epoch([part for of_step in parts for part, _ in of_step], varied)
        self._model.train()
        total = torch.zeros((), dtype=torch.float64, device=team.device)
        told = time.perf_counter()
        seen, lr = 0, 0.0
        for index, (batch, of_step) in enumerate(zip(steps, parts, strict=True)):
            if not index or train.lr_varies:
                lr = train.lr_at((epoch - 1) * len(steps) + index, len(steps))
                set_lr(self._optimiser, lr)
            for number, (_, weight) in enumerate(of_step, start=1):
                inputs, targets = next(examples)
                with self._apart(number < len(of_step)):
                    loss = self._loss(inputs, targets)
                    # Gradients are averaged over processes; this makes that average the mean over the whole batch.
                    scaled = loss if weight * team.size == 1 else loss * (weight * team.size)
                    self._precision.backward(scaled)
                total.add_(loss.detach(), alpha=weight * len(batch))
            self._precision.step(self._optimiser, self._plain, train.clip)
            self._model.zero_grad()
            seen += len(batch)
            now = time.perf_counter()
            if now - told > _TELL_EVERY:
                told = now
                self._observer(TrainProgress(self._run.name, epoch, train.epochs, seen / len(self._train)))
        return float(team.accelerator.reduce(total, reduction="sum")) / len(self._train), lr  # type: ignore[arg-type]

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        if self._spec.train.channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with self._precision.active():
            return self._task.loss(self._model(inputs), targets, self._spec.train.label_smoothing)

    def _apart(self, apart: bool) -> AbstractContextManager[None]:
        """Inside, if `apart`, gradients are not yet averaged over the processes: more parts of the batch follow."""
        return self._team.accelerator.no_sync(self._model) if apart else nullcontext()

    @torch.no_grad()
    def _same_buffers(self) -> None:
        """Give every process the first one's buffers, which are kept: each has running statistics of its own."""
        for buffer in self._plain.buffers() if self._team.size > 1 else ():
            value = buffer.contiguous()
            distributed.broadcast(value, src=0)
            buffer.copy_(value)

    def _metrics(self, epoch: int, train_loss: float, lr: float, start: float) -> EpochMetrics:
        # In fp32 whatever training uses: the probe's baseline is this very number.
        self._same_buffers()
        error, loss = distributed_error(
            self._team, self._plain, self._test, self._task.judge, evaluation_batch(self._spec.train)
        )
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
                extra["scaler"] = self._precision.state()
                named = {f"model.{name}": array for name, array in weights.items()}
                named |= {f"optim.{name}": array for name, array in arrays.items()}
                run.resume.write(ResumeState(epoch, named, extra), fingerprint)

        self._team.lead(write)
        self._observer(EpochCommitted(run.name, self._spec.train.epochs, metrics, kept, self._task.name))


def _has_unused(model: nn.Module, inputs: Tensor) -> bool:
    """Whether weights take no part in a forward: several processes would wait for their gradients."""
    try:
        with evaluating(model), torch.enable_grad():
            logits_of(model(inputs)).float().sum().backward()
    except RuntimeError:  # what can be computed backwards in training only
        return True
    unused = any(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    model.zero_grad()
    return unused


def epoch_order(seed: int, epoch: int, examples: int) -> Tensor:
    """The order in which epoch `epoch` visits the training examples: int64[examples]."""
    return torch.randperm(examples, generator=torch.Generator().manual_seed(derive(seed, "order", epoch)))


def batches(order: Tensor, size: int) -> Sequence[Tensor]:
    """`order` in batches of `size`. A last one of a single example joins the one before: no norm can train on it."""
    parts = list(order.split(size))
    if size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def evaluation_batch(train: TrainSection) -> int:
    """Examples of a forward of the test: no gradients are kept, so that more of them fit than in training."""
    return min(MOST_TESTED, 2 * train.batch_size)


def parts_of(batch: Tensor, rank: int, size: int, count: int, least: int = 1) -> list[tuple[Tensor, float]]:
    """A process's part of a batch in `count` parts or fewer, each with the share of the whole batch that it is.

    No part has fewer than `least` examples, if the batch has so many: it is divided among fewer processes, and into
    fewer parts, then.  Every process must take part in every step: one that gets none takes `least` with weight 0.
    """
    sharing = max(1, min(size, len(batch) // least))
    if rank >= sharing:
        return [(batch[:least], 0.0)]
    mine = batch.tensor_split(sharing)[rank]
    count = max(1, min(count, len(mine) // least))
    return [(part, len(part) / len(batch)) for part in mine.tensor_split(count)]


@torch.no_grad()
def distributed_error(team: Team, model: nn.Module, examples: Examples, judge: Judge, size: int) -> tuple[float, float]:
    """Share of wrong predictions and mean loss over all examples, each counted once, the same in every process.

    Every process looks at its own part, `size` examples at a time; the per-example numbers are gathered with their
    indices, and what pads the shorter parts is thrown away by its index.
    """
    bounds = torch.arange(len(examples)).tensor_split(team.size)[team.rank]
    outcomes = []
    model.eval()
    if len(bounds):
        first, last = int(bounds[0]), int(bounds[-1]) + 1
        for start in range(first, last, size):
            inputs, targets = examples.between(start, min(start + size, last))
            outcomes.append(judge(model(inputs), targets))
    device = examples.targets.device
    nothing = torch.zeros(0, device=device)
    wrong = torch.cat([nothing, *(o.wrong.reshape(len(o.wrong), -1).double().mean(dim=1) for o in outcomes)]).double()
    loss = torch.cat([nothing, *(o.loss for o in outcomes)]).double()
    if team.size > 1:
        index = bounds.to(device)
        pad, gather = team.accelerator.pad_across_processes, team.accelerator.gather
        index, wrong, loss = (gather(pad(value, dim=0, pad_index=-1)) for value in (index, wrong, loss))
        real = index >= 0
        wrong, loss = wrong[real], loss[real]
    return float(wrong.sum()) / len(examples), float(loss.sum()) / len(examples)
