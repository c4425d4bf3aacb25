"""What a family of models is."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from torch import nn


class ModelSpec(BaseModel):
    """The `model` section of a spec: which network, and its keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)

    name: str

    def build(self, shape: tuple[int, ...], classes: int) -> "nn.Module":
        """A fresh network for examples of `shape` (channels first) and this many classes.

        Initialised by the libraries' defaults from torch's global generator.  Raises ModelError.
        """
        raise TypeError(f"{type(self).__name__} does not say how to build a network")

    def source(self) -> dict[str, str]:
        """What tells that the code of a model has changed, as `{"model source": hash}`; empty for lyrx's own."""
        return {}
