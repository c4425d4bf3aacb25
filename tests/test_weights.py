"""Weights from files: the released `.npz` layout against a forward written in numpy, state dicts, and bad files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lyrx.engine.errors import DataNotFoundError, ModelError
from lyrx.engine.released import is_released, released_arrays, write_released
from lyrx.engine.state import named_tensors
from lyrx.engine.weights import Weights, fitted, put, read_weights
from models_for_tests import Tied, convolutional
from scipy.special import erf
from torch import nn

timm = pytest.importorskip("timm")

WIDTH, HEADS, PATCH = 24, 3, 4


def vit(classes: int = 5, size: int = 8, seed: int = 0, **keys: Any) -> nn.Module:
    torch.manual_seed(seed)
    keys = {"patch_size": PATCH, "embed_dim": WIDTH, "depth": 2, "num_heads": HEADS, **keys}
    return stirred(timm.create_model("vit_tiny_patch16_224", img_size=size, num_classes=classes, **keys))


def mixer(classes: int = 5, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = timm.models.mlp_mixer.MlpMixer
    return stirred(network(num_classes=classes, img_size=8, patch_size=PATCH, embed_dim=WIDTH, num_blocks=2))


@torch.no_grad()
def stirred(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


class Flax:
    """The forwards of google-research's vit_jax (models_vit.py, models_mixer.py), on the arrays of a file."""

    def __init__(self, path: Path):
        with np.load(path) as file:
            self.arrays = {name: file[name].astype(np.float64) for name in file.files}

    def dense(self, x: np.ndarray, name: str, axes: int = 1) -> np.ndarray:
        return np.tensordot(x, self.arrays[f"{name}/kernel"], axes) + self.arrays[f"{name}/bias"]

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-6) * self.arrays[f"{name}/scale"] + self.arrays[f"{name}/bias"]

    def mlp(self, x: np.ndarray, name: str) -> np.ndarray:
        hidden = self.dense(x, f"{name}/Dense_0")
        return self.dense(hidden * (1 + erf(hidden / np.sqrt(2))) / 2, f"{name}/Dense_1")

    def patches(self, images: np.ndarray, name: str) -> np.ndarray:
        """float[n, height, width, 3] -> float[n, patches, width]."""
        n, height, width, channels = images.shape
        cut = images.reshape(n, height // PATCH, PATCH, width // PATCH, PATCH, channels).transpose(0, 1, 3, 2, 4, 5)
        kernel = self.arrays[f"{name}/kernel"].reshape(-1, WIDTH)
        return cut.reshape(n, -1, PATCH * PATCH * channels) @ kernel + self.arrays[f"{name}/bias"]

    def attention(self, x: np.ndarray, name: str) -> np.ndarray:
        query, key, value = (self.dense(x, f"{name}/{part}") for part in ("query", "key", "value"))
        scores = np.einsum("nqhd,nkhd->nhqk", query, key) / np.sqrt(WIDTH // HEADS)
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        return self.dense(np.einsum("nhqk,nkhd->nqhd", share, value), f"{name}/out", 2)

    def vit(self, images: np.ndarray) -> np.ndarray:
        x = self.patches(images, "embedding")
        x = np.concatenate([np.repeat(self.arrays["cls"], len(x), 0), x], 1)
        x = x + self.arrays["Transformer/posembed_input/pos_embedding"]
        for block in ("Transformer/encoderblock_0", "Transformer/encoderblock_1"):
            x = x + self.attention(self.norm(x, f"{block}/LayerNorm_0"), f"{block}/MultiHeadDotProductAttention_1")
            x = x + self.mlp(self.norm(x, f"{block}/LayerNorm_2"), f"{block}/MlpBlock_3")
        return self.dense(self.norm(x, "Transformer/encoder_norm")[:, 0], "head")

    def mixer(self, images: np.ndarray) -> np.ndarray:
        x = self.patches(images, "stem")
        for block in ("MixerBlock_0", "MixerBlock_1"):
            tokens = self.norm(x, f"{block}/LayerNorm_0").swapaxes(1, 2)
            x = x + self.mlp(tokens, f"{block}/token_mixing").swapaxes(1, 2)
            x = x + self.mlp(self.norm(x, f"{block}/LayerNorm_1"), f"{block}/channel_mixing")
        return self.dense(self.norm(x, "pre_head_layer_norm").mean(1), "head")


def same(model: nn.Module, other: nn.Module) -> bool:
    a, b = named_tensors(model), named_tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("make", "kind"), [(vit, "vit"), (mixer, "mixer")])
def test_a_released_file_holds_the_network_that_was_written(make: Any, kind: str, tmp_path: Path):
    path = tmp_path / "released.npz"
    model, other = make(seed=1), make(seed=2)
    write_released(model, path)
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = getattr(Flax(path), kind)(images.permute(0, 2, 3, 1).double().numpy())
        assert model(images).numpy() == pytest.approx(expected, abs=1e-4)
        weights = read_weights(str(path), other)
        assert not same(model, other), "reading must not change the network"
        put(weights, other)
        assert same(model, other)
        assert other(images).numpy() == pytest.approx(expected, abs=1e-4)
    assert (weights.absent, weights.notes) == ({}, ())


def test_names_and_shapes_are_those_of_the_released_files():
    arrays = {name: array.shape for name, array in released_arrays(vit()).items()}
    assert arrays["embedding/kernel"] == (PATCH, PATCH, 3, WIDTH)
    assert arrays["Transformer/encoderblock_1/MultiHeadDotProductAttention_1/query/kernel"] == (WIDTH, HEADS, 8)
    assert arrays["Transformer/encoderblock_1/MultiHeadDotProductAttention_1/query/bias"] == (HEADS, 8)
    assert arrays["Transformer/encoderblock_0/MultiHeadDotProductAttention_1/out/kernel"] == (HEADS, 8, WIDTH)
    assert arrays["Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel"] == (WIDTH, 4 * WIDTH)
    assert arrays["head/kernel"] == (WIDTH, 5)
    assert len(arrays) == 8 + 16 * 2
    arrays = {name: array.shape for name, array in released_arrays(mixer()).items()}
    assert arrays["MixerBlock_1/token_mixing/Dense_0/kernel"] == (4, WIDTH // 2)
    assert arrays["MixerBlock_1/channel_mixing/Dense_1/kernel"] == (4 * WIDTH, WIDTH)
    assert len(arrays) == 6 + 12 * 2
    assert is_released(arrays)
    assert not is_released(["fc1.weight"])


@pytest.mark.parametrize("make", [vit, mixer])
def test_a_head_of_other_classes_is_named_and_all_else_is_taken(make: Any, tmp_path: Path):
    path = tmp_path / "21k.npz"
    model, other = make(classes=7, seed=1), make(classes=5, seed=2)
    write_released(model, path)
    weights = read_weights(str(path), other)
    assert weights.absent == {
        "head.weight": f"its shape is [5, {WIDTH}], in {path} it is [7, {WIDTH}]",
        "head.bias": f"its shape is [5], in {path} it is [7]",
    }
    assert weights.tensors.keys() | weights.absent.keys() == named_tensors(other).keys()
    kept = named_tensors(other)["head.weight"].clone()
    put(weights, other)
    for name, tensor in named_tensors(model).items():
        if not name.startswith("head"):
            assert torch.equal(named_tensors(other)[name], tensor), name
    assert torch.equal(named_tensors(other)["head.weight"], kept)


def test_what_is_resized_or_not_used_is_said(tmp_path: Path):
    path = tmp_path / "21k.npz"
    np.savez(path, **released_arrays(vit()), **{"pre_logits/kernel": np.zeros((3, 3)), "pre_logits/bias": np.zeros(3)})
    weights = read_weights(str(path), vit(size=16))
    assert weights.absent == {}
    assert weights.notes == (
        "not used: pre_logits/bias, pre_logits/kernel",
        "Transformer/posembed_input/pos_embedding resized from [1, 5, 24] to [1, 17, 24]",
    )
    # What timm itself makes of positions for another grid.
    from timm.layers import resample_abs_pos_embed

    expected = resample_abs_pos_embed(
        torch.from_numpy(released_arrays(vit())["Transformer/posembed_input/pos_embedding"]),
        [4, 4], num_prefix_tokens=1, interpolation="bilinear", antialias=False,
    )  # fmt: skip
    assert torch.equal(weights.tensors["pos_embed"], expected)


@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_names_may_stand_below_others(prefix: str, tmp_path: Path):
    np.savez(tmp_path / "a.npz", **{prefix + name: array for name, array in released_arrays(vit(seed=1)).items()})
    weights = read_weights(str(tmp_path / "a.npz"), vit(seed=2))
    assert (weights.absent, weights.notes) == ({}, ())


def test_a_file_of_big_vision_is_read_and_none_of_it_is_said_to_be_unused(tmp_path: Path):
    renamed = {
        "Transformer/posembed_input/": "", "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0",
        "MlpBlock_3": "MlpBlock_0", "LayerNorm_2": "LayerNorm_1",
    }  # fmt: skip
    model, other, arrays = vit(seed=1), vit(seed=2), {}
    for name, array in released_arrays(model).items():
        for first, now in renamed.items():
            name = name.replace(first, now)
        arrays[f"params/{name}"] = array
    np.savez(tmp_path / "big.npz", **arrays)
    weights = read_weights(str(tmp_path / "big.npz"), other)
    put(weights, other)
    assert same(model, other)
    assert (weights.absent, weights.notes) == ({}, ())
    resized = read_weights(str(tmp_path / "big.npz"), vit(size=16))
    assert resized.notes == ("pos_embedding resized from [1, 5, 24] to [1, 17, 24]",)
    np.savez(tmp_path / "more.npz", **arrays, **{f"extra{i}": np.zeros(1) for i in range(9)})
    assert read_weights(str(tmp_path / "more.npz"), other).notes == (
        "not used: extra0, extra1, extra2, extra3, extra4, extra5 and 3 more",
    )


@pytest.mark.parametrize("make", [vit, mixer])
def test_an_array_that_holds_nan_is_named_and_not_said_to_be_missing(make: Any, tmp_path: Path):
    arrays = released_arrays(make())
    arrays["head/kernel"] = np.full_like(arrays["head/kernel"], np.nan)
    np.savez(tmp_path / "nan.npz", **arrays)
    with pytest.raises(
        ModelError, match=r"nan\.npz: the array 'head/kernel' holds NaN \(120 of 120 values\)\. The file is"
    ):
        read_weights(str(tmp_path / "nan.npz"), make())
    arrays["embedding/kernel" if make is vit else "stem/kernel"][0, 0, 0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    with pytest.raises(ModelError, match=r"holds NaN \(.* and so do 1 more arrays"):
        read_weights(str(tmp_path / "nan.npz"), make())
    # What the network does not use does not matter.
    np.savez(tmp_path / "unused.npz", **released_arrays(make()), **{"pre_logits/kernel": np.full((3, 3), np.nan)})
    assert read_weights(str(tmp_path / "unused.npz"), make()).absent == {}


def test_a_released_file_of_another_network_is_refused(tmp_path: Path):
    path = tmp_path / "vit.npz"
    write_released(vit(), path)
    with pytest.raises(ModelError, match=r"holds a VisionTransformer.*the network is a MlpMixer"):
        read_weights(str(path), mixer())
    with pytest.raises(ModelError, match=r"does not fit the network: KeyError.*encoderblock_2"):
        read_weights(str(path), vit(depth=3))
    with pytest.raises(ModelError, match="does not fit the network"):
        read_weights(str(path), vit(embed_dim=48))
    with pytest.raises(ModelError, match="a Sequential has no released layout"):
        released_arrays(convolutional())


def trained_convolutional() -> nn.Module:
    torch.manual_seed(1)
    model = stirred(convolutional())
    model[1].running_mean.normal_()  # type: ignore[union-attr]
    model[1].num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    return model


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".npz"])
def test_state_dicts_of_all_kinds(suffix: str, tmp_path: Path):
    from safetensors.torch import save_file

    model, other = trained_convolutional(), convolutional()
    path, state = tmp_path / f"net{suffix}", model.state_dict()
    if suffix == ".safetensors":
        save_file(state, path)
    elif suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
    else:
        torch.save(state, path)
    weights = read_weights(str(path), other)
    put(weights, other)
    assert same(model, other)
    assert (weights.absent, weights.notes) == ({}, ())


@pytest.mark.parametrize("wrap", [
    lambda state: {"state_dict": state, "epoch": 3},
    lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
    lambda state: {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
    lambda state: {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()},
    lambda state: {"model_state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
])  # fmt: skip
def test_what_training_scripts_put_around_a_state_dict_is_taken_off(wrap: Any, tmp_path: Path):
    model, other = trained_convolutional(), convolutional()
    torch.save(wrap(model.state_dict()), tmp_path / "net.pt")
    put(read_weights(str(tmp_path / "net.pt"), other), other)
    assert same(model, other)


def test_types_are_converted_and_that_is_said():
    model = trained_convolutional()
    state = {n: t.half() if t.is_floating_point() else t for n, t in model.state_dict().items()}
    state["extra.weight"] = torch.zeros(3)
    del state["1.num_batches_tracked"]  # files of old versions lack the count
    weights = fitted(state, convolutional(), "net.pt")
    assert weights.notes == ("converted from float16 to float32", "not used: extra.weight")
    assert weights.absent == {}
    assert torch.equal(weights.tensors["0.weight"], model[0].weight.half().float())  # type: ignore[union-attr]
    assert int(weights.tensors["1.num_batches_tracked"]) == 0


def test_tied_weights_are_found_under_any_of_their_names():
    model = Tied()
    state = model.state_dict()
    del state["first.weight"]
    assert fitted(state, model, "net.pt").absent == {}
    assert fitted(state, model, "net.pt").notes == ()


def test_the_hash_is_that_of_what_was_taken():
    state = trained_convolutional().state_dict()
    one, again = fitted(state, convolutional(), "a.pt"), fitted(dict(reversed(state.items())), convolutional(), "b.pt")
    state["0.weight"] = state["0.weight"] + 1e-3
    assert one.sha256 == again.sha256 != fitted(state, convolutional(), "a.pt").sha256
    assert Weights("a", {}, {"x": "y"}, ("z",)).facts()["absent"] == {"x": "y"}


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (Path("/nonexistent").mkdir, ())


def test_files_that_are_no_weights_are_refused(tmp_path: Path):
    model = convolutional()

    def refused(name: str, said: str, error: type[Exception] = ModelError) -> None:
        with pytest.raises(error, match=said):
            read_weights(str(tmp_path / name), model)

    refused("none.pt", "no weights file .*none.pt", DataNotFoundError)
    (tmp_path / "net.txt").write_text("no")
    refused("net.txt", r"of a kind that is not known.*\.safetensors")
    for suffix in (".pt", ".npz", ".safetensors"):
        (tmp_path / f"broken{suffix}").write_bytes(b"\x00nothing of the kind")
        refused(f"broken{suffix}", "cannot be read as weights")
    torch.save({"0.weight": Evil()}, tmp_path / "evil.pt")
    refused("evil.pt", "cannot be read as weights")
    np.savez(tmp_path / "evil.npz", a=np.array([Evil()], dtype=object))
    refused("evil.npz", "cannot be read as weights")
    torch.save([1, 2], tmp_path / "list.pt")
    refused("list.pt", "holds a list, no state dict")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    refused("empty.pt", "no tensors by name")
    torch.save(Tied().state_dict(), tmp_path / "other.pt")
    refused("other.pt", r"not of this network: of its \d+ parameters the file has 0.*first\.weight")
    (tmp_path / "folder").mkdir()
    refused("folder", "is a folder; only networks of transformers")
