"""What `probe` is given: refused with a message where nothing sensible can be meant, and never misunderstood."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lyrx.engine import probe
from lyrx.engine.errors import DataError, DeviceError, ModelError, SpecError
from lyrx.store import LyrxError
from replaying import fingerprint
from torch import Tensor, nn

WIDTH, CLASSES = 6, 4


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return network()


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(40, WIDTH, generator=generator), torch.randint(0, CLASSES, (40,), generator=generator)


class Answers(nn.Module):
    """Returns what `answer` makes of the scores."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.a, self.answer = nn.Linear(WIDTH, CLASSES), answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.a(x))


def copies(module: nn.Module) -> nn.Module:
    """With a state that is no more the network's own."""
    module._register_state_dict_hook(lambda module, state, *_: {name: t.clone() for name, t in state.items()})
    return module


MODELS: list[tuple[Any, str]] = [
    (lambda x: x, "model is a function; a torch.nn.Module is needed"),
    (None, "model is None"),
    (nn.Sequential(nn.LazyLinear(4)), "the model's '0.weight' has no shape yet: run it once"),
    (nn.Linear(WIDTH, CLASSES, device="meta"), "on the device 'meta'"),
    (copies(network()), "'0.weight' of the model's state_dict() is a copy"),
    (nn.ReLU(), "holds no parameters"),
    (Answers(lambda scores: scores.mean()), "output has the shape []; one row of scores"),
    (Answers(lambda scores: scores[:, 0]), "output has the shape [2]"),
    (Answers(lambda scores: scores[:, :, None].expand(-1, -1, 5)), "output has the shape [2, 4, 5]"),
    (Answers(lambda scores: torch.complex(scores, scores)), "output is complex"),
    (Answers(lambda scores: None), "without logits"),
]


@pytest.mark.parametrize(("given", "message"), MODELS, ids=[message for _, message in MODELS])
def test_models(data, given: Any, message: str):
    with pytest.raises(LyrxError) as raised:
        probe(given, data, at=["zero"])
    assert message in str(raised.value)


def state(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


CHECKPOINTS: list[tuple[Callable[[nn.Module], Any], str]] = [
    (lambda m: [state(m)], "checkpoints is a list; state dicts by epoch are needed"),
    (lambda m: {"0": state(m)}, "'0' is no epoch"),
    (lambda m: {"init": state(m), 1: state(m)}, "'init' is no epoch"),
    (lambda m: {-1: state(m)}, "-1 is no epoch"),
    (lambda m: {0.5: state(m)}, "0.5 is no epoch"),
    (lambda m: {True: state(m)}, "True is no epoch"),
    (lambda m: {0: "start.pt"}, "checkpoints: 0 is a str; a state dict is needed"),
    (lambda m: {0: m}, "checkpoints: 0 is a Sequential"),
    (lambda m: {0: None}, "checkpoints: 0 is None"),
    (
        lambda m: {0: {"state_dict": state(m)}},
        "no tensor '0.weight', which the trained network has. It has 'state_dict'.",
    ),
    (lambda m: {0: {name: value.numpy() for name, value in state(m).items()}}, "'0.weight' is a ndarray, not a tensor"),
    (lambda m: {0: {name: value.to("meta") for name, value in state(m).items()}}, "not a tensor with numbers"),
    (lambda m: {0: {name: value[:2] for name, value in state(m).items()}}, "'0.weight' is float32[2, 6]"),
    (lambda m: {0: {name: value.half() for name, value in state(m).items()}}, "'0.weight' is float16[6, 6]"),
]


@pytest.mark.parametrize(("given", "message"), CHECKPOINTS, ids=[message for _, message in CHECKPOINTS])
def test_checkpoints(model, data, given: Callable[[nn.Module], Any], message: str):
    with pytest.raises((SpecError, ModelError)) as raised:
        probe(model, data, given(model))
    assert message in str(raised.value)


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"at": "zero"}, "at='zero' is not possible: it is a list of texts"),
    ({"at": 0}, "at=0 is not possible"),
    ({"layers": "02"}, "layers='02' is not possible"),  # not the rows '0' and '2'
    ({"joint": "0,2"}, "joint='0,2' is not possible"),
    ({"joint": ["02"]}, "joint[0]='02' is not possible"),
    ({"granularity": "patterns", "patterns": {"a": "0.*"}}, "patterns['a']='0.*' is not possible"),  # not '*'
    ({"granularity": "patterns", "patterns": ["0.*"]}, "patterns is a list"),
    ({"patterns": {"a": ["0.*"]}}, "patterns go with granularity='patterns'"),
    ({"draws": 2.5}, "draws=2.5 is not possible"),
    ({"draws": "2"}, "draws='2' is not possible"),
    ({"batch_size": 2.5}, "batch_size=2.5"),
    ({"batch_size": True}, "batch_size=True"),
    ({"memory": 1e9}, "memory=1000000000.0"),
    ({"tolerance": "x"}, "tolerance"),
    ({"tolerance": None}, "tolerance"),
    ({"tolerance": float("nan")}, "tolerance"),
    ({"tolerance": 5}, "a fraction from 0 to 1; 5 points are 0.05"),
    ({"device": "gpu"}, "device='gpu' is not possible"),
    ({"device": "mps"}, "device='mps' is not possible"),
    ({"device": 3.5}, "device=3.5 is not possible"),
    ({"build": network()}, "build is a Sequential; a function"),
    ({"build": lambda: None}, "build makes None; a torch.nn.Module is needed"),
    ({"build": lambda: 1 / 0}, "build fails: ZeroDivisionError: division by zero"),
    ({"correct": 3}, "correct is a int; a function"),
    ({"correct": lambda output, targets: None}, "correct gives a NoneType"),
    ({"correct": lambda output, targets: (output.argmax(1) == targets).tolist()}, "correct gives a list"),
    ({"correct": lambda output, targets: (output.argmax(1) == targets)[:1]}, "1 answers came of a batch of"),
    ({"correct": lambda output, targets: (output.argmax(1) == targets).repeat(2)}, "80 answers came of a batch of 40"),
    ({"correct": lambda output, targets: output.argmax(1) == targets, "loss": lambda *_: 3.0}, "loss gives a float"),
    ({"norm_statistics": "reestimated", "norm_data": 3}, "norm_data: data is a int"),
    (
        {"norm_statistics": "reestimated", "norm_data": (torch.randn(40, 5), torch.zeros(40))},
        "the network cannot process norm_data: RuntimeError",
    ),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS, ids=[message for _, message in OPTIONS])
def test_options(model, data, options: dict[str, Any], message: str):
    before = fingerprint(model)
    with pytest.raises(LyrxError) as raised:
        probe(model, data, **{"checkpoints": {0: state(model)}, **options})
    assert message in str(raised.value)
    assert fingerprint(model) == before


def test_a_gpu_that_is_not_there(model, data):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    for device in ("cuda", "cuda:1", torch.device("cuda")):
        with pytest.raises(DeviceError, match="torch sees no CUDA GPU"):
            probe(model, data, at=["zero"], device=device)
    assert probe(model, data, at=["zero"], device="auto").n.min() == 40


def test_a_build_that_hands_out_the_probed_network(model, data):
    with pytest.raises(ModelError, match="build hands out the network that is being probed"):
        probe(model, data, at=["random"], build=lambda: model)
    with pytest.raises(ModelError, match="`build` makes the trained network itself"):
        probe(model, data, at=["random"], build=lambda: copy.deepcopy(model))


DATA: list[tuple[Callable[[Tensor, Tensor], Any], str]] = [
    (lambda x, y: (x.numpy(), y.numpy()), "batch 0 of data is no pair (inputs, targets) and no dict of tensors"),
    (lambda x, y: (x, y.tolist()), "its targets must be a tensor"),
    (lambda x, y: [(x, y.tolist())], "batch 0 of data has a list of values as targets"),
    (lambda x, y: [(x, (y, ["a"] * 40))], "a list of values as targets"),
    (lambda x, y: ((x[i : i + 8], y[i : i + 8]) for i in ()), "data holds no batches"),
    (
        lambda x, y: [{"input": x[:9], "labels": y[:9], "k": 1}, {"input": x[9:], "labels": y[9:], "k": 2}],
        "batch 1 of data holds other values beside its tensors",
    ),
]


@pytest.mark.parametrize(("given", "message"), DATA, ids=[message for _, message in DATA])
def test_data(model, data, given: Callable[[Tensor, Tensor], Any], message: str):
    with pytest.raises(DataError) as raised:
        probe(model, given(*data), at=["zero"])
    assert message in str(raised.value)


def test_texts_as_targets_would_be_anothers(model, data):
    """Examples are visited in another order than they are given in; a list of texts would not follow."""
    names = ["abcd"[label] for label in data[1].tolist()]
    with pytest.raises(DataError, match="list of values"):
        probe(model, [(data[0], names)], at=["zero"], correct=lambda output, wanted: torch.ones(40).bool())


def test_data_that_can_be_read_once(model, data):
    batches = [(data[0][i : i + 7], data[1][i : i + 7]) for i in range(0, 40, 7)]
    once = probe(model, iter(batches), at=["zero"])
    np.testing.assert_array_equal(once.error, probe(model, data, at=["zero"]).error)


def test_scores_that_only_many_digits_tell_apart(data):
    class Far(nn.Module):
        """In float32 all its scores are equal."""

        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(WIDTH, CLASSES).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x.double()) + 1e9

    torch.manual_seed(2)
    model = Far()
    with torch.no_grad():
        targets = model(data[0]).argmax(1)
    assert len(set(targets.tolist())) > 1
    result = probe(model, (data[0], targets), {0: Far().state_dict()})
    assert result.baseline == 0
    assert result.error[0, 0] > 0


@pytest.mark.parametrize("evaluator", ["replay", "full"])
def test_precision_is_what_it_says_whatever_is_around(model, data, evaluator: Any):
    expected = probe(model, data, at=["zero", "noise:0.5"], evaluator=evaluator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = probe(model, data, at=["zero", "noise:0.5"], evaluator=evaluator)
    np.testing.assert_array_equal(inside.loss, expected.loss)
    assert inside.baseline_loss == expected.baseline_loss


def test_examples_that_know_of_each_other_are_spoken_of(data):
    mixing = nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH, track_running_stats=False), nn.Linear(WIDTH, CLASSES)
    )
    with pytest.warns(RuntimeWarning, match="depends on the others in its batch"):
        result = probe(mixing, data, at=["zero"])
    assert "depends on the others" in result.notes[0]
    assert "depends on the others" in result.to_json()
    with pytest.warns(RuntimeWarning, match="or on chance"):
        probe(Answers(lambda scores: nn.functional.dropout(scores, training=True)), data, at=["zero"])


@pytest.mark.filterwarnings("error")
def test_most_networks_are_not_spoken_of(model, data):
    assert probe(model, data, at=["zero"]).notes == ()
    assert probe(model, (data[0][:1], data[1][:1]), at=["zero"]).notes == ()


def test_answers_that_look_from_one_example_to_the_next(model, data):
    """Which of the batch is the nearest, say: another variant's examples must not be among them."""

    def nearest(output: Tensor, targets: Tensor) -> Tensor:
        distances = torch.cdist(output, output).fill_diagonal_(torch.inf)
        return targets[distances.argmin(1)] == targets

    few = data[0][:12], data[1][:12]
    options: dict[str, Any] = {"at": ["noise:0.3", "shuffle"], "draws": 6, "correct": nearest}
    replayed, full = (probe(model, few, evaluator=how, **options) for how in ("replay", "full"))
    np.testing.assert_array_equal(replayed.draws, full.draws)
    assert len(set(full.draws.flatten().tolist())) > 2


def test_a_path_leaves_the_callers_checkpoints_as_they_are(data):
    """Tensors of the type that a path is computed in are the caller's own, not copies."""
    torch.manual_seed(3)
    model, start = (network().double() for _ in range(2))
    states = {0: start.state_dict()}
    before = copy.deepcopy(states)
    given = data[0].double(), data[1]
    result = probe(model, given, states, at=["0", "path:0.5", "path:0"])
    for name, value in before[0].items():
        assert torch.equal(states[0][name], value)
    np.testing.assert_array_equal(result.error[:, 0], probe(model, given, before, at=["0"]).error[:, 0])
    np.testing.assert_array_equal(result.error[:, 0], result.error[:, 2])


def test_scripted_networks(data):
    scripted: Any = torch.jit.script(network())
    replayed, full = (probe(scripted, data, at=["zero", "noise:1"], evaluator=how) for how in ("replay", "full"))
    assert replayed.layers == ("0", "2")
    np.testing.assert_array_equal(replayed.draws, full.draws)
    assert replayed.fallbacks == ()


def test_a_last_batch_that_the_network_cannot_take(data):
    model = nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH, track_running_stats=False), nn.Linear(WIDTH, CLASSES)
    )
    few = data[0][:37], data[1][:37]
    with (
        pytest.warns(RuntimeWarning, match="depends on the others"),
        pytest.raises(LyrxError, match="the trained network fails on a batch of 1 examples: ValueError: Expected more"),
    ):
        probe(model, few, at=["zero"], batch_size=12)
