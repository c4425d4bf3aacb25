"""`probe` on other tasks than images' classes, with norms' statistics, and where memory is short."""

import copy
from typing import Any

import architectures
import numpy as np
import pytest
import torch
from lyrx.engine import probe
from lyrx.engine.errors import ModelError
from lyrx.engine.norms import norm_batches
from lyrx.engine.replay.replayer import Replayer
from replaying import fingerprint
from torch import Tensor, nn
from torch.nn import functional


def put(model: nn.Module, values: dict[str, Tensor]) -> nn.Module:
    other = copy.deepcopy(model).eval()
    other.load_state_dict({**other.state_dict(), **values})
    return other


def starting(state: dict[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.startswith(prefixes)}


def test_a_transformer_with_attention_masks():
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    model, start = (architectures.ARCHITECTURES["bert"].build() for _ in range(2))
    data = architectures.ARCHITECTURES["bert"].batch(40, torch.Generator().manual_seed(2)).kwargs
    labels = torch.randint(0, 2, (40,))
    split = [{name: tensor[places] for name, tensor in {**data, "labels": labels}.items()} for places in
             (slice(0, 16), slice(16, 40))]  # fmt: skip
    result = probe(model, split, {0: start.state_dict()}, granularity="block", batch_size=16)
    assert result.fallbacks == ()
    assert "bert.encoder.layer.1" in result.layers
    for row, layer in enumerate(result.layers):
        if layer.startswith("bert.encoder.layer"):
            with torch.no_grad():
                logits = put(model, starting(start.state_dict(), f"{layer}."))(**data).logits
            assert result.error[row, 0] == int((logits.argmax(1) != labels).sum()) / 40


@pytest.fixture(scope="module")
def pixels() -> tuple[nn.Module, dict[str, Tensor], Tensor, Tensor]:
    """A U-Net that says which pixels are bright, trained for a moment."""
    torch.manual_seed(1)
    model = architectures.UNet(4, 2)
    start = copy.deepcopy(model.state_dict())
    inputs = torch.randn(30, 1, 16, 16)
    targets = (functional.avg_pool2d(inputs, 3, 1, 1) > 0).squeeze(1).long()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(25):
        optimiser.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        optimiser.step()
    return model.eval(), start, inputs, targets


def mostly_right(output: Tensor, targets: Tensor) -> Tensor:
    return (output.argmax(1) == targets).float().mean((1, 2)) > 0.8


def pixel_loss(output: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(output, targets, reduction="none").mean((1, 2))


@pytest.mark.slow
def test_segmentation(pixels):
    model, start, inputs, targets = pixels
    result = probe(
        model, (inputs, targets), {0: start}, granularity="module", correct=mostly_right, loss=pixel_loss, batch_size=12
    )
    assert result.fallbacks == ()
    assert result.baseline < 0.5
    for row, layer in enumerate(result.layers):
        with torch.no_grad():
            output = put(model, starting(start, f"{layer}."))(inputs)
        assert result.error[row, 0] == int((~mostly_right(output, targets)).sum()) / 30, layer
        assert result.loss[row, 0] == pytest.approx(float(pixel_loss(output, targets).mean()), rel=1e-4)
    assert result.error.max() > result.baseline
    without = probe(model, (inputs, targets), {0: start}, granularity="module", correct=mostly_right)
    assert np.isnan(without.loss).all()
    np.testing.assert_array_equal(without.error, result.error)
    assert '"loss": null' in without.to_json()
    with pytest.raises(ModelError, match="one row of scores"):
        probe(model, (inputs, targets[:, 0, 0]), {0: start})


def test_norm_statistics(pixels):
    model, start, inputs, targets = pixels
    generator = torch.Generator().manual_seed(3)
    training = (torch.randn(300, 1, 16, 16, generator=generator), torch.zeros(300, dtype=torch.long))
    layer = "down.1.3"  # with the norm behind it, down.1.4
    both = starting(start, "down.1.3.", "down.1.4.")
    statistics = {name for name in both if "running" in name or "num_batches" in name}
    for policy in ("rewound", "kept", "reestimated"):
        result = probe(
            model, (inputs, targets), {0: start}, layers=[layer], correct=mostly_right, loss=pixel_loss,
            norm_statistics=policy, norm_data=training, norm_batches=2, seed=5,
        )  # fmt: skip
        values = both if policy == "rewound" else {name: both[name] for name in both if name not in statistics}
        other = put(model, values)
        if policy == "reestimated":
            estimated(other, training[0], behind=["down.1.4", "bottom", "merge"], seed=5)
        with torch.no_grad():
            output = other(inputs)
        assert result.layers == (layer,)
        assert result.error[0, 0] == int((~mostly_right(output, targets)).sum()) / 30, policy
        assert result.loss[0, 0] == pytest.approx(float(pixel_loss(output, targets).mean()), rel=1e-3), policy
        assert result.fallbacks == ()


def estimated(model: nn.Module, training: Tensor, behind: list[str], seed: int) -> None:
    """Running statistics as the mean over two batches, of the norms whose input the reset has changed."""
    chosen = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d) and name.startswith(tuple(behind))
    ]
    for norm in chosen:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for places in norm_batches(seed, len(training), 2, 128):
            model(training[places])
    model.eval()


def run(pixels: Any, **options: Any) -> Any:
    model, start, inputs, targets = pixels
    return probe(model, (inputs, targets), {0: start}, correct=mostly_right, granularity="module", **options)


@pytest.mark.parametrize("where", ["record", "run", "full"])
def test_memory_that_does_not_suffice_for_a_batch(pixels, monkeypatch, where: str):
    expected = run(pixels, batch_size=16)
    before, sizes, original = fingerprint(pixels[0]), [], getattr(Replayer, where)

    def short(self: Replayer, *args: Any) -> Any:
        arguments = args[0].arguments if where == "run" else args[1] if where == "record" else args[0]
        sizes.append(len(arguments.tensors()[0]))
        if sizes[-1] > 4:
            raise torch.OutOfMemoryError("pretended")
        return original(self, *args)

    if where != "full":  # the checks on a slice are not what this is about
        monkeypatch.setattr("lyrx.engine.api.CHECKED", 4)
        monkeypatch.setattr("lyrx.engine.sweep.CHECKED", 4)
    else:
        monkeypatch.setattr("lyrx.engine.api.CHECKED", 3)
    monkeypatch.setattr(Replayer, where, short)
    result = run(pixels, batch_size=16)
    assert {8, 16} & set(sizes)
    assert 4 in sizes
    np.testing.assert_array_equal(result.error, expected.error)
    np.testing.assert_array_equal(result.agreement, expected.agreement)
    assert result.fallbacks == ()
    assert fingerprint(pixels[0]) == before


def test_every_example_counts_once_however_often_memory_does_not_suffice(pixels, monkeypatch):
    """A second shortage is met within the smaller batches that the first one led to: 16, then 8, then 4."""
    model, start, inputs, _ = pixels
    numbers, counted = torch.arange(len(inputs)), []

    def logged(output: Tensor, targets: Tensor) -> Tensor:
        counted.append(targets.tolist())
        return targets % 3 == 0

    original, refused = Replayer.run, []

    def short(self: Replayer, arguments: Any, *args: Any) -> Any:
        examples = len(arguments.arguments.tensors()[0])
        if examples > 4:
            refused.append(examples)
            raise torch.OutOfMemoryError("pretended")
        return original(self, arguments, *args)

    monkeypatch.setattr("lyrx.engine.api.CHECKED", 4)
    monkeypatch.setattr("lyrx.engine.sweep.CHECKED", 4)
    monkeypatch.setattr(Replayer, "run", short)
    result = probe(model, (inputs, numbers), {0: start}, correct=logged, layers=["down.0.0"], batch_size=16)
    baseline, cell = counted[:2], counted[2:]
    assert [len(batch) for batch in baseline] == [16, 14]  # a full forward, which memory suffices for
    assert refused == [16, 8]  # what has not sufficed once is not tried again
    assert [len(batch) for batch in cell] == [4, 4, 4, 4, 4, 4, 4, 2]
    assert [number for batch in cell for number in batch] == [number for batch in baseline for number in batch]
    assert sorted(number for batch in cell for number in batch) == list(range(30))
    assert result.error[0, 0] == 20 / 30
    assert result.n[0, 0] == 30
    assert result.fallbacks == ()


@pytest.mark.slow
def test_memory_that_does_not_suffice_for_one_example(pixels, monkeypatch):
    expected, original = run(pixels), Replayer.record

    def short(self: Replayer, trace: Any, arguments: Any, recipes: Any) -> Any:
        recipes = list(recipes)
        if len(recipes) > 1:
            raise torch.OutOfMemoryError("pretended")
        return original(self, trace, arguments, recipes)

    monkeypatch.setattr(Replayer, "record", short)
    result = run(pixels, batch_size=2)
    np.testing.assert_array_equal(result.error, expected.error)
    assert {fallback.row for fallback in result.fallbacks} == set(result.layers)
    assert {fallback.reason for fallback in result.fallbacks} == {
        "what must be kept of a single example does not fit into memory"
    }


@pytest.mark.slow
def test_a_budget_too_small_for_one_record(pixels):
    expected = run(pixels)
    result = run(pixels, memory=1000)
    np.testing.assert_array_equal(result.error, expected.error)
    assert {fallback.reason for fallback in result.fallbacks} == {
        "what must be kept of a single example does not fit into memory"
    }


def test_an_error_in_the_network_leaves_it_as_it_was(pixels):
    model, start, inputs, targets = pixels
    calls = []

    def failing(output: Tensor, targets: Tensor) -> Tensor:
        calls.append(len(output))
        if len(calls) > 6:
            raise RuntimeError("in the middle of it")
        return mostly_right(output, targets)

    before = fingerprint(model)
    with pytest.raises(RuntimeError, match="in the middle of it"):
        probe(model, (inputs, targets), {0: start}, correct=failing, batch_size=10)
    assert fingerprint(model) == before
