"""How tensors are described and stored: the bits, and the name of their type beside them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

# Types that Zarr has no name for are stored as integers of their width.
_AS_BITS = {
    "bfloat16": "uint16",
    "float8_e4m3fn": "uint8",
    "float8_e4m3fnuz": "uint8",
    "float8_e5m2": "uint8",
    "float8_e5m2fnuz": "uint8",
    "float8_e8m0fnu": "uint8",
}


def storage_dtype(dtype: str) -> str:
    """The numpy type that holds a torch tensor of type `dtype` ('bfloat16' -> 'uint16')."""
    return _AS_BITS.get(dtype, dtype)


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a model's state."""

    name: str
    dtype: str
    """Its torch type without the prefix: 'float32', 'bfloat16', 'int64'."""
    shape: tuple[int, ...]
    kind: Literal["parameter", "buffer"]
    aliases: tuple[str, ...] = ()
    """Other names in the model's state of this very tensor (tied weights)."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape), "aliases": list(self.aliases)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TensorInfo":
        return cls(
            value["name"],
            value["dtype"],
            tuple(value["shape"]),
            value["kind"],
            tuple(value.get("aliases", ())),
        )
