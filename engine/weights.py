"""Weights of a network from somebody's file: what of it fits, what it has not, and what was done to it.

PyTorch's state dicts (`.pt`, `.pth`, `.bin`, `.safetensors`), arrays by the tensors' names (`.npz`), google-research's
released `.npz` files (see :mod:`.released`), and folders of transformers.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..store import TensorInfo, inert
from .errors import DataNotFoundError, LyrxError, ModelError
from .models.base import PRETRAINED, ModelSpec, said
from .released import is_released, read_released
from .state import describe, to_array

_PICKLED = (".pt", ".pth", ".bin", ".ckpt")
_WRAPPED = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and torch.compile


@dataclass(frozen=True)
class Weights:
    """What a file holds for a network."""

    origin: str
    """The file, for people."""
    tensors: Mapping[str, Tensor]
    """By the names of the network's tensors, in its shapes and types."""
    absent: Mapping[str, str]
    """Tensors of the network that the file has no values for, by name, each with the reason."""
    notes: tuple[str, ...] = ()
    """What was resized, converted, or not used."""

    @property
    def sha256(self) -> str:
        """Of all that was taken."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name}{tensor.dtype}{list(tensor.shape)}".encode())
            digest.update(to_array(tensor).data)
        return digest.hexdigest()

    def facts(self) -> dict[str, Any]:
        """What is stored of it with a run."""
        return {
            "file": self.origin,
            "sha256": self.sha256,
            "absent": dict(self.absent),
            "notes": list(self.notes),
        }


def read_weights(path: str, model: nn.Module) -> Weights:
    """What the file (or folder) at `path` holds for `model`, which is left as it is.

    Raises DataNotFoundError, and ModelError for a file that is something else or another network's: one that has less
    than half of the network's parameters.
    """
    file, notes = Path(path), []
    origin = inert(str(file))
    try:
        if file.is_dir():
            state = _from_folder(file, model)
        elif file.suffix == ".npz":
            state, notes = _from_npz(file, model)
        elif file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        elif file.suffix in _PICKLED:
            # Tensors and plain containers only: a pickle may carry code.
            state = torch.load(file, map_location="cpu", weights_only=True)
        else:
            kinds = ", ".join((*_PICKLED, ".safetensors", ".npz"))
            raise ModelError(f"{origin} is of a kind that is not known; {kinds}, or a folder of transformers.")
    except FileNotFoundError as error:
        raise DataNotFoundError(f"there is no weights file {origin}.") from error
    except LyrxError:
        raise
    except Exception as error:  # whatever a library meets in a file that is something else
        raise ModelError(f"{origin} cannot be read as weights: {said(error)}.") from error
    return fitted(_unwrapped(state, origin), model, origin, notes)


def starting_weights(spec: ModelSpec, model: nn.Module) -> Weights | None:
    """What training of `model` starts from where its spec names weights, else None. Raises as :func:`read_weights`."""
    if spec.weights is None:
        return None
    if spec.weights == PRETRAINED:
        return fitted(spec.pretrained(), model, f"pretrained weights of {inert(spec.name)}")
    return read_weights(spec.weights, model)


@torch.no_grad()
def put(weights: Weights, model: nn.Module) -> None:
    """Copy the weights into the network. What they have not stays as it is."""
    tensors = model.state_dict(keep_vars=True)
    for name, value in weights.tensors.items():
        tensors[name].copy_(value)


def fitted(state: Mapping[str, Tensor], model: nn.Module, origin: str, notes: Iterable[str] = ()) -> Weights:
    """The part of a state dict that fits `model`, and what does not. Raises ModelError when it is another network's."""
    tensors: dict[str, Tensor] = {}
    absent: dict[str, str] = {}
    taken: set[str] = set()
    converted: set[str] = set()
    infos = describe(model)
    for info in infos:
        name = next((name for name in (info.name, *info.aliases) if name in state), None)
        taken.update((info.name, *info.aliases))
        if name is None and info.name.endswith(".num_batches_tracked"):
            tensors[info.name] = torch.zeros((), dtype=torch.int64)  # a count, which older files do not have
        elif name is None:
            absent[info.name] = f"it is not in {origin}"
        elif tuple(state[name].shape) != info.shape:
            there, here = list(state[name].shape), list(info.shape)
            absent[info.name] = f"its shape is {here}, in {origin} it is {there}"
        else:
            dtype: torch.dtype = getattr(torch, info.dtype)
            if state[name].dtype != dtype:
                converted.add(f"{str(state[name].dtype).removeprefix('torch.')} to {info.dtype}")
            tensors[info.name] = state[name].detach().cpu().to(dtype, copy=True)
    _check_enough(infos, absent, state, origin)
    said = [f"converted from {kinds}" for kinds in sorted(converted)]
    if unused := [inert(str(name)) for name in state if name not in taken]:
        more = f" and {len(unused) - 6} more" if len(unused) > 6 else ""
        said.append(f"not used: {', '.join(unused[:6])}{more}")
    return Weights(origin, tensors, absent, (*notes, *said))


def _check_enough(infos: Iterable[TensorInfo], absent: Mapping[str, str], state: Mapping[str, Tensor], origin: str):
    wanted = [info.name for info in infos if info.kind == "parameter"]
    missing = [name for name in wanted if name in absent]
    if 2 * len(missing) > len(wanted):
        has = ", ".join(inert(str(name)) for name in list(state)[:3])
        raise ModelError(
            f"{origin} is not of this network: of its {len(wanted)} parameters the file has "
            f"{len(wanted) - len(missing)}. The network has {', '.join(missing[:3])}, ...; the file {has}, ..."
        )


def _unwrapped(state: Any, origin: str) -> dict[str, Tensor]:
    """The tensors by name, out of what training scripts put around them."""
    for key in _WRAPPED:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
            break
    if not isinstance(state, Mapping):
        raise ModelError(f"{origin} holds a {type(state).__name__}, no state dict.")
    found = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    if not found:
        raise ModelError(f"{origin} holds no tensors by name: it is no state dict.")
    # Either may stand around the other.
    while prefix := next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in found)), None):
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _from_npz(path: Path, model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    with np.load(path, allow_pickle=False) as file:
        if not is_released(file.files):
            return {name: torch.from_numpy(np.array(file[name])) for name in file.files}, []
    return read_released(path, model)


def _from_folder(path: Path, model: nn.Module) -> dict[str, Tensor]:
    if not hasattr(model, "config") or not (path / "config.json").is_file():
        raise ModelError(
            f"{inert(str(path))} is a folder; only networks of transformers ('hf:...') have their weights in one, "
            "with a config.json."
        )
    import transformers

    name = type(model).__name__
    kind = getattr(transformers, name, None)
    if kind is None:
        raise ModelError(f"transformers has no network '{inert(name)}', whose weights {inert(str(path))} should hold.")
    loaded, about = kind.from_pretrained(
        path, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
    )
    # What the folder has not was drawn at random: it is no one's weights.
    drawn = {str(key) for key in about["missing_keys"]}
    return {name: value for name, value in loaded.state_dict().items() if name not in drawn}
