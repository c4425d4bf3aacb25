"""Layers: which tensors are reset together, in depth order, and what is skipped."""

import pytest
import torch
import torchvision
from architectures import ARCHITECTURES
from lyrx.engine.errors import LayerError, ModelError
from lyrx.engine.layers import Layers, find_layers
from lyrx.engine.state import describe
from models_for_tests import Attending, LateFirst, Normed, Residual, Tied, convolutional
from torch import nn

IMAGES = torch.zeros(2, 1, 8, 8)


def layers(model: nn.Module, example: torch.Tensor = IMAGES, granularity: str = "layer", **options) -> Layers:
    return find_layers(model, describe(model), example, granularity, **options)


def names(found: Layers) -> list[str]:
    return [row.name for row in found.rows]


def test_a_layer_is_a_weighted_module_with_the_norm_that_follows():
    found = layers(convolutional())
    assert names(found) == ["0", "3", "8"]
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert found.rows[0].tensors == ("0.weight", "1.weight", "1.bias", *(f"1.{s}" for s in statistics))
    assert found.rows[1].tensors == ("3.weight", "3.bias", *(f"4.{s}" for s in statistics))
    assert found.rows[0].parameters == 4 * 9 + 4 + 4
    assert [line.partition(":")[0] for line in found.skipped] == [
        "2 (ReLU)",
        "4 (BatchNorm2d)",
        "5 (ReLU)",
        "6 (Dropout)",
        "7 (Flatten)",
    ]


def test_a_module_is_every_leaf_that_holds_parameters():
    found = layers(convolutional(), granularity="module")
    assert names(found) == ["0", "1", "3", "8"]
    # A norm without parameters is in no row, and its statistics are named as such.
    assert "4.running_mean (buffer): in no row" in found.skipped


def test_tied_parameters_belong_to_one_layer():
    found = layers(Tied())
    assert names(found) == ["first", "head"]
    assert "second (Linear): its weights are those of first.weight" in found.skipped
    by_alias = layers(Tied(), granularity="patterns", patterns={"tied": ["second"]})
    assert by_alias.rows[0].tensors == ("first.weight",)


def test_depth_is_the_order_of_calls_not_of_registration():
    # A module that is never called stands behind the one registered before it.
    assert names(layers(LateFirst())) == ["body", "unused", "head"]


def test_blocks_of_a_resnet():
    model = torchvision.models.resnet18(num_classes=10)
    found = layers(model, torch.zeros(2, 3, 32, 32), "block")
    assert names(found) == ["conv1", *(f"layer{i}.{j}" for i in range(1, 5) for j in range(2)), "fc"]
    tensors = {tensor for row in found.rows for tensor in row.tensors}
    assert tensors == {info.name for info in describe(model)}
    assert "bn1.weight" in found.rows[0].tensors
    down = next(row for row in found.rows if row.name == "layer2.0")
    assert "layer2.0.downsample.1.running_var" in down.tensors


def test_layers_of_a_resnet_cover_every_tensor_once():
    model = torchvision.models.resnet18(num_classes=10)
    found = layers(model, torch.zeros(2, 3, 32, 32))
    claimed = [tensor for row in found.rows for tensor in row.tensors]
    assert sorted(claimed) == sorted(info.name for info in describe(model))
    assert len(found.rows) == 21  # 17 convolutions, 3 of shortcuts, 1 linear
    assert sum(row.parameters for row in found.rows) == sum(p.numel() for p in model.parameters())


def test_attention_is_one_layer_with_its_output_projection():
    model = torchvision.models.vit_b_16(num_classes=10)
    example = torch.zeros(1, 3, 224, 224)
    found = layers(model, example)
    attention = next(row for row in found.rows if row.name.endswith("encoder_layer_0.self_attention"))
    # The norm that stands before it, and not the one behind, which feeds the feed-forward network.
    assert {name.removeprefix("encoder.layers.encoder_layer_0.") for name in attention.tensors} == {
        "ln_1.weight",
        "ln_1.bias",
        "self_attention.in_proj_weight",
        "self_attention.in_proj_bias",
        "self_attention.out_proj.weight",
        "self_attention.out_proj.bias",
    }
    assert "class_token" in names(found)
    blocks = [f"encoder.layers.encoder_layer_{i}" for i in range(12)]
    stem = ["class_token", "conv_proj", "encoder.pos_embedding"]
    assert names(layers(model, example, "block")) == [*stem, *blocks, "encoder.ln", "heads.head"]
    parts = [f"{block}.{part}" for block in blocks for part in ("self_attention", "mlp")]
    assert names(found) == [*stem, *parts, "encoder.ln", "heads.head"]


def test_patterns_of_the_user():
    found = layers(convolutional(), granularity="patterns", patterns={"convs": ["0", "3.*"], "end": ["8.weight"]})
    assert names(found) == ["convs", "end"]
    assert found.rows[0].tensors == ("0.weight", "3.weight", "3.bias")
    assert "8.bias (parameter): in no row" in found.skipped


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"granularity": "patterns", "patterns": {"a": ["9.*"]}}, r"probe\.patterns\.a: '9\.\*' matches no"),
        ({"only": ["0", "fc*"]}, r"probe\.layers: 'fc\*' matches no layer.*0, 3, 8"),
        ({"granularity": "patterns", "patterns": {"a": ["4"]}}, "buffers only"),
        ({"joint": [["0", "fc*"]]}, r"probe\.joint: 'fc\*' matches no layer.*0, 3, 8"),
        ({"joint": [["0"]]}, r"probe\.joint: '0' is one layer only, '0'; a joint row needs two"),
        ({"joint": [["0", "3"], ["[03]"]]}, r"'\[03\]' makes a second row '0\+3'"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(options, said):
    with pytest.raises(LayerError, match=said):
        layers(convolutional(), **options)


def test_only_some_rows():
    assert names(layers(convolutional(), only=["8", "0"])) == ["0", "8"]


def test_a_model_that_cannot_process_the_data_is_refused_and_left_as_it_was():
    model = convolutional()
    model.train()
    with pytest.raises(ModelError, match=r"\[1, 9, 9\]"):
        layers(model, torch.zeros(2, 1, 9, 9))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_parametrized_weights_stay_with_their_module_and_views_with_their_owner():
    found = layers(Normed())
    assert names(found) == ["first", "encoder", "head"]
    assert set(found.rows[0].tensors) == {
        "first.bias",
        "first.parametrizations.weight.original0",
        "first.parametrizations.weight.original1",
    }
    assert set(found.rows[1].tensors) == {"encoder.weight", "decoder.weight"}


def test_blocks_in_a_plain_sequence():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), Residual(), Residual(), nn.Linear(64, 10))
    assert names(layers(model, granularity="block")) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("make", [Attending, Normed, Tied, convolutional, lambda: torchvision.models.swin_t()])
@pytest.mark.parametrize("granularity", ["layer", "module", "block"])
def test_every_parameter_is_in_exactly_one_row(make, granularity: str):
    model = make()
    example = IMAGES if not hasattr(model, "features") else torch.zeros(1, 3, 64, 64)
    found = layers(model, example, granularity)
    claimed = [tensor for row in found.rows for tensor in row.tensors]
    parameters = {info.name for info in describe(model) if info.kind == "parameter"}
    assert len(claimed) == len(set(claimed))
    assert parameters <= set(claimed)
    assert len(set(names(found))) == len(found.rows)


def test_joint_rows_hold_several_and_stand_behind_the_others():
    found = layers(convolutional(), joint=[["8", "0"], ["*"]])
    assert names(found) == ["0", "3", "8", "0+8", "0+3+8"]
    plain, joint = found.rows[:3], found.rows[3]
    assert joint.joint == ("0", "8")
    assert joint.tensors == (*plain[0].tensors, *plain[2].tensors)
    assert joint.parameters == plain[0].parameters + plain[2].parameters
    assert [row.joint for row in plain] == [()] * 3
    # Its members need not be rows of their own.
    some = layers(convolutional(), only=["3"], joint=[["0", "8"]])
    assert names(some) == ["3", "0+8"]
    assert not [line for line in some.skipped if "in no row" in line]


def test_a_joint_row_of_rows_that_overlap_holds_each_tensor_once():
    patterns = {"all": ["0", "1"], "weight": ["0.weight"]}
    found = layers(convolutional(), granularity="patterns", patterns=patterns, joint=[["all", "weight"]])
    assert sorted(found.rows[2].tensors) == sorted(found.rows[0].tensors)
    assert found.rows[2].parameters == found.rows[0].parameters


def of_architecture(name: str, granularity: str) -> Layers:
    architecture = ARCHITECTURES[name]
    torch.manual_seed(0)
    model = architecture.build()
    example = architecture.batch(2, torch.Generator().manual_seed(1))
    return find_layers(model, describe(model), example, granularity)


BLOCKS = {
    # Stages that are modules of their own are looked into; what stands between them is named by itself.
    "swin": ["features.0.0", "features.1.0", "features.1.1", "features.2", "features.3.0", "features.3.1", "norm",
             "head"],
    "convnext": ["features.0", "features.1.0", "features.1.1", "features.2.1", "features.3.0", "features.3.1",
                 "classifier.2"],
    "maxvit": ["stem.0", "stem.1", "blocks.0.layers.0", "blocks.1.layers.0", "classifier.3", "classifier.5"],
    "regnet": ["stem.0", "trunk_output.block1.block1-0", *(f"trunk_output.block2.block2-{i}" for i in range(3)),
               *(f"trunk_output.block3.block3-{i}" for i in range(6)),
               *(f"trunk_output.block4.block4-{i}" for i in range(6)), "fc"],
    "bert": [*(f"bert.embeddings.{kind}_embeddings" for kind in ("word", "token_type", "position")),
             "bert.encoder.layer.0", "bert.encoder.layer.1", "bert.pooler.dense", "classifier"],
    "t5": ["shared", "encoder.block.0", "encoder.block.1", "encoder.final_layer_norm", "decoder.block.0",
           "decoder.block.1", "decoder.final_layer_norm"],
    "mixtral": ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "lm_head"],
    "timm mixer": ["stem.proj", "blocks.0", "blocks.1", "blocks.2", "norm", "head"],
    "densenet": ["features.conv0", "features.denseblock1", "features.transition1", "features.denseblock2",
                 "features.transition2", "features.denseblock3", "features.norm5", "classifier"],
}  # fmt: skip

LAYERS = {
    "swin": ["features.0.0", *(f"features.1.{i}.{part}" for i in (0, 1) for part in ("attn", "mlp")),
             "features.2.reduction", *(f"features.3.{i}.{part}" for i in (0, 1) for part in ("attn", "mlp")), "norm",
             "head"],
    "bert": [*(f"bert.embeddings.{kind}_embeddings" for kind in ("word", "token_type", "position")),
             *(f"bert.encoder.layer.{i}.{part}" for i in (0, 1)
               for part in ("attention", "intermediate.dense", "output.dense")), "bert.pooler.dense", "classifier"],
    "llama": ["model.embed_tokens", *(f"model.layers.{i}.{part}" for i in (0, 1) for part in ("self_attn", "mlp")),
              "model.norm", "lm_head"],
    "tied head": ["embedding", *(f"layers.{i}.{part}" for i in (0, 1) for part in ("self_attn", "linear1", "linear2")),
                  "norm"],
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_other_peoples_networks(name: str):
    assert names(of_architecture(name, "block")) == BLOCKS[name]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_other_peoples_networks(name: str):
    assert names(of_architecture(name, "layer")) == LAYERS[name]


def test_post_norms_stay_with_the_part_that_they_follow():
    rows = {row.name: set(row.tensors) for row in of_architecture("tied head", "layer").rows}
    # On torch's fast path none of an encoder layer's modules is called: their order would not be known.
    assert {"layers.0.norm1.weight", "layers.0.self_attn.out_proj.weight"} <= rows["layers.0.self_attn"]
    assert {"layers.0.norm2.weight", "layers.0.linear2.weight"} <= rows["layers.0.linear2"]
    rows = {row.name: set(row.tensors) for row in of_architecture("bert", "layer").rows}
    assert "bert.encoder.layer.0.attention.output.LayerNorm.weight" in rows["bert.encoder.layer.0.attention"]
    assert "bert.encoder.layer.0.output.LayerNorm.weight" in rows["bert.encoder.layer.0.output.dense"]


PLAIN = ("vgg11", "vgg11_bn", "resnet18", "resnet50", "googlenet", "inception")


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in PLAIN])
def test_no_weight_is_left_out(name: str):
    architecture = ARCHITECTURES[name]
    model, example = architecture.build(), architecture.batch(2, torch.Generator().manual_seed(1))
    tensors = describe(model)
    parameters = {info.name for info in tensors if info.kind == "parameter"}
    for granularity in ("layer", "module", "block"):
        found = find_layers(model, tensors, example, granularity)
        claimed = [tensor for row in found.rows for tensor in row.tensors]
        assert parameters <= set(claimed)
        assert len(claimed) == len(set(claimed))
        assert len(set(names(found))) == len(found.rows)


def test_a_whole_network_called_mlp_is_not_one_layer():
    class MLP(nn.Sequential):
        pass

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(64, 8), nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x))

    assert names(layers(MLP(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)))) == ["1", "3"]
    assert names(layers(nn.Sequential(nn.Flatten(), Attention()))) == ["1.a", "1.b"]


def test_a_backbone_in_a_sequence_is_no_block():
    backbone = torchvision.models.resnet18(num_classes=16)
    model = nn.Sequential(backbone, nn.ReLU(), nn.Linear(16, 10))
    stages = [f"0.layer{i}.{j}" for i in range(1, 5) for j in range(2)]
    assert names(layers(model, torch.zeros(2, 3, 32, 32), "block")) == ["0.conv1", *stages, "0.fc", "2"]


def test_several_parameters_beside_children_go_by_their_own_names():
    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.places = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.zeros(8))
            self.patches = nn.Linear(64, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.patches(x.flatten(1)) + self.token + self.places

    found = names(layers(nn.Sequential(Stem(), nn.Linear(8, 10))))
    assert found == ["0.token", "0.places", "0.patches", "1"]
