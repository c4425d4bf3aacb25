"""Recipes of training against a loop written by hand: optimisers, schedules, smoothing, parts of batches, precision."""

import copy
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from lyrx.engine.batch import run_batch
from lyrx.engine.building import build_model, seed_all
from lyrx.engine.errors import SpecError
from lyrx.engine.examples import training_examples
from lyrx.engine.optimisers import make_optimiser, optimiser_classes
from lyrx.engine.prepare import prepare, probe_of
from lyrx.engine.seeds import derive
from lyrx.engine.spec import identity
from lyrx.engine.specfile import make_spec
from lyrx.engine.train import batches, epoch_order
from lyrx.engine.training_precision import TrainingPrecision
from lyrx.store import Run, Store
from running import batch, spec_values, weights
from torch import nn
from torch.nn import functional

CONV = {"name": "models_for_tests:convolutional"}


def plain_loop(optimiser, step, *, epochs: int = 2, model: dict | None = None, before=lambda model: None) -> nn.Module:
    """Train as the tests' spec says; `step(model, optimiser, inputs, targets, index)` takes a step."""
    spec = make_spec(spec_values(model=model or {}))
    data = spec.data.load()
    examples = training_examples(data, torch.device("cpu"))
    network = build_model(spec.model, data.shape, data.classes, derive(3, "init"))
    before(network)
    chosen, index = optimiser(network.parameters()), 0
    for epoch in range(1, epochs + 1):
        seed_all(derive(3, "epoch", epoch, 0))
        network.train()
        for part in batches(epoch_order(3, epoch, len(examples)), 32):
            chosen.zero_grad()
            step(network, chosen, *examples.take(part), index)
            index += 1
    return network


def same(run: Run, model: nn.Module) -> bool:
    epoch = run.checkpoints.final
    return weights(run, epoch) == {name: t.contiguous().numpy().tobytes() for name, t in model.state_dict().items()}


def trained(tmp_path: Path, model: dict | None = None, **train) -> Run:
    sections = {"train": {"epochs": 2, "checkpoints": [0, 1, 2], **train}, "probe": {"draws": 0}}
    return batch(tmp_path / "s.zarr", **sections, **({"model": model} if model else {}))[0]


def usual(network, optimiser, inputs, targets, index) -> None:
    functional.cross_entropy(network(inputs), targets).backward()
    optimiser.step()


@pytest.mark.parametrize(
    ("keys", "make"),
    [
        (
            {"optimizer": "rmsprop", "lr": 0.001, "optimizer_options": {"alpha": 0.9, "momentum": 0.5}},
            lambda p: torch.optim.RMSprop(p, lr=0.001, alpha=0.9, momentum=0.5),
        ),
        (
            {"optimizer": "Adam", "lr": 0.002, "weight_decay": 0.01, "optimizer_options": {"betas": [0.8, 0.95]}},
            lambda p: torch.optim.Adam(p, lr=0.002, weight_decay=0.01, betas=(0.8, 0.95), fused=True),
        ),
        ({"optimizer": "nadam", "lr": 0.002}, lambda p: torch.optim.NAdam(p, lr=0.002)),
        (
            {"optimizer": "adamw", "lr": 0.002, "optimizer_options": {"foreach": True}},
            lambda p: torch.optim.AdamW(p, lr=0.002, weight_decay=0.0, foreach=True),
        ),
        ({"optimizer": "adagrad", "lr": 0.02}, lambda p: torch.optim.Adagrad(p, lr=0.02, fused=True)),
    ],
    ids=["rmsprop", "adam", "nadam", "adamw", "adagrad"],
)
def test_optimisers_of_torch_by_name(tmp_path: Path, keys: dict, make):
    assert same(trained(tmp_path, **keys), plain_loop(make, usual))


def stopped_and_resumed(tmp_path: Path, model: dict | None = None, **train) -> Run:
    """Trained as :func:`trained` does, but stopped after the first epoch."""

    def stop(event) -> None:
        if type(event).__name__ == "EpochCommitted" and event.metrics.epoch == 1:
            raise KeyboardInterrupt

    sections = {"train": {"epochs": 2, "checkpoints": [0, 1, 2], **train}, "probe": {"draws": 0}}
    sections |= {"model": model} if model else {}
    with pytest.raises(KeyboardInterrupt):
        run_batch([make_spec(spec_values(**sections))], tmp_path / "s.zarr", fresh=False, observer=stop)
    return batch(tmp_path / "s.zarr", **sections)[0]


def some(names: Iterable[str], quick: set[str]) -> list[Any]:
    """The names; all but the quick ones are left to the long tests."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", some(sorted(set(optimiser_classes()) - {"muon"}), {"adamw", "rmsprop", "sgd"}))
def test_every_optimiser_trains_and_goes_on_after_a_stop(tmp_path: Path, name: str):
    keys = {"optimizer": name, "lr": 0.01}
    whole = trained(tmp_path / "whole", **keys)
    parts = stopped_and_resumed(tmp_path / "parts", **keys)
    assert weights(parts, 2) == weights(whole, 2) != weights(whole, 0)


@pytest.mark.parametrize("name", some(["sgd", "adam", "adagrad", "rmsprop"], {"adam"}))
@pytest.mark.parametrize(
    "keys",
    [{"channels_last": True}, {"channels_last": True, "precision": "bf16"}, {"precision": "fp16", "clip": 1.0}],
    ids=["channels_last", "bf16", "fp16"],
)
def test_a_convolutional_network_goes_on_after_a_stop_in_any_form(tmp_path: Path, name: str, keys: dict):
    keys = {"optimizer": name, "lr": 0.01, **keys}
    whole = trained(tmp_path / "whole", model=CONV, **keys)
    parts = stopped_and_resumed(tmp_path / "parts", model=CONV, **keys)
    assert weights(parts, 2) == weights(whole, 2) != weights(whole, 0)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"optimizer": "adamv"}, "Did you mean 'adam'"),
        ({"optimizer": "lbfgs"}, "'lbfgs' computes a batch's loss several times a step"),
        ({"optimizer": "SparseAdam"}, "'SparseAdam' takes sparse gradients only"),
        ({"optimizer": "adam", "optimizer_options": {"beta": 1}}, "Did you mean 'betas'"),
        ({"optimizer": "adam", "optimizer_options": {"betas": [2.0, 0.9]}}, "Invalid beta"),
        ({"optimizer": "adam", "optimizer_options": {"lr": 1.0}}, "no option of 'adam' that is set here"),
        ({"optimizer": "rprop", "weight_decay": 0.1}, "has none"),
        ({"optimizer": "Adam", "momentum": 0.5}, r"train\.momentum: is of optimizer = 'sgd' alone; 'adam' has none"),
        ({"optimizer": "adam", "momentum": 0.9}, r"train\.momentum: is of"),
        ({"optimizer": "rmsprop", "momentum": 0.5}, r"write optimizer_options = \{ momentum = 0\.5 \}"),
        ({"momentum": 0.5, "optimizer_options": {"momentum": 0.4}}, r"train\.momentum: is said twice"),
        ({"nesterov": True, "optimizer_options": {"nesterov": False}}, r"train\.nesterov: is said twice"),
    ],
)
def test_what_is_wrong_with_an_optimiser_is_said(train: dict, said: str):
    with pytest.raises(SpecError, match=said):
        prepare(make_spec(spec_values(train=train)))


def test_a_default_or_a_zero_is_no_momentum_that_is_ignored(tmp_path: Path):
    for train in ({"optimizer": "adam"}, {"optimizer": "adam", "momentum": 0.0, "nesterov": False}):
        prepare(make_spec(spec_values(train=train)))


def test_a_run_that_was_made_with_an_ignored_momentum_can_still_be_probed(tmp_path: Path):
    run = trained(tmp_path, optimizer="adam")
    assert run.info.spec["train"]["momentum"] == 0.9, "its stored spec says all defaults"
    assert probe_of(run, {"probe.at": ["zero"]}).probe.columns
    prepare(make_spec(spec_values(train={"optimizer": "adam", "momentum": 0.5})), run)


def test_learning_rates_by_hand():
    def rates(**train) -> list[float]:
        spec = make_spec(spec_values(train={"epochs": 4, "lr": 1.0, "checkpoints": [], **train})).train
        return [spec.lr_at(step, 5) for step in range(20)]

    assert rates(milestones=[1, 3], gamma=0.5) == [1.0] * 5 + [0.5] * 10 + [0.25] * 5
    assert rates(warmup=4)[:6] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    cosine = rates(schedule="cosine", warmup=2)
    assert cosine[:3] == [0.5, 1.0, 1.0]
    assert cosine[11] == pytest.approx(0.5)
    assert cosine[19] == pytest.approx((1 + math.cos(math.pi * 17 / 18)) / 2)
    rsqrt = rates(schedule="rsqrt", warmup=4)
    assert rsqrt[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rsqrt[15] == pytest.approx(0.5)


def test_a_warm_up_reaches_the_optimiser(tmp_path: Path):
    def step(network, optimiser, inputs, targets, index) -> None:
        optimiser.param_groups[0]["lr"] = 0.05 * min(1, (index + 1) / 60)
        usual(network, optimiser, inputs, targets, index)

    run = trained(tmp_path, warmup=60)
    assert same(run, plain_loop(lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, fused=True), step))
    assert [metrics.lr for metrics in run.history.read()[0]][1:] == [pytest.approx(0.05 * 45 / 60), 0.05]


def test_smoothing_and_clipping(tmp_path: Path):
    def step(network, optimiser, inputs, targets, index) -> None:
        logs = functional.log_softmax(network(inputs), dim=1)
        right = logs.gather(1, targets[:, None])[:, 0]
        loss = -(0.9 * right + 0.1 * logs.mean(dim=1)).mean()
        loss.backward()
        norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in network.parameters()))
        for parameter in network.parameters():
            parameter.grad.mul_(min(1.0, 0.5 / norm))
        optimiser.step()

    run = trained(tmp_path, label_smoothing=0.1, clip=0.5)
    model = plain_loop(lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), step)
    for name, array in run.checkpoints.read(2).items():
        assert torch.allclose(torch.from_numpy(array.copy()), model.state_dict()[name], atol=1e-4), name


def test_a_batch_in_parts_is_the_whole_batch(tmp_path: Path):
    """Without BatchNorm and dropout the gradient of a batch is the mean of its parts', also of unequal ones."""
    whole, parts = trained(tmp_path / "whole"), trained(tmp_path / "parts", accumulate=3)
    for name, array in whole.checkpoints.read(2).items():
        assert torch.allclose(
            torch.from_numpy(array.copy()), torch.from_numpy(parts.checkpoints.read(2)[name].copy()), atol=1e-5
        )
    losses = [[metrics.train_loss for metrics in run.history.read()[0]][1:] for run in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_bf16_computes_in_bf16_and_keeps_weights_in_fp32(tmp_path: Path):
    def step(network, optimiser, inputs, targets, index) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(network(inputs), targets)
        loss.backward()
        optimiser.step()

    run = trained(tmp_path, model=CONV, precision="bf16")
    assert same(run, plain_loop(lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, fused=True), step, model=CONV))
    assert not same(run, plain_loop(lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, fused=True), usual, model=CONV))


def test_fp16_scales_losses_and_goes_on_with_its_scale(tmp_path: Path):
    precision = TrainingPrecision("fp16", torch.device("cpu"))
    model = nn.Linear(4, 2)
    before = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    scale = precision.state()["scale"]
    precision.backward(model(torch.ones(1, 4)).sum())
    assert float(model.weight.grad.max()) == scale  # type: ignore[union-attr]
    precision.step(optimiser, model, None)
    assert torch.allclose(model.weight, before["weight"] - 0.1)
    # What overflows is left out, and the scale halves; another one goes on with it.
    optimiser.zero_grad()
    precision.backward(model(torch.full((1, 4), math.inf)).sum())
    kept = model.weight.clone()
    precision.step(optimiser, model, None)
    assert torch.equal(model.weight, kept)
    other = TrainingPrecision("fp16", torch.device("cpu"))
    other.restore(precision.state())
    assert other.state()["scale"] == scale / 2


def test_channels_last(tmp_path: Path):
    def step(network, optimiser, inputs, targets, index) -> None:
        usual(network, optimiser, inputs.contiguous(memory_format=torch.channels_last), targets, index)

    run = trained(tmp_path, model=CONV, channels_last=True)
    model = plain_loop(
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, fused=True),
        step,
        model=CONV,
        before=lambda network: network.to(memory_format=torch.channels_last),
    )
    assert model.state_dict()["0.weight"].is_contiguous(memory_format=torch.channels_last)
    assert same(run, model)


@pytest.mark.slow
def test_compiled_training_gives_the_same_network(tmp_path: Path):
    plain, compiled = trained(tmp_path / "a"), trained(tmp_path / "b", compile=True)
    for name, array in plain.checkpoints.read(2).items():
        assert torch.allclose(
            torch.from_numpy(array.copy()), torch.from_numpy(compiled.checkpoints.read(2)[name].copy()), atol=1e-4
        )


def test_a_run_made_before_a_key_existed_is_the_same_run(tmp_path: Path):
    run = trained(tmp_path)
    old = {section: dict(keys) for section, keys in run.info.spec.items()}
    for key in ("schedule", "warmup", "label_smoothing", "clip", "accumulate", "precision", "channels_last", "compile"):
        del old["train"][key]
    del old["train"]["optimizer_options"]
    assert identity(old, ("train",)) == identity(dict(run.info.spec), ("train",))
    changed = {**run.info.spec, "train": {**run.info.spec["train"], "label_smoothing": 0.1}}
    assert identity(old, ("train",)) != identity(changed, ("train",))
    assert Store.open(tmp_path / "s.zarr").run("r").status() == "complete"


def test_muon_says_what_it_is_for():
    if "muon" in optimiser_classes():
        with pytest.raises(SpecError, match="2D"):
            make_optimiser(make_spec(spec_values(train={"optimizer": "muon"})).train, nn.Linear(2, 2).parameters())
