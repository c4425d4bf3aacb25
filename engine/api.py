"""`probe(model, data, ...)`: which layers of a network matter, in one call, without a store."""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..store import REINITIALISE, RERANDOMISE, Column, ProbeInfo
from ..store.stopping import Rule
from .building import seeded, seeding
from .cells import Cells
from .device import out_of_memory
from .errors import DataError, ModelError, NetworkFailedError, RestoreError, SpecError
from .examples import order_of
from .forwards import Forwards, Row
from .given import (
    built,
    check_build,
    check_hooks,
    check_lists,
    check_model,
    check_numbers,
    check_patterns,
    check_words,
    place_of,
    states_of,
)
from .inputs import Inputs, gather
from .interventions import Interventions
from .layers import find_layers
from .looks import estimate_of
from .memory import BatchSize, choose_batch_size
from .norms import norm_batches as batches_for_norms
from .precision import Precision, PrecisionName
from .renorm import Renormer
from .replay.purity import first_forward, left_alone
from .result import ProbeResult
from .seeds import derive
from .sources import StateSource
from .state import describe, named_tensors, to_array
from .sweep import CHECKED, Sweep, Work
from .tallies import Judge, Outcome, judge, logits_of
from .trained import measure_baseline
from .trust import Fallback
from .variants import Residents

Hook = Callable[[Any, Any], Tensor]
"""(the network's output, the batch's targets) -> one value for each example."""


def probe(
    model: nn.Module,
    data: Any,
    checkpoints: Mapping[int, Mapping[str, Tensor]] | None = None,
    *,
    build: Callable[[], nn.Module] | None = None,
    at: Sequence[str] | None = None,
    granularity: Literal["layer", "module", "block", "patterns"] = "layer",
    layers: Sequence[str] = (),
    patterns: Mapping[str, Sequence[str]] | None = None,
    joint: Sequence[Sequence[str]] = (),
    draws: int = 3,
    evaluator: Literal["replay", "full"] = "replay",
    exact: bool = True,
    tolerance: float = 0.05,
    precision: PrecisionName = "fp32",
    batch_size: int | None = None,
    memory: int | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    loss: Hook | None = None,
    correct: Hook | None = None,
    targets: str = "labels",
    norm_statistics: Literal["rewound", "kept", "reestimated"] = "rewound",
    norm_data: Any = None,
    norm_batches: int = 20,
    on_look: Callable[[ProbeResult], None] | None = None,
) -> ProbeResult:
    """Put each layer of the trained `model` back, or to something else, and measure the error on `data`.

    model: the trained network, on any device.  It is left as it was, bit for bit, which is checked.
    data: (inputs, targets), a DataLoader, or batches of dicts; see :func:`lyrx.engine.inputs.gather`.
    checkpoints: by epoch, state dicts of the network as it was then; 0 is its initialisation.
    build: makes a freshly initialised network, for re-randomisation.
    at: columns such as "random", "0", "zero", "noise:0.1", "path:0.5", "shuffle"; default: "random" where there is
    `build`, and every checkpoint.
    granularity, layers, patterns, joint: the rows, as in a spec's probe section.
    draws: cells for each layer where random numbers are drawn.
    exact: all of the data; else each cell stops as soon as it is known well enough, or on which side of `tolerance`
    above the trained network's error it lies.  `on_look` sees the picture sharpen.
    evaluator: "replay" computes from the reset layer on, "full" the whole network for every cell.
    memory: bytes that a batch may take; default: a share of what is free.
    loss, correct: for other tasks than classification: float[k] and bool[k] of a batch's k examples.
    norm_statistics: of BatchNorm: put back with their layer, kept as trained, or estimated anew on `norm_batches`
    batches of 128 examples of `norm_data` (training data, without targets' being used).

    A network that fails with some layer's values costs only those: they are NaN, `failures` and a warning say why.

    Raises LyrxError for what does not fit together: SpecError, ModelError, LayerError, DataError, ColumnError.
    """
    check_model(model)
    check_words(
        _WORDS, granularity=granularity, evaluator=evaluator, precision=precision, norm_statistics=norm_statistics
    )
    check_numbers(draws=(draws, 0), batch_size=(batch_size, 1), memory=(memory, 1), norm_batches=(norm_batches, 1))
    check_lists(layers=layers, joint=joint, **({} if at is None else {"at": at}))
    check_lists(**{f"joint[{number}]": globs for number, globs in enumerate(joint)})
    check_patterns(patterns, granularity)
    check_build(build)
    check_hooks(loss=loss, correct=correct)
    rule = _rule(tolerance, exact)
    states = states_of(checkpoints)
    columns = _columns(at, sorted(states), build is not None, draws)
    home = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    place = place_of(device, home)
    judged = _judge(loss, correct)
    with seeding(derive(seed, "probe")), _unchanged(model), left_alone(model), _moved(model, home, place):
        inputs = gather(data, place, targets)
        arguments = inputs.between(0, min(2, len(inputs)))[0].copied()
        fresh = (lambda drawn: seeded(drawn, lambda: built(build, model))) if build else None
        source = StateSource(model, states, fresh)
        with source.kept(model), first_forward(model):
            rows = find_layers(model, describe(model), arguments, granularity, patterns, only=layers, joint=joint)
        info = ProbeInfo(
            granularity, rows.rows, columns, tuple(sorted(states)), "", {"norm_statistics": norm_statistics}
        )
        ordered = inputs.ordered(order_of(len(inputs), seed))
        replay = evaluator == "replay"
        with Forwards(model, Precision(precision, place), replay=replay) as forwards, source.kept(model):
            forwards.prepare(ordered.between(0, min(CHECKED, len(ordered)))[0])
            if forwards.mixes:
                warnings.warn(forwards.mixes, RuntimeWarning, stacklevel=2)
            if correct is None:
                _check_labels(forwards.full(arguments), min(2, len(inputs)), inputs.targets)
            named = [Row(layer.name, layer.tensors) for layer in rows.rows]
            size = BatchSize(batch_size or choose_batch_size(forwards, named, place, memory))
            baseline = measure_baseline(forwards, ordered, size, judged)
            cells = Cells(
                info,
                named,
                Interventions(source, info, seed),
                Residents(forwards.swap, place, memory),
                _renormer(forwards, norm_statistics, norm_data, norm_batches, place, targets, seed),
            )
            works = [cells.work(cell) for cell in info.cells()]
            sweep = Sweep(forwards, ordered, baseline, rule, size, judged)

            def result() -> ProbeResult:
                known = [work for work in works if work.tally.seen and work.failure is None]
                estimates = {work.key: estimate_of(work, len(ordered)) for work in known}
                failures = tuple(str(work.failure) for work in works if work.failure is not None)
                fallbacks, notes = _fallbacks(forwards, works), (forwards.mixes,) if forwards.mixes else ()
                known_of = baseline.error, baseline.loss, tolerance
                return ProbeResult(info, estimates, *known_of, fallbacks, failures, notes)

            for group in sweep.run(works):
                for work in group:
                    if isinstance(work.failure, NetworkFailedError):
                        warnings.warn(str(work.failure), RuntimeWarning, stacklevel=2)
                    elif work.failure is not None:
                        raise work.failure
                if on_look is not None:
                    on_look(result())
            return result()


def _fallbacks(forwards: Forwards, works: Sequence[Work]) -> tuple[Fallback, ...]:
    """Rows that are not to be replayed, and those that could not be on some batches."""
    found = dict(forwards.fallbacks)
    for work in works:
        row, kind = work.row.name, work.kind
        if work.full and (row, "") not in forwards.fallbacks:
            some = "" if work.full >= work.tally.seen else f" (on {work.full:,} of {work.tally.seen:,} examples)"
            found.setdefault((row, kind), Fallback(row, kind, work.reason + some))
    return tuple(found.values())


_WORDS = {
    "granularity": ("layer", "module", "block", "patterns"),
    "evaluator": ("replay", "full"),
    "precision": get_args(PrecisionName),
    "norm_statistics": ("rewound", "kept", "reestimated"),
}


def _check_labels(output: Any, examples: int, labels: Any) -> None:
    """On a GPU a label that is no class would end the process's use of it, so that is seen to first."""
    logits = logits_of(output)
    judge(logits, torch.zeros(examples, dtype=torch.long, device=logits.device))
    classes = logits.shape[-1]
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex() or labels.dim() != 1:
        what = f"{labels.dtype}{list(labels.shape)}" if isinstance(labels, Tensor) else f"a {type(labels).__name__}"
        raise DataError(f"targets are {what}; int64[n], a class for each example, is needed, or `correct` and `loss`.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(f"targets go from {low} to {high}; the network has {classes} classes, 0 to {classes - 1}.")


def _rule(tolerance: float, exact: bool) -> Rule:
    if not isinstance(tolerance, (int, float)) or not 0 <= tolerance <= 1:
        raise SpecError(f"tolerance={tolerance!r} is not possible: it is a fraction from 0 to 1; 5 points are 0.05.")
    return Rule(tolerance=tolerance, exact=exact)


def _columns(at: Sequence[str] | None, epochs: Sequence[int], can_build: bool, draws: int) -> tuple[Column, ...]:
    if at is None:
        chosen = [Column(RERANDOMISE, draws=draws)] if can_build and draws else []
        chosen += [Column(REINITIALISE, epoch) for epoch in epochs]
    else:
        chosen = [Column.parse(str(text), draws=max(1, draws), final=None) for text in at]
    if not chosen:
        raise SpecError("there is nothing to measure: give checkpoints, build, or columns with at=[...].")
    for column in chosen:
        if column.checkpoint is not None and column.checkpoint not in epochs:
            raise SpecError(f"at: '{column.label}' needs checkpoint {column.checkpoint}; there are {list(epochs)}.")
        if column.kind == RERANDOMISE and not can_build:
            raise SpecError("at: 'random' needs build=..., a function that makes a freshly initialised network.")
    return tuple(dict.fromkeys(chosen))


def _judge(loss: Hook | None, correct: Hook | None) -> Judge:
    if correct is None:
        if loss is not None:
            raise SpecError("loss goes with correct: without it the outputs are taken as scores of classes.")
        return lambda output, labels: judge(output, labels.long())
    right = correct

    def judged(output: Any, wanted: Any) -> Outcome:
        good = right(output, wanted)
        if not isinstance(good, Tensor):
            raise ModelError(f"correct gives a {type(good).__name__}; bool[k], one for each example, is needed.")
        if good.dtype != torch.bool or good.dim() != 1:
            raise ModelError(f"correct gives {good.dtype}{list(good.shape)}; bool[k], one for each example, is needed.")
        cost = loss(output, wanted) if loss else torch.full(good.shape, torch.nan, device=good.device)
        if not isinstance(cost, Tensor):
            raise ModelError(f"loss gives a {type(cost).__name__}; float[k], one for each example, is needed.")
        cost = cost.float()
        if cost.shape != good.shape:
            raise ModelError(f"loss gives float{list(cost.shape)} where correct gives bool{list(good.shape)}.")
        return Outcome(good.long(), ~good, cost)

    judged.apart = True  # type: ignore[attr-defined]
    return judged


def _renormer(
    forwards: Forwards, policy: str, data: Any, count: int, device: torch.device, targets: str, seed: int
) -> Renormer | None:
    if policy != "reestimated":
        return None
    if data is None:
        raise SpecError("norm_statistics='reestimated' needs norm_data, the training data.")
    try:
        training: Inputs = gather(data, device, targets)
        forwards.full(training.between(0, min(2, len(training)))[0])
    except DataError as error:
        raise DataError(f"norm_data: {error}") from None
    except Exception as error:
        if out_of_memory(error):
            raise
        raise DataError(f"the network cannot process norm_data: {type(error).__name__}: {error}") from error
    return Renormer(forwards, training.take, batches_for_norms(seed, len(training), count, 128))


@contextmanager
def _moved(model: nn.Module, home: torch.device, place: torch.device) -> Iterator[None]:
    if home != place:
        model.to(place)
    try:
        yield
    finally:
        if home != place:
            model.to(home)


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Weights, modes and hooks are afterwards what they were, also after an error. Raises RestoreError."""
    before, gradients = _state(model), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(gradients)
        after = _state(model)
    changed = [name for name in before if before[name] != after.get(name)] + [n for n in after if n not in before]
    if changed:
        raise RestoreError(f"after probing, the network is no longer what it was: {', '.join(changed[:5])}.")


def _state(model: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: hashlib.sha256(to_array(tensor).tobytes()).hexdigest() for name, tensor in named_tensors(model).items()
    }
    for name, module in model.named_modules():
        hooks = [len(value) for key, value in sorted(vars(module).items()) if key.endswith("_hooks")]
        found[f"module {name or 'itself'}"] = (module.training, hooks, sorted(vars(module)))
    return found
