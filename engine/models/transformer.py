"""A Transformer language model (Vaswani et al., NeurIPS 2017): the decoder alone, as for LM1B."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from ...store import inert
from ..errors import ModelError
from .base import ModelSpec

if TYPE_CHECKING:
    from torch import nn


class TransformerSpec(ModelSpec):
    """A decoder-only language model; the defaults are those of the usual LM1B configuration (Flax's lm1b example).

    As there: norms before attention and feed-forward network and one at the end, sinusoidal positions, no biases in
    attention, an output layer of its own.  Initialised as torch.nn does by default.  Length and vocabulary are those of
    the data.
    """

    name: Literal["transformer"] = "transformer"
    depth: int = Field(6, ge=1, description="blocks")
    width: int = Field(512, ge=2)
    heads: int = Field(8, ge=1)
    feedforward: int = Field(2048, ge=1, description="width of the feed-forward networks")
    dropout: float = Field(0.1, ge=0, lt=1, description="of embeddings, attention and feed-forward networks")
    norm: Literal["pre", "post"] = Field("pre", description="norms before each part of a block, or after its sum")
    tied: bool = Field(False, description="the output layer's weights are the embedding's, scaled by 1 / sqrt(width)")

    @model_validator(mode="after")
    def _check(self) -> "TransformerSpec":
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} heads cannot share a width of {self.width}; it must divide it")
        if self.width % 2:
            raise ValueError(f"width: must be even (a sine and a cosine for each position); it is {self.width}")
        return self

    def build(self, shape: tuple[int, ...], classes: int) -> "nn.Module":
        from .decoder import Decoder

        if len(shape) != 1:
            raise ModelError(
                f"model '{inert(self.name)}' works on sequences of tokens, [length]; examples have the shape "
                f"{list(shape)}."
            )
        return Decoder(
            vocabulary=classes,
            length=shape[0],
            depth=self.depth,
            width=self.width,
            heads=self.heads,
            feedforward=self.feedforward,
            dropout=self.dropout,
            pre_norm=self.norm == "pre",
            tied=self.tied,
        )
