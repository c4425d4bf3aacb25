"""`from lyrx.engine import probe`: against what a few lines of plain PyTorch find."""

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from lyrx.engine import ProbeResult, probe
from lyrx.engine.errors import DataError, LayerError, ModelError, SpecError
from lyrx.explorer.core.picture import take_picture
from lyrx.explorer.jsonout import picture_json
from lyrx.store import ColumnError, LyrxError
from replaying import fingerprint
from running import batch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

CLASSES = 4


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, CLASSES),
    )


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    """Squares in one of four corners, with noise; a task that is learned in seconds."""
    generator = torch.Generator().manual_seed(4)
    targets = torch.randint(0, CLASSES, (301,), generator=generator)
    inputs = torch.randn(301, 1, 8, 8, generator=generator) * 0.8
    for image, target in zip(inputs, targets.tolist(), strict=True):
        image[0, 4 * (target // 2) :, 4 * (target % 2) :][:4, :4] += 1
    return inputs, targets


@pytest.fixture(scope="module")
def trained(images) -> tuple[nn.Module, dict[int, dict[str, Tensor]]]:
    model = network()
    states = {0: copy.deepcopy(model.state_dict())}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(40):
        optimiser.zero_grad()
        functional.cross_entropy(model(images[0]), images[1]).backward()
        optimiser.step()
        if step in (3, 39):
            states[step + 1] = copy.deepcopy(model.state_dict())
    return model, states


@pytest.fixture
def model(trained) -> nn.Module:
    return copy.deepcopy(trained[0])


@pytest.fixture
def states(trained) -> dict[int, dict[str, Tensor]]:
    return trained[1]


LAYERS = {"0": ("0.weight", "1."), "3": ("3.",), "7": ("7.",)}


def wrongs(model: nn.Module, images: tuple[Tensor, Tensor], values: dict[str, Tensor]) -> int:
    """How many examples are wrong with `values` in place, by a plain forward of a copy."""
    other = copy.deepcopy(model).eval()
    other.load_state_dict({**other.state_dict(), **values})
    with torch.no_grad():
        return int((other(images[0]).argmax(1) != images[1]).sum())


def part(state: dict[str, Tensor], layer: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.startswith(LAYERS[layer])}


def test_re_initialised(model, states, images):
    before = fingerprint(model)
    result = probe(model, images, states)
    assert fingerprint(model) == before
    assert isinstance(result, ProbeResult)
    assert result.layers == ("0", "3", "7")
    assert result.columns == ("0", "4", "40")
    assert result.baseline == wrongs(model, images, {}) / 301
    for row, layer in enumerate(result.layers):
        for column, epoch in enumerate((0, 4, 40)):
            assert result.error[row, column] == wrongs(model, images, part(states[epoch], layer)) / 301
    assert (result.n == 301).all()
    assert (result.low == result.error).all()
    assert (result.high == result.error).all()
    assert result.fallbacks == ()
    assert result.error[:, 2].tolist() == [result.baseline] * 3
    assert result.agreement[:, 2].tolist() == [1.0] * 3
    assert result.baseline < 0.1
    assert result.error[2, 0] > 0.3
    assert result.verdicts[2][0] == "critical"
    assert result.verdicts[2][2] == "robust"


def test_both_evaluators_agree(model, states, images):
    options: dict[str, Any] = {
        "build": network,
        "at": ["random", "0", "zero", "noise:0.5", "path:0.5", "path:4:0.25", "shuffle"],
        "joint": [["0", "7"]],
        "draws": 2,
    }
    replayed, full = (probe(model, images, states, evaluator=how, **options) for how in ("replay", "full"))
    assert replayed.layers == ("0", "3", "7", "0+7")
    assert replayed.fallbacks == ()
    assert {fallback.reason for fallback in full.fallbacks} == {"full forwards were asked for"}
    for quantity in ("error", "low", "high", "agreement", "draws"):
        np.testing.assert_array_equal(getattr(replayed, quantity), getattr(full, quantity))
    np.testing.assert_allclose(replayed.loss, full.loss, rtol=1e-4)
    by_hand = [part(states[0], "0") | part(states[0], "7")]
    assert replayed.error[3, 1] == wrongs(model, images, by_hand[0]) / 301
    zeros = {"7.weight": torch.zeros(CLASSES, 24), "7.bias": torch.zeros(CLASSES)}
    assert replayed.error[2, 2] == wrongs(model, images, zeros) / 301
    half = {
        name: (states[0][name].double() + states[40][name].double()).div(2).float() for name in part(states[0], "7")
    }
    assert replayed.error[2, 4] == wrongs(model, images, half) / 301


def test_data_in_every_form(model, states, images):
    inputs, targets = images
    expected = probe(model, images, states).error
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=64)
    batches = [(inputs[:100], targets[:100]), (inputs[100:], targets[100:])]

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = model

        def forward(self, *, image: Tensor) -> dict[str, Tensor]:
            return {"logits": self.body(image)}

    for data in (loader, batches, [([inputs], targets)], ((inputs,), targets)):
        np.testing.assert_array_equal(probe(model, data, states).error, expected)
    inside = {epoch: {f"body.{name}": value for name, value in state.items()} for epoch, state in states.items()}
    for data in (
        ({"image": inputs}, targets),
        [{"image": inputs, "labels": targets}],
        {"image": inputs, "labels": targets},
    ):
        np.testing.assert_array_equal(probe(Named(), data, inside).error, expected)
    named = [{"image": inputs[:9], "wanted": targets[:9]}]
    assert probe(Named(), named, inside, targets="wanted").n.max() == 9


def test_not_all_of_the_data(model, states, images):
    inputs, targets = (torch.cat([tensor] * 12) for tensor in images)
    seen = []
    result = probe(model, (inputs, targets), states, exact=False, on_look=lambda result: seen.append(result.n.copy()))
    exact = probe(model, (inputs, targets), states)
    assert (exact.n == len(inputs)).all()
    assert (result.n < len(inputs)).any()
    assert len(seen) > 1
    assert seen[0].max() < seen[-1].max()
    assert ((result.low <= exact.error) & (exact.error <= result.high)).all()
    assert result.baseline == exact.baseline
    again = probe(model, (inputs, targets), states, exact=False)
    np.testing.assert_array_equal(again.error, result.error)


def test_as_json(model, states, images):
    result = probe(model, images, states, build=network, draws=2, layers=["3", "7"])
    value = json.loads(result.to_json())
    assert value["layers"] == ["3", "7"]
    assert value["baseline"]["error"] == result.baseline
    cells = {(cell["layer"], cell["column"]): cell for cell in value["cells"]}
    assert len(cells) == 2 * 4
    assert cells[1, 0]["error"] == result.error[1, 0]
    assert [draw["error"] for draw in cells[1, 0]["draws"]] == result.draws[1, 0].tolist()
    assert cells[1, 0]["spread"] == pytest.approx(np.std(result.draws[1, 0], ddof=1))
    assert "draws" not in cells[0, 1]
    assert cells[0, 1]["n"] == value["baseline"]["n"] == 301
    assert value["exact"] is cells[0, 1]["exact"] is cells[1, 0]["draws"][1]["exact"] is True
    assert value["columns"][1] == {"kind": "reinitialise", "checkpoint": 0} or value["columns"][1]["checkpoint"] == 0
    assert value["fallbacks"] == []


def test_json_has_the_keys_of_the_command_and_tells_estimates_from_exact_numbers(tmp_path, model, states, images):
    run, _ = batch(tmp_path / "s.zarr", probe={"draws": 2})
    stored = picture_json(take_picture(run))
    result = probe(model, images, states, build=network, draws=2, exact=False)
    value = json.loads(result.to_json())
    assert value.keys() - {"failures", "notes"} <= stored.keys()
    assert value["baseline"].keys() == stored["baseline"].keys()
    assert value["exact"] is False
    for place in (0, -1):
        mine, theirs = value["cells"][place], stored["cells"][place]
        assert theirs.keys() - mine.keys() == {"evaluator"}
        assert mine.keys() <= theirs.keys()
    assert value["cells"][0]["draws"][0].keys() == stored["cells"][0]["draws"][0].keys()
    for cell in value["cells"]:
        assert cell["exact"] is (cell["n"] == 301)


@pytest.mark.filterwarnings("ignore:what the network says of an example")
def test_what_could_not_be_replayed_on_some_batches_is_told(monkeypatch):
    class Sizes(nn.Module):
        """More ways than are kept: which one it takes depends on how many examples a batch has."""

        def __init__(self) -> None:
            super().__init__()
            self.layers, self.head = nn.ModuleList([nn.Linear(4, 4) for _ in range(12)]), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers[: len(x)]:
                x = layer(x)
            return self.head(x)

    torch.manual_seed(0)
    inputs, targets = torch.randn(78, 4), torch.randint(3, (78,))
    options = {"at": ["zero"], "layers": ["layers.0", "head"]}
    even = probe(Sizes(), (inputs, targets), **options, batch_size=6)
    assert even.fallbacks == ()

    monkeypatch.setattr("lyrx.engine.forwards.MOST_TRACES", 2)  # of 8 examples, at the first check, and of 6
    uneven = probe(Sizes(), (inputs, targets), **options, batch_size=6)
    # Looks of 64 and 14 examples, whose last batches are of 4 and 2; the second has the first layer's replays alone,
    # for which nothing is recorded, so that they go the batch's own way.
    said = "the network goes another way on every batch (on {} of 78 examples)"
    assert [(found.row, found.kind, found.reason) for found in uneven.fallbacks] == [
        ("layers.0", "zero", said.format(4)),
        ("head", "zero", said.format(6)),
    ]


def test_as_xarray(model, states, images):
    pytest.importorskip("xarray")
    result = probe(model, images, states, build=network, draws=2)
    data = result.to_xarray()
    assert data.error.dims == ("layer", "column", "draw")
    assert data.error.sel(layer="3", column="0").values[0] == result.error[1, 1]
    assert np.isnan(data.error.sel(layer="3", column="0").values[1])
    assert data.attrs["baseline"] == result.baseline
    assert float(data.error.sel(column="random").mean("draw")[2]) == pytest.approx(result.error[2, 0])


@pytest.mark.slow
def test_a_batch_at_a_time_is_the_same(model, states, images):
    expected = probe(model, images, states)
    for options in ({"batch_size": 7}, {"batch_size": 1000}, {"memory": 10_000_000}, {"device": "cpu"}):
        result = probe(model, images, states, **options)
        np.testing.assert_array_equal(result.error, expected.error)
        assert result.fallbacks == ()


def test_the_model_stays_as_it_was(model, states, images):
    model.train()
    model[1].eval()
    model[3].weight.requires_grad_(False)
    model[7].weight.grad = torch.ones_like(model[7].weight)
    model[2].register_forward_hook(lambda module, args, output: output)
    before, gradient = fingerprint(model), model[7].weight.grad
    grads = [parameter.requires_grad for parameter in model.parameters()]
    # The live state: what is put in place of it must not change with it.
    result = probe(model, images, {0: states[0], 40: model.state_dict()}, at=["40", "0", "noise:1"])
    assert result.error[:, 0].tolist() == [result.baseline] * 3
    assert fingerprint(model) == before
    assert [parameter.requires_grad for parameter in model.parameters()] == grads
    assert model[7].weight.grad is gradient
    assert torch.equal(gradient, torch.ones_like(gradient))


def test_the_data_stay_as_they_were(states, images):
    class Greedy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x.mul_(0.5))

    inside = {epoch: {f"body.{name}": value for name, value in state.items()} for epoch, state in states.items()}
    data = tuple(tensor.clone() for tensor in images)
    first = probe(Greedy(), data, inside, batch_size=1000)
    assert torch.equal(data[0], images[0])
    np.testing.assert_array_equal(probe(Greedy(), data, inside, evaluator="full").error, first.error)


def test_a_network_that_keeps_things(states, images):
    class Keeping(nn.Module):
        """Makes an attribute in its first forward, and alters a buffer in each."""

        def __init__(self) -> None:
            super().__init__()
            self.body = network()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.last = self.body(x)
            self.seen += len(x)
            return self.last + 0 * self.seen

    model = Keeping()
    inside = {0: {"seen": torch.zeros(1)} | {f"body.{name}": value for name, value in states[0].items()}}
    before = fingerprint(model)
    result = probe(model, images, inside)
    assert fingerprint(model) == before
    assert {fallback.kind for fallback in result.fallbacks} == {""}
    assert "seen" in result.fallbacks[0].reason or "last" in result.fallbacks[0].reason


BAD: list[tuple[dict[str, Any], type[LyrxError], str]] = [
    ({"checkpoints": None}, SpecError, "there is nothing to measure: give checkpoints, build"),
    ({"checkpoints": {}, "at": []}, SpecError, "there is nothing to measure"),
    ({"at": ["random"]}, SpecError, "'random' needs build="),
    ({"at": ["7"]}, SpecError, "'7' needs checkpoint 7; there are [0, 4, 40]"),
    ({"at": ["path:9:0.5"]}, SpecError, "needs checkpoint 9"),
    ({"at": ["everything"]}, ColumnError, "everything"),
    ({"at": ["noise:-1"]}, ColumnError, "noise:-1"),
    ({"tolerance": -0.1}, SpecError, "tolerance"),
    ({"loss": lambda output, targets: output.sum(1)}, SpecError, "loss goes with correct"),
    ({"correct": lambda output, targets: output.argmax(1) + targets}, ModelError, "bool[k], one for each example"),
    (
        {"correct": lambda output, targets: output.argmax(1) == targets, "loss": lambda output, targets: output},
        ModelError,
        "loss gives float",
    ),
    ({"layers": ["nine"]}, LayerError, "'nine' matches no layer"),
    ({"joint": [["0"]]}, LayerError, "one layer only"),
    ({"granularity": "patterns", "patterns": {"a": ["fc*"]}}, LayerError, "'fc*' matches no parameter"),
    ({"norm_statistics": "reestimated"}, SpecError, "needs norm_data"),
    ({"checkpoints": {0: {}}}, ModelError, "checkpoint 0 has no tensor '0.weight'"),
    ({"build": lambda: nn.Linear(3, 3), "at": ["random"]}, ModelError, "has no tensor"),
    ({"precision": "tf32"}, LyrxError, "only CUDA GPUs have"),
    ({"granularity": "leaf"}, SpecError, "granularity"),
    ({"evaluator": "quick"}, SpecError, "evaluator"),
    ({"norm_statistics": "fresh"}, SpecError, "norm_statistics"),
    ({"precision": "int4"}, SpecError, "precision"),
    ({"batch_size": 0}, SpecError, "batch_size"),
    ({"memory": -5}, SpecError, "memory"),
    ({"draws": -1}, SpecError, "draws"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD, ids=[str(sorted(bad[0])) for bad in BAD])
def test_what_does_not_fit_together(model, states, images, options, error, message):
    before = fingerprint(model)
    with pytest.raises(error) as raised:
        probe(model, images, **{"checkpoints": states, **options})
    assert message in str(raised.value)
    assert fingerprint(model) == before


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda x, y: x, "data is a Tensor"),
        (lambda x, y: 3, "data is a int"),
        (lambda x, y: [], "data holds no batches"),
        (lambda x, y: [x], "batch 0 of data is no pair"),
        (lambda x, y: (x, y[:9]), "must be for the same examples"),
        (lambda x, y: (x[:0], y[:0]), "at least one"),
        (lambda x, y: [{"x": x}], "no 'labels'; it has x"),
        (lambda x, y: [(x, y), (x[:, :, :4], y)], "different shapes in different batches"),
        (lambda x, y: [(x, y), ([x, x], y)], "holds 3 tensors, the first one 2"),
        (lambda x, y: [(x, object())], "holds a object"),
        (lambda x, y: (x, torch.tensor(3)), "first axes"),
    ],
)
def test_data_that_do_not_fit(model, states, images, data, message):
    with pytest.raises(DataError) as raised:
        probe(model, data(*images), states)
    assert message in str(raised.value)


def test_a_network_that_does_not_fit(states, images):
    with pytest.raises(ModelError, match="cannot process examples of shape"):
        probe(nn.Linear(3, 3), images, {0: nn.Linear(3, 3).state_dict()})
    pixels = nn.Conv2d(1, 3, 1)
    with pytest.raises(ModelError, match="one row of scores for each"):
        probe(pixels, images, {0: pixels.state_dict()})
    for labels, message in (
        (torch.full((301,), 4), "targets go from 4 to 4; the network has 4 classes"),
        (torch.full((301,), -100), "targets go from -100"),
        (images[1].float(), "targets are torch.float32[301]"),
        (functional.one_hot(images[1]), "targets are torch.int64[301, 4]"),
    ):
        with pytest.raises(DataError) as raised:
            probe(network(), (images[0], labels), states)
        assert message in str(raised.value)
    assert probe(network(), (images[0], images[1].byte()), states).n.max() == 301
