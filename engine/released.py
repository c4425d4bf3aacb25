"""The `.npz` layout in which google-research released Vision Transformers and MLP-Mixers, for timm's networks.

https://github.com/google-research/vision_transformer: arrays by the paths of Flax modules.  A dense kernel is
[inputs, outputs], a convolution's [height, width, inputs, outputs], attention's are split by heads.  Transformers are
read by timm's own loader; timm has none for Mixers in this layout.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..store import inert
from .errors import ModelError
from .state import named_tensors

_PREFIXES = ("", "opt/target/", "params/")
_MARKS = {"embedding/kernel": "VisionTransformer", "stem/kernel": "MlpMixer"}
"""What tells the layout of an `.npz`, and which of timm's networks it is for."""

_POSITIONS = "Transformer/posembed_input/pos_embedding"
_LATER = {
    _POSITIONS: "pos_embedding",
    "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0",
    "MlpBlock_3": "MlpBlock_0",
    "LayerNorm_2": "LayerNorm_1",
}
"""Names of a Vision Transformer's arrays, and what they are in the files of big_vision."""


def is_released(names: Iterable[str]) -> bool:
    """Whether arrays of these names are in the released layout."""
    return _prefix(set(names)) is not None


def read_released(path: Path, model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """What the file at `path` holds for `model`: a state dict, and notes on what was resized or not used.

    What the file has not, or not in this shape (a head of another number of classes), is not in the state dict.
    Positions and patches of another grid are resized, as is done where fine-tuning begins.  Raises ModelError, also for
    arrays with values that are not numbers: what is missing is told by these (:func:`_read_vit`).
    """
    with np.load(path, allow_pickle=False) as file:
        shapes = {name: file[name].shape for name in file.files}
        prefix, mark = _prefix(set(shapes)) or ("", "")
        network = _MARKS.get(mark, "network")
        if type(model).__name__ != network:
            raise ModelError(
                f"{inert(str(path))} holds a {network} in the released layout; the network is a "
                f"{type(model).__name__}. It can be loaded into timm's {network}."
            )
        later = network == "VisionTransformer" and prefix + _LATER[_POSITIONS] in shapes
        expected = {prefix + _stored(name, later) for name in released_arrays(model)}
        _refuse_nan(path, {name: file[name] for name in shapes if name in expected})
        if network == "MlpMixer":
            state = _read_mixer(model, lambda name: file[prefix + name] if prefix + name in shapes else None)
        else:
            state = _read_vit(path, model)
            # timm leaves a head of another shape out; whoever fits the state to the network shall see it.
            for name, (tensor, kind) in _pair("head", "head", "dense").items():
                if prefix + name in shapes:
                    state[tensor] = torch.from_numpy(np.ascontiguousarray(_BACK[kind](file[prefix + name])))
    unused = [inert(name) for name in sorted(shapes.keys() - expected)]
    more = f" and {len(unused) - 6} more" if len(unused) > 6 else ""
    notes = [f"not used: {', '.join(unused[:6])}{more}"] if unused else []
    return state, notes + (_resized(model, prefix, later, shapes) if network == "VisionTransformer" else [])


def released_arrays(model: nn.Module) -> dict[str, np.ndarray]:
    """The network's weights as arrays of the released layout, by their names. Raises ModelError for other networks."""
    state = {name: tensor.detach().cpu().float().numpy() for name, tensor in named_tensors(model).items()}
    simple = _SIMPLE.get(type(model).__name__)
    if simple is None or not isinstance(getattr(model, "blocks", None), nn.Sequential):
        raise ModelError(
            f"a {type(model).__name__} has no released layout; timm's VisionTransformer and MlpMixer have one."
        )
    arrays = {}
    for name, (tensor, kind) in simple(len(model.blocks)).items():  # type: ignore[arg-type]
        if tensor not in state:
            raise ModelError(f"the released layout has '{name}', this network has no '{tensor}'.")
        arrays[name] = np.ascontiguousarray(_FORMS[kind](state[tensor]))
    if type(model).__name__ == "VisionTransformer":
        for index, block in enumerate(model.blocks):  # type: ignore[arg-type]
            arrays |= _attention(f"Transformer/encoderblock_{index}/MultiHeadDotProductAttention_1", block.attn)
    return arrays


def write_released(model: nn.Module, path: Path) -> None:
    """Write timm's `model` as google-research released such networks. Raises ModelError."""
    np.savez(path, **released_arrays(model))  # type: ignore[arg-type]


def _prefix(names: set[str]) -> tuple[str, str] | None:
    """(what stands before all names, the array that tells the kind of network), None for another layout."""
    found = ((prefix, mark) for prefix in _PREFIXES for mark in _MARKS if prefix + mark in names)
    return next(found, None)


def _refuse_nan(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    wrong = {
        name: count
        for name, array in arrays.items()
        if np.issubdtype(array.dtype, np.floating) and (count := int(np.isnan(array).sum()))
    }
    if wrong:
        name, count = next(iter(wrong.items()))
        more = f", and so do {len(wrong) - 1} more arrays" if len(wrong) > 1 else ""
        share = f"{count:,} of {arrays[name].size:,} values"
        raise ModelError(
            f"{inert(str(path))}: the array '{inert(name)}' holds NaN ({share}){more}. "
            "The file is damaged, or its training diverged: take another copy of it."
        )


def _read_vit(path: Path, model: nn.Module) -> dict[str, Tensor]:
    # timm says nothing of what it leaves as it was. So all is made "not a number" before, and seen afterwards.
    blank = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in blank.parameters():
            parameter.fill_(torch.nan)
    try:
        blank.load_pretrained(str(path))  # type: ignore[operator]
    except Exception as error:  # a file of another network fails in many ways
        raise ModelError(
            f"{inert(str(path))} does not fit the network: {type(error).__name__}: {inert(str(error))[:300]}."
        ) from error
    return {name: tensor for name, tensor in named_tensors(blank).items() if not tensor.isnan().all()}


def _read_mixer(model: nn.Module, array: Callable[[str], "np.ndarray | None"]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, (tensor, kind) in _mixer(len(model.blocks)).items():  # type: ignore[arg-type]
        found = array(name)
        if found is not None and found.ndim == _NDIM.get(kind, found.ndim):
            state[tensor] = torch.from_numpy(np.ascontiguousarray(_BACK[kind](found)))
    return state


def _stored(name: str, later: bool) -> str:
    """What the array `name` is called in a file; `later`: one of google-research's big_vision, which timm reads too."""
    for first, now in _LATER.items() if later else ():
        name = name.replace(first, now)
    return name


def _resized(model: Any, prefix: str, later: bool, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """A note for each of the arrays that timm fits to another grid of patches."""
    wanted = {
        _stored(_POSITIONS, later): tuple(model.pos_embed.shape),
        "embedding/kernel": tuple(model.patch_embed.proj.weight.permute(2, 3, 1, 0).shape),
    }
    found = {name: shapes.get(prefix + name, shape) for name, shape in wanted.items()}
    return [
        f"{name} resized from {list(found[name])} to {list(shape)}"
        for name, shape in wanted.items()
        if found[name] != shape
    ]


_FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda value: value,
    "dense": lambda value: value.T,  # [outputs, inputs] -> [inputs, outputs]
    "conv": lambda value: value.transpose(2, 3, 1, 0),  # [outputs, inputs, h, w] -> [h, w, inputs, outputs]
}
_BACK: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **_FORMS,
    "conv": lambda value: value.transpose(3, 2, 0, 1),
}
_NDIM = {"dense": 2, "conv": 4}

_Layout = Mapping[str, tuple[str, str]]
"""By an array's name: the network's tensor, and how it is stored."""


def _pair(name: str, module: str, kind: str) -> dict[str, tuple[str, str]]:
    """Weight and bias of a layer or a norm."""
    weight = "scale" if kind == "same" else "kernel"
    return {f"{name}/{weight}": (f"{module}.weight", kind), f"{name}/bias": (f"{module}.bias", "same")}


def _mixer(blocks: int) -> _Layout:
    found = _pair("stem", "stem.proj", "conv")
    for index in range(blocks):
        here, there = f"MixerBlock_{index}", f"blocks.{index}"
        for norm in range(2):
            found |= _pair(f"{here}/LayerNorm_{norm}", f"{there}.norm{norm + 1}", "same")
        for mixing in ("token", "channel"):
            for layer in range(2):
                ours = f"{there}.mlp_{mixing}s.fc{layer + 1}"
                found |= _pair(f"{here}/{mixing}_mixing/Dense_{layer}", ours, "dense")
    return found | _pair("pre_head_layer_norm", "norm", "same") | _pair("head", "head", "dense")


def _vit(blocks: int) -> _Layout:
    found = _pair("embedding", "patch_embed.proj", "conv")
    found["cls"] = ("cls_token", "same")
    found[_POSITIONS] = ("pos_embed", "same")
    for index in range(blocks):
        here, there = f"Transformer/encoderblock_{index}", f"blocks.{index}"
        found |= _pair(f"{here}/LayerNorm_0", f"{there}.norm1", "same")
        found |= _pair(f"{here}/LayerNorm_2", f"{there}.norm2", "same")
        for layer in range(2):
            found |= _pair(f"{here}/MlpBlock_3/Dense_{layer}", f"{there}.mlp.fc{layer + 1}", "dense")
    return found | _pair("Transformer/encoder_norm", "norm", "same") | _pair("head", "head", "dense")


_SIMPLE: dict[str, Callable[[int], _Layout]] = {"VisionTransformer": _vit, "MlpMixer": _mixer}


def _attention(name: str, attention: Any) -> dict[str, np.ndarray]:
    """[width, heads, width / heads] for each of query, key and value; [heads, width / heads, width] for the output."""
    heads, found = attention.num_heads, {}
    weights = attention.qkv.weight.detach().cpu().float().chunk(3)
    biases = attention.qkv.bias.detach().cpu().float().chunk(3)
    for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        found[f"{name}/{part}/kernel"] = weight.T.reshape(weight.shape[1], heads, -1).contiguous().numpy()
        found[f"{name}/{part}/bias"] = bias.reshape(heads, -1).contiguous().numpy()
    out = attention.proj.weight.detach().cpu().float()
    found[f"{name}/out/kernel"] = out.T.reshape(heads, -1, out.shape[0]).contiguous().numpy()
    found[f"{name}/out/bias"] = attention.proj.bias.detach().cpu().float().numpy()
    return found
