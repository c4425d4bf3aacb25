"""lyrx's own families of models: sizes, published counts, initialisation, names of layers and blocks, one step."""

import math
from typing import Any

import pytest
import torch
from lyrx.engine import probe
from lyrx.engine.building import build_model
from lyrx.engine.errors import ModelError
from lyrx.engine.layers import find_layers
from lyrx.engine.models import model_spec
from lyrx.engine.state import describe, load_arrays, named_tensors, same_bits, state_arrays
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

TINY: dict[str, tuple[dict[str, Any], tuple[int, ...], int]] = {
    "fcn": ({"name": "fcn", "width": 16, "depth": 2, "batch_norm": True}, (1, 8, 8), 10),
    "resnet18": ({"name": "resnet18"}, (3, 16, 16), 10),
    "resnet50": ({"name": "resnet50", "stem": "imagenet"}, (3, 32, 32), 7),
    "vgg11": ({"name": "vgg11"}, (3, 32, 32), 10),
    "vgg13 with norms": ({"name": "vgg13", "batch_norm": True}, (1, 32, 32), 5),
    "transformer": ({"name": "transformer", "width": 16, "heads": 2, "depth": 2, "feedforward": 24}, (6,), 30),
    "transformer, tied": (
        {"name": "transformer", "width": 16, "heads": 2, "depth": 1, "norm": "post", "tied": True},
        (6,),
        30,
    ),
}


def built(values: dict[str, Any], shape: tuple[int, ...], classes: int, seed: int = 1) -> nn.Module:
    return build_model(model_spec(values), shape, classes, seed)


def examples(shape: tuple[int, ...], classes: int, count: int = 4, seed: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    if len(shape) == 1:
        tokens = torch.randint(classes, (count, shape[0] + 1), generator=generator)
        return tokens[:, :-1], tokens[:, 1:]
    return torch.randn(count, *shape, generator=generator), torch.randint(classes, (count,), generator=generator)


def counted(values: dict[str, Any], shape: tuple[int, ...], classes: int) -> int:
    with torch.device("meta"):
        model = model_spec(values).build(shape, classes)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("values", "shape", "classes", "parameters"),
    [
        # As published by torchvision for its weights of ImageNet.
        ({"name": "resnet18"}, (3, 224, 224), 1000, 11_689_512),
        ({"name": "resnet34"}, (3, 224, 224), 1000, 21_797_672),
        ({"name": "resnet50"}, (3, 224, 224), 1000, 25_557_032),
        ({"name": "resnet101"}, (3, 224, 224), 1000, 44_549_160),
        ({"name": "resnet152"}, (3, 224, 224), 1000, 60_192_808),
        ({"name": "vgg11"}, (3, 224, 224), 1000, 132_863_336),
        ({"name": "vgg13"}, (3, 224, 224), 1000, 133_047_848),
        ({"name": "vgg16"}, (3, 224, 224), 1000, 138_357_544),
        ({"name": "vgg19"}, (3, 224, 224), 1000, 143_667_240),
        ({"name": "vgg16", "batch_norm": True}, (3, 224, 224), 1000, 138_365_992),
        # For CIFAR: the usual numbers of the implementations with a 3 x 3 stem, and of VGG with one linear layer.
        ({"name": "resnet18"}, (3, 32, 32), 10, 11_173_962),
        ({"name": "resnet50"}, (3, 32, 32), 10, 23_520_842),
        ({"name": "vgg11", "batch_norm": True}, (3, 32, 32), 10, 9_231_114),
        ({"name": "vgg16", "batch_norm": True}, (3, 32, 32), 10, 14_728_266),
        # 28 x 28 x 256 + 256, twice 256 x 256 + 256, 256 x 10 + 10.
        ({"name": "fcn"}, (1, 28, 28), 10, 335_114),
        ({"name": "fcn", "depth": 5}, (1, 28, 28), 10, 466_698),
        # Embedding, 6 times (4 projections, 2 norms, 2 layers with biases), a norm, the output layer with its bias.
        (
            {"name": "transformer"},
            (128,),
            30_000,
            30_000 * 512
            + 6 * (4 * 512 * 512 + 4 * 512 + 512 * 2048 + 2048 + 2048 * 512 + 512)
            + 2 * 512
            + 512 * 30_000
            + 30_000,
        ),
        (
            {"name": "transformer", "tied": True, "norm": "post", "depth": 1},
            (128,),
            30_000,
            30_000 * 512 + 4 * 512 * 512 + 4 * 512 + 512 * 2048 + 2048 + 2048 * 512 + 512,
        ),
    ],
    ids=lambda value: value.get("name") if isinstance(value, dict) else None,
)
def test_parameters_are_counted_as_published(values, shape, classes, parameters):
    assert counted(values, shape, classes) == parameters


@pytest.mark.parametrize("name", TINY)
def test_one_step_changes_every_parameter_and_a_state_goes_into_another_network(name):
    values, shape, classes = TINY[name]
    model = built(values, shape, classes)
    inputs, targets = examples(shape, classes)
    model.eval()
    output = model(inputs)
    assert output.shape == (*targets.shape, classes)
    assert torch.equal(model(inputs), output)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.train()
    torch.manual_seed(0)
    # Adam: also what a norm right behind takes away again (a bias before BatchNorm) has a gradient, if a tiny one.
    optimiser = torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-12)
    functional.cross_entropy(model(inputs).reshape(-1, classes), targets.reshape(-1)).backward()
    optimiser.step()
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])] == []

    other = built(values, shape, classes, seed=2)
    infos = {info.name: info for info in describe(model)}
    load_arrays(other, infos, state_arrays(model, infos.values()))
    assert all(same_bits(named_tensors(other)[name], tensor) for name, tensor in named_tensors(model).items())
    model.eval(), other.eval()
    assert torch.equal(model(inputs), other(inputs))


def test_a_seed_gives_the_librarys_own_initialisation():
    ours = named_tensors(built({"name": "resnet18"}, (3, 224, 224), 10, seed=3))
    torch.manual_seed(3)
    theirs = named_tensors(models.resnet18(num_classes=10))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    small = named_tensors(built({"name": "resnet18"}, (3, 32, 32), 10, seed=3))
    assert all(torch.equal(small[name], theirs[name]) for name in theirs if name != "conv1.weight")
    # He et al., ICCV 2015, by fan out, as every convolution of torchvision's: 64 maps, each of 3 x 3.
    assert small["conv1.weight"].std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.05)


def test_vgg_for_small_images_keeps_torchvisions_initialisation():
    tensors = named_tensors(built({"name": "vgg11"}, (3, 32, 32), 10))
    for name, tensor in tensors.items():
        if name.startswith("features") and name.endswith("weight"):
            assert tensor.std().item() == pytest.approx(math.sqrt(2 / (9 * len(tensor))), rel=0.1), name
        elif name.startswith("features"):
            assert not tensor.any(), name
    assert tensors["classifier.weight"].abs().max() <= 1 / math.sqrt(512)  # nn.Linear's own


@pytest.mark.slow
def test_vgg_for_large_images_is_torchvisions_bit_for_bit():
    ours = named_tensors(built({"name": "vgg11", "batch_norm": True}, (3, 224, 224), 10, seed=3))
    torch.manual_seed(3)
    theirs = named_tensors(models.vgg11_bn(num_classes=10))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_the_stem_is_chosen_by_size_or_by_key():
    def stem(size: int, **keys: str) -> tuple[int, ...]:
        with torch.device("meta"):
            return model_spec({"name": "resnet18", **keys}).build((3, size, size), 10).conv1.kernel_size  # type: ignore[union-attr, return-value]

    assert [stem(size) for size in (28, 32, 64, 96, 224)] == [(3, 3)] * 3 + [(7, 7)] * 2
    assert (stem(32, stem="imagenet"), stem(224, stem="cifar")) == ((7, 7), (3, 3))


def rows(values: dict[str, Any], shape: tuple[int, ...], classes: int, granularity: str) -> list[str]:
    model = built(values, shape, classes)
    found = find_layers(model, describe(model), examples(shape, classes)[0], granularity)
    claimed = [tensor for row in found.rows for tensor in row.tensors]
    assert sorted(claimed) == sorted(info.name for info in describe(model)), "a tensor in no row, or in two"
    return [row.name for row in found.rows]


def test_names_of_layers_and_blocks():
    assert rows(*TINY["fcn"], "layer") == ["fc1", "fc2", "output"]
    stages = [f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]
    assert rows(*TINY["resnet18"], "block") == ["conv1", *stages, "fc"]
    stages = [f"layer{stage}.{block}" for stage, count in zip(range(1, 5), (3, 4, 6, 3), strict=True)
              for block in range(count)]  # fmt: skip
    assert rows(*TINY["resnet50"], "block") == ["conv1", *stages, "fc"]
    convolutions = [f"features.{index}" for index in (0, 3, 6, 8, 11, 13, 16, 18)]
    assert rows(*TINY["vgg11"], "layer") == [*convolutions, "classifier"]
    assert rows(*TINY["vgg11"], "block") == [*convolutions, "classifier"]
    convolutions = [f"features.{index}" for index in (0, 3, 7, 10, 14, 17, 21, 24, 28, 31)]
    assert rows(*TINY["vgg13 with norms"], "layer") == [*convolutions, "classifier"]
    parts = [f"blocks.{block}.{part}" for block in range(2) for part in ("attention", "feedforward")]
    assert rows(*TINY["transformer"], "layer") == ["embedding", *parts, "norm", "output"]
    assert rows(*TINY["transformer"], "block") == ["embedding", "blocks.0", "blocks.1", "norm", "output"]
    one = [f"attention.{part}" for part in ("query", "key", "value", "out")]
    assert rows(*TINY["transformer"], "module") == [
        "embedding",
        *(f"blocks.{block}.{part}" for block in range(2)
          for part in ("norm1", *one, "norm2", "feedforward.fc1", "feedforward.fc2")),
        "norm",
        "output",
    ]  # fmt: skip
    # Tied: the output layer's weights are the embedding's.
    assert rows(*TINY["transformer, tied"], "layer") == ["embedding", "blocks.0.attention", "blocks.0.feedforward"]


def test_which_norm_belongs_to_which_part():
    def norms(name: str) -> dict[str, list[str]]:
        values, shape, classes = TINY[name]
        model = built(values, shape, classes)
        found = find_layers(model, describe(model), examples(shape, classes)[0])
        return {row.name: [t for t in row.tensors if "norm" in t and t.endswith("weight")] for row in found.rows}

    before, after = norms("transformer"), norms("transformer, tied")
    assert before["blocks.1.attention"] == ["blocks.1.norm1.weight"]  # pre-norm: the one that feeds it
    assert before["blocks.1.feedforward"] == ["blocks.1.norm2.weight"]
    assert after["blocks.0.attention"] == ["blocks.0.norm1.weight"]  # post-norm: the one that follows it
    assert after["blocks.0.feedforward"] == ["blocks.0.norm2.weight"]


def test_a_place_sees_itself_and_what_is_before_it():
    for name in ("transformer", "transformer, tied"):
        values, shape, classes = TINY[name]
        model = built(values, shape, classes).eval()
        tokens, _ = examples(shape, classes)
        other = tokens.clone()
        other[:, 4] = (other[:, 4] + 1) % classes
        with torch.no_grad():
            a, b = model(tokens), model(other)
            shorter = model(tokens[:, :3])
        assert torch.allclose(a[:, :4], b[:, :4], atol=1e-6)
        assert not torch.allclose(a[:, 4:], b[:, 4:], atol=1e-3)
        assert torch.allclose(a[:, :3], shorter, atol=1e-5)


def test_the_transformer_is_torchs_own_with_the_same_weights():
    """Against nn.TransformerEncoderLayer, pre-norm with a causal mask, biases of attention at 0."""
    width, heads, hidden = 16, 2, 24
    model = built(*TINY["transformer"]).eval()
    tokens, _ = examples((6,), 30)
    places = torch.arange(6).float()[:, None]
    rates = torch.tensor([10_000 ** (-i / (width // 2 - 1)) for i in range(width // 2)])
    x = model.embedding(tokens) + torch.cat([torch.sin(places * rates), torch.cos(places * rates)], dim=1)  # type: ignore[operator]
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    with torch.no_grad():
        for ours in model.blocks:  # type: ignore[union-attr]
            theirs = nn.TransformerEncoderLayer(width, heads, hidden, 0.0, batch_first=True, norm_first=True).eval()
            mine, state = ours.state_dict(), theirs.state_dict()
            qkv = [mine[f"attention.{part}.weight"] for part in ("query", "key", "value")]
            state["self_attn.in_proj_weight"], state["self_attn.in_proj_bias"] = torch.cat(qkv), torch.zeros(3 * width)
            state["self_attn.out_proj.weight"] = mine["attention.out.weight"]
            state["self_attn.out_proj.bias"] = torch.zeros(width)
            for there, here in {"linear1": "feedforward.fc1", "linear2": "feedforward.fc2",
                                "norm1": "norm1", "norm2": "norm2"}.items():  # fmt: skip
                for kind in ("weight", "bias"):
                    state[f"{there}.{kind}"] = mine[f"{here}.{kind}"]
            theirs.load_state_dict(state)
            x = theirs(x, src_mask=mask)
        expected = model.output(functional.layer_norm(x, (width,)))  # type: ignore[operator]
        assert torch.allclose(model(tokens), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["fcn", "resnet18", "vgg11", "transformer", "transformer, tied"])
def test_a_probe_of_each_family_gives_what_full_forwards_give(name):
    values, shape, classes = TINY[name]
    fresh, trained = built(values, shape, classes, seed=1), built(values, shape, classes, seed=2)
    inputs, targets = examples(shape, classes, count=12)
    start = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    names = rows(values, shape, classes, "block")
    last = len(shape) == 1  # of a sequence, the prediction of its last token

    def right(output: Tensor, wanted: Tensor) -> Tensor:
        return output[:, -1].argmax(1) == wanted[:, -1] if last else output.argmax(1) == wanted

    found = {}
    for evaluator in ("replay", "full"):
        result = probe(
            trained,
            (inputs, targets),
            {0: start},
            granularity="block",
            layers=[names[1], names[-1]],
            evaluator=evaluator,
            correct=right,
            batch_size=6,
        )
        found[evaluator] = result
    assert found["replay"].fallbacks == ()
    assert (found["replay"].error == found["full"].error).all()
    # By hand: the first of the two rows at checkpoint 0.
    row = found["full"].info.layers[0]
    state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    trained.load_state_dict({**state, **{name: start[name] for name in row.tensors}})
    trained.eval()
    with torch.no_grad():
        wrong = 1 - right(trained(inputs), targets).double().mean().item()
    assert found["replay"].error[0][0] == pytest.approx(wrong)


@pytest.mark.parametrize(
    ("values", "shape", "said"),
    [
        ({"name": "vgg11"}, (1, 28, 28), "28 x 28 are too small.*at least 32 x 32"),
        ({"name": "resnet18", "stem": "imagenet"}, (3, 28, 28), r"28 x 28 are too small.*model\.stem"),
        ({"name": "resnet18"}, (3, 4, 4), "4 x 4 are too small.*at least 8 x 8"),
        ({"name": "resnet18"}, (64,), r"works on images.*\[64\]"),
        ({"name": "transformer"}, (3, 8, 8), r"sequences of tokens.*\[3, 8, 8\]"),
    ],
)
def test_data_that_a_model_cannot_process_are_refused(values, shape, said):
    with pytest.raises(ModelError, match=said):
        built(values, shape, 10)
