"""Replay against plain forwards on the architectures that people use."""

import pytest
import torch
from architectures import ARCHITECTURES, Architecture
from lyrx.engine.building import seeded
from lyrx.engine.forwards import Forwards, Row, Variant
from lyrx.engine.layers import find_layers
from lyrx.engine.precision import Precision, PrecisionName
from lyrx.engine.state import describe
from replaying import CPU, Oracle, difference, fingerprint, made, tensors_of, values_for
from torch import Tensor, nn

ROWS = 8
"""Of a network's layers, how many are compared."""

# Which experts a token goes to is the data's choice, and the variants': that is what the fallback is for.
OTHER_WAYS = {"mixtral"}


def scores(output: object) -> Tensor:
    """A network's first tensor with the classes as the last axis."""
    first = tensors_of(output)[0].double()
    return first.movedim(1, -1) if first.dim() == 4 else first


def same_answers(expected: object, got: object, tolerance: float) -> bool:
    """Whether both name the same classes, where the two best ones are not as good as equal."""
    one, other = scores(expected), scores(got)
    best = one.topk(2, dim=-1).values
    clear = (best[..., 0] - best[..., 1]) > 2 * tolerance * one.abs().max()
    return torch.equal(one.argmax(-1)[clear], other.argmax(-1)[clear])


def rows_of(model: nn.Module, architecture: Architecture) -> list[Row]:
    """Layers spread over the depth of a network, and two of them together."""
    example = architecture.batch(2, torch.Generator().manual_seed(0))
    rows = [Row(row.name, row.tensors) for row in find_layers(model, describe(model), example).rows]
    if len(rows) > ROWS:
        rows = [rows[round(index * (len(rows) - 1) / (ROWS - 1))] for index in range(ROWS)]
    together = (*rows[len(rows) // 2].tensors, *rows[-1].tensors)
    return [*rows, Row("two", together)]


def compared(name: str, precision: PrecisionName = "fp32", tolerance: float = 1e-4) -> tuple[float, dict, int]:
    """(worst difference, fallbacks, outputs replayed)."""
    architecture = ARCHITECTURES[name]
    model, fresh = made(architecture.build).eval(), seeded(11, architecture.build).state_dict()
    oracle = Oracle(model, torch.bfloat16 if precision == "bf16" else None)
    before, worst, replayed = fingerprint(model), 0.0, 0
    generator = torch.Generator().manual_seed(1)
    batches = [architecture.batch(size, generator) for size in (3, 2)]
    rows = rows_of(model, architecture)
    with Forwards(model, Precision(precision, CPU)) as forwards:
        forwards.prepare(batches[0])
        for batch in batches:
            opened = forwards.open(batch, rows)
            for number, row in enumerate(rows):
                for kind in ("random", "zero") if number % 2 else ("random",):
                    values = (
                        {tensor: fresh[tensor] for tensor in row.tensors}
                        if kind == "random" and number % 4
                        else values_for(model, row.tensors, kind, number)
                    )
                    fitted = {key: forwards.swap.fitted(key, value) for key, value in values.items()}
                    output, reason = opened.output(Variant(row, kind, fitted))
                    expected = oracle(values, batch)
                    away = difference(expected, output)
                    assert away <= tolerance, f"{row.name}, {kind}: {away:.1e} away ({reason or 'replayed'})"
                    assert same_answers(expected, output, tolerance)
                    worst, replayed = max(worst, away), replayed + (not reason)
        fallbacks = dict(forwards.fallbacks)
    assert fingerprint(model) == before
    return worst, fallbacks, replayed


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if architecture.quick else pytest.mark.slow)
        for name, architecture in ARCHITECTURES.items()
    ],
)
def test_architecture(name: str, record_property):
    worst, fallbacks, replayed = compared(name)
    record_property("worst", worst)
    record_property("fallbacks", str(fallbacks))
    if name in OTHER_WAYS:
        assert all("another way" in fallback.reason for fallback in fallbacks.values())
    else:
        assert not fallbacks
    assert replayed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vit", "bert", "gpt2"])
def test_in_bfloat16(name: str, record_property):
    worst, fallbacks, replayed = compared(name, "bf16", tolerance=1e-2)
    record_property("worst", worst)
    assert not fallbacks
    assert replayed
