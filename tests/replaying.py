"""Whether replay gives what a plain forward gives.

The reference here knows nothing of how the engine replaces values or runs networks: it loads a variant's values into a
deep copy of the untouched network and calls it.
"""

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lyrx.engine.forwards import Forwards, Row, Variant
from lyrx.engine.precision import Precision
from lyrx.engine.replay.replayer import Arguments
from lyrx.engine.trust import Fallback
from torch import Tensor, nn

CPU = torch.device("cpu")

KINDS = ("random", "zero")


@dataclass
class Found:
    """What came of comparing."""

    fallbacks: dict[tuple[str, str], Fallback] = field(default_factory=dict)
    replayed: int = 0
    full: int = 0
    reasons: set[str] = field(default_factory=set)
    worst: float = 0.0
    """Largest difference, relative to the largest output."""


def tensors_of(value: Any) -> list[Tensor]:
    """Every tensor in a network's output, whatever it is wrapped in."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for member in value.values() for tensor in tensors_of(member)]
    if isinstance(value, (tuple, list)):
        return [tensor for member in value for tensor in tensors_of(member)]
    if hasattr(value, "__dataclass_fields__"):
        return [tensor for name in value.__dataclass_fields__ for tensor in tensors_of(getattr(value, name))]
    return []


def difference(expected: Any, got: Any) -> float:
    """The largest difference, relative to the largest number; infinite where shapes or non-finite numbers differ."""
    ours, theirs = tensors_of(expected), tensors_of(got)
    if [t.shape for t in ours] != [t.shape for t in theirs]:
        return float("inf")
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        a, b = one.double(), other.double()
        if not torch.equal(a.isfinite(), b.isfinite()):
            return float("inf")
        a, b = a[a.isfinite()], b[b.isfinite()]
        if a.numel() and not torch.equal(a, b):
            worst = max(worst, float((a - b).abs().max() / a.abs().max().clamp_min(1e-30)))
    return worst


def batches(*shape: int, sizes: Sequence[int] = (8, 5, 1, 8), dtype: torch.dtype = torch.float32) -> list[Arguments]:
    """Of several sizes, each with one input float[size, *shape]."""
    generator = torch.Generator().manual_seed(7)
    return [Arguments((torch.randn(size, *shape, generator=generator).to(dtype),)) for size in sizes]


def made(build: Callable[[], nn.Module]) -> nn.Module:
    """A network with the running statistics that training would leave."""
    torch.manual_seed(3)
    model = build()
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return model


class Oracle:
    """Plain forwards of another network like `model`: a deep copy, or what `copied` makes."""

    def __init__(
        self,
        model: nn.Module,
        autocast: torch.dtype | None = None,
        copied: Callable[[], nn.Module] | None = None,
    ):
        self._model = (copied() if copied else copy.deepcopy(model)).eval()
        self._state, self._autocast = self._model.state_dict(), autocast
        self._trained = {name: value.clone() for name, value in self._state.items() if isinstance(value, Tensor)}

    def __call__(self, values: Mapping[str, Tensor], arguments: Arguments) -> Any:
        cast = torch.autocast("cpu", dtype=self._autocast or torch.bfloat16, enabled=self._autocast is not None)
        args, kwargs = copy.deepcopy((arguments.args, dict(arguments.kwargs)))
        with torch.no_grad(), cast:
            for name, value in self._trained.items():
                self._state[name].copy_(value)
            for name, value in values.items():
                self._state[name].copy_(value)
            return self._model(*args, **kwargs)


def fingerprint(model: nn.Module) -> dict[str, Any]:
    """Weights, modes, hooks and attributes, as far as they can be told apart."""
    found: dict[str, Any] = {}
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor):
            bits = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            found[name] = hashlib.sha256(bits).hexdigest()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found[f"memory of {name}"] = (tensor.stride(), tensor.data_ptr(), id(tensor), tensor.requires_grad)
    for name, module in model.named_modules():
        hooks = {key: len(value) for key, value in vars(module).items() if key.endswith("_hooks")}
        found[f"<{name}>"] = (module.training, hooks, sorted(vars(module)))
        assert "_call_impl" not in vars(module), name
    return found


def values_for(model: nn.Module, names: Sequence[str], kind: str, seed: int) -> dict[str, Tensor]:
    """Values of their own for some tensors."""
    generator = torch.Generator().manual_seed(seed)
    state, parameters = model.state_dict(), {name for name, _ in model.named_parameters(remove_duplicate=False)}
    made: dict[str, Tensor] = {}
    for name in names:
        value = state[name]
        if kind == "zero":
            if name in parameters:
                made[name] = torch.zeros_like(value)
        elif value.is_floating_point():
            scale = float(value.float().std()) if value.numel() > 1 else 0.5
            noise = torch.randn(value.shape, generator=generator) * max(scale, 0.1)
            noise = noise.abs() + 0.5 if name.endswith("var") else noise
            made[name] = (value + 0.1 * noise if kind == "noise" else noise).to(value.dtype)
    return made


def rows_of(model: nn.Module) -> list[Row]:
    """Every tensor of a number alone, every module's tensors together, two joint rows, and the whole network."""
    names = [name for name, value in model.state_dict().items() if isinstance(value, Tensor) and value.dim()]
    rows = {(name,): name for name in names}
    for path, _ in model.named_modules():
        inside = tuple(name for name in names if not path or name.startswith(f"{path}."))
        if len(inside) > 1:
            rows[inside] = path or "all of it"
    if len(names) > 3:
        for one, other in ((0, -1), (len(names) // 3, 2 * len(names) // 3)):
            rows[(names[one], names[other])] = f"{names[one]}+{names[other]}"
    return [Row(name, tensors) for tensors, name in rows.items()]


def compared(
    model: nn.Module,
    batches: Sequence[Arguments],
    rows: Sequence[Row] | None = None,
    kinds: Sequence[str] = KINDS,
    precision: str = "fp32",
    tolerance: float = 1e-4,
    draws: int = 1,
    copied: Callable[[], nn.Module] | None = None,
) -> Found:
    """Every row and kind on every batch against the oracle. Asserts that they are equal and that nothing stays."""
    rows = rows_of(model) if rows is None else rows
    oracle = Oracle(model, torch.bfloat16 if precision == "bf16" else None, copied)
    before, found = fingerprint(model), Found()
    variants = [
        Variant(row, kind, values)
        for number, row in enumerate(rows)
        for kind in kinds
        for draw in range(draws if kind == "random" else 1)
        if (values := values_for(model, row.tensors, kind, 1000 * draw + number))
    ]
    with Forwards(model, Precision(precision, CPU)) as forwards:  # type: ignore[arg-type]
        forwards.prepare(batches[0])
        fitted = [
            Variant(v.row, v.kind, {name: forwards.swap.fitted(name, value) for name, value in v.values.items()})
            for v in variants
        ]
        for number, arguments in enumerate(batches):
            given = [tensor.clone() for tensor in arguments.tensors()]
            batch = forwards.open(arguments, rows)
            for variant in fitted:
                expected = oracle(variant.values, arguments)
                output, reason = batch.output(variant)
                found.replayed += not reason
                found.full += bool(reason)
                found.reasons |= {reason} - {""}
                away = difference(expected, output)
                assert away <= tolerance, (
                    f"batch {number}, {variant.row.name}, {variant.kind}: {away:.1e} away from a plain forward"
                    f" ({reason or 'replayed'})"
                )
                found.worst = max(found.worst, away)
            same = all(torch.equal(one, other) for one, other in zip(given, arguments.tensors(), strict=True))
            assert same, "the data were altered"
        found.fallbacks = dict(forwards.fallbacks)
    assert fingerprint(model) == before
    return found
