"""Networks of all kinds, small, for tests: how each is built, and what it is called with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from lyrx.engine.replay.replayer import Arguments
from torch import Generator, Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Architecture:
    """A network, and batches for it."""

    build: Callable[[], nn.Module]
    batch: Callable[[int, Generator], Arguments]
    quick: bool = False
    """Checked in every run of the tests."""


def images(size: int, channels: int = 3) -> Callable[[int, Generator], Arguments]:
    return lambda count, generator: Arguments((torch.randn(count, channels, size, size, generator=generator),))


def tokens(length: int = 7, vocabulary: int = 40, *, masked: bool = True, decoder: bool = False) -> Any:
    """Keyword arguments of a language model; padded at the end."""

    def batch(count: int, generator: Generator) -> Arguments:
        ids = torch.randint(2, vocabulary, (count, length), generator=generator)
        found: dict[str, Tensor] = {"input_ids": ids}
        if masked:
            lengths = torch.randint(3, length + 1, (count, 1), generator=generator)
            found["attention_mask"] = (torch.arange(length)[None] < lengths).long()
            found["input_ids"] = ids.masked_fill(found["attention_mask"] == 0, 0)
        if decoder:
            found["decoder_input_ids"] = torch.randint(2, vocabulary, (count, 4), generator=generator)
        return Arguments((), found)

    return batch


class SequenceClassifier(nn.Module):
    """Embedding, two LSTM layers, a head on the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 12, padding_idx=0)
        self.lstm = nn.LSTM(12, 16, 2, batch_first=True, dropout=0.3)
        self.head = nn.Linear(16, 5)

    def forward(self, input_ids: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(self.embedding(input_ids))
        return self.head(hidden[-1])


class UNet(nn.Module):
    """Classes of pixels, float[k, classes, height, width]; what was seen on the way down is joined on the way up."""

    def __init__(self, width: int = 6, classes: int = 3) -> None:
        super().__init__()
        self.down = nn.ModuleList([self.double(1, width), self.double(width, 2 * width)])
        self.bottom = self.double(2 * width, 4 * width)
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(4 * width, 2 * width, 2, 2), nn.ConvTranspose2d(2 * width, width, 2, 2)]
        )
        self.merge = nn.ModuleList([self.double(4 * width, 2 * width), self.double(2 * width, width)])
        self.head = nn.Conv2d(width, classes, 1)

    @staticmethod
    def double(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for index in range(2):
            layers.append(nn.Conv2d(outputs if index else inputs, outputs, 3, padding=1, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for rise, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([rise(x), skips.pop()], dim=1))
        return self.head(x)


class TiedHead(nn.Module):
    """Embeddings whose matrix is the head's as well, by a functional call; a transformer in between."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 16)
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2)])
        self.norm = nn.LayerNorm(16)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embedding(input_ids)
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        return functional.linear(self.norm(x), self.embedding.weight)[:, -1]


def _vision(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        models = pytest.importorskip("torchvision").models
        return models.get_model(name, num_classes=10, **options)

    return build


def _resnet_for_small_images() -> nn.Module:
    model = _vision("resnet18")()
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return model


def _narrow_resnet() -> nn.Module:
    resnet = pytest.importorskip("torchvision").models.resnet
    return resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], num_classes=10, groups=4, width_per_group=4)


def _vgg(norm: bool) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        vgg = pytest.importorskip("torchvision").models.vgg
        model = vgg.VGG(vgg.make_layers(vgg.cfgs["A"], batch_norm=norm), num_classes=1, init_weights=False, dropout=0.5)
        model.avgpool = nn.Identity()
        model.classifier = nn.Sequential(nn.Linear(512, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))
        return model

    return build


def _vit() -> nn.Module:
    models = pytest.importorskip("torchvision").models
    return models.VisionTransformer(32, 8, 3, 2, 32, 64, num_classes=10)


def _swin(version: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        swin = pytest.importorskip("torchvision").models.swin_transformer
        more = {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2} if version == 2 else {}
        return swin.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=10, **more)

    return build


def _convnext() -> nn.Module:
    convnext = pytest.importorskip("torchvision").models.convnext
    return convnext.ConvNeXt([convnext.CNBlockConfig(24, 48, 2), convnext.CNBlockConfig(48, None, 2)], num_classes=10)


def _maxvit() -> nn.Module:
    maxvit = pytest.importorskip("torchvision").models.maxvit
    return maxvit.MaxVit((64, 64), 16, 4, [16, 32], [1, 1], 8, 0.1, num_classes=10)


def _densenet() -> nn.Module:
    return pytest.importorskip("torchvision").models.DenseNet(8, (3, 3, 3), 16, num_classes=10)


def _timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: pytest.importorskip("timm").create_model(name, num_classes=10, **options)


def _mixer() -> nn.Module:
    mixer = pytest.importorskip("timm").models.mlp_mixer
    return mixer.MlpMixer(img_size=32, patch_size=8, num_blocks=3, embed_dim=32, num_classes=10)


_SMALL: dict[str, Any] = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 40}


def _transformer(kind: str, head: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        transformers = pytest.importorskip("transformers")
        config = getattr(transformers, f"{kind}Config")(**options)
        return getattr(transformers, f"{kind}{head}")(config)

    return build


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": Architecture(_resnet_for_small_images, images(32)),
    "resnet50": Architecture(_vision("resnet50"), images(64)),
    "vgg11": Architecture(_vgg(False), images(32)),
    "vgg11_bn": Architecture(_vgg(True), images(32)),
    "densenet": Architecture(_densenet, images(64), quick=True),
    "narrow resnet": Architecture(_narrow_resnet, images(32), quick=True),
    "mobilenet_v2": Architecture(_vision("mobilenet_v2", width_mult=0.35), images(64)),
    "mobilenet_v3": Architecture(_vision("mobilenet_v3_small"), images(64)),
    "efficientnet": Architecture(_vision("efficientnet_b0"), images(64)),
    "shufflenet": Architecture(_vision("shufflenet_v2_x0_5"), images(64), quick=True),
    "squeezenet": Architecture(_vision("squeezenet1_1"), images(64)),
    "convnext": Architecture(_convnext, images(64)),
    "vit": Architecture(_vit, images(32), quick=True),
    "swin": Architecture(_swin(1), images(64), quick=True),
    "swin_v2": Architecture(_swin(2), images(64)),
    "googlenet": Architecture(_vision("googlenet", init_weights=False), images(64)),
    "inception": Architecture(_vision("inception_v3", init_weights=False), images(96)),
    "regnet": Architecture(_vision("regnet_y_400mf"), images(64)),
    "maxvit": Architecture(_maxvit, images(64)),
    "mnasnet": Architecture(_vision("mnasnet0_5"), images(64)),
    "timm mixer": Architecture(_mixer, images(32), quick=True),
    "timm vit": Architecture(
        _timm("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=3, embed_dim=36, num_heads=3), images(32)
    ),
    "timm deit": Architecture(
        _timm("deit_tiny_distilled_patch16_224", img_size=32, patch_size=8, depth=3, embed_dim=36, num_heads=3),
        images(32),
    ),
    "timm mobilevit": Architecture(_timm("mobilevit_xxs"), images(64)),
    "timm norm-free": Architecture(_timm("nf_regnet_b0"), images(64)),
    "gpt2": Architecture(
        _transformer("GPT2", "LMHeadModel", n_layer=2, n_embd=16, n_head=2, vocab_size=40, n_positions=16),
        tokens(),
        quick=True,
    ),
    "gpt2 classifier": Architecture(
        _transformer(
            "GPT2", "ForSequenceClassification", n_layer=2, n_embd=16, n_head=2, vocab_size=40, pad_token_id=0
        ),
        tokens(),
    ),
    "bert": Architecture(
        _transformer("Bert", "ForSequenceClassification", **_SMALL, intermediate_size=32), tokens(), quick=True
    ),
    "albert": Architecture(
        _transformer("Albert", "ForSequenceClassification", **_SMALL, embedding_size=8, intermediate_size=32), tokens()
    ),
    "t5": Architecture(
        _transformer(
            "T5", "ForConditionalGeneration", d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=40
        ),
        tokens(decoder=True),
    ),
    "llama": Architecture(
        _transformer("Llama", "ForCausalLM", **_SMALL, intermediate_size=32, num_key_value_heads=1), tokens()
    ),
    "mixtral": Architecture(
        _transformer(
            "Mixtral", "ForCausalLM", **_SMALL, intermediate_size=16, num_key_value_heads=1, num_local_experts=3
        ),
        tokens(),
    ),
    "lstm": Architecture(SequenceClassifier, tokens(masked=False), quick=True),
    "unet": Architecture(UNet, images(16, 1), quick=True),
    "tied head": Architecture(TiedHead, tokens(masked=False), quick=True),
}
