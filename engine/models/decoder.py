"""The network of :class:`.transformer.TransformerSpec`.

Every weight is in a module of torch.nn that is called, so that each has a name of its own and a reset can be replayed
from any of them on.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Decoder(nn.Module):
    """int64[n, length] of token ids (or shorter) -> float[n, length, vocabulary]: scores of each place's next token."""

    def __init__(
        self,
        vocabulary: int,
        length: int,
        depth: int = 6,
        width: int = 512,
        heads: int = 8,
        feedforward: int = 2048,
        dropout: float = 0.1,
        pre_norm: bool = True,
        tied: bool = False,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = Positions(length, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, feedforward, dropout, pre_norm) for _ in range(depth))
        self.norm = nn.LayerNorm(width) if pre_norm else nn.Identity()
        self.output = nn.Linear(width, vocabulary, bias=not tied)
        self.scale = 1.0
        if tied:
            # The embedding's entries have variance 1: without the factor the scores would grow with the width.
            self.output.weight, self.scale = self.embedding.weight, 1 / math.sqrt(width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.positions(self.embedding(tokens)))
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x) * self.scale)


class Block(nn.Module):
    """Attention and feed-forward network, each added to what it was given."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float, pre_norm: bool):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CausalSelfAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, feedforward, dropout)
        self.pre_norm = pre_norm

    def forward(self, x: Tensor) -> Tensor:
        if self.pre_norm:
            x = x + self.attention(self.norm1(x))
            return x + self.feedforward(self.norm2(x))
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.feedforward(x))


class CausalSelfAttention(nn.Module):
    """Each place looks at itself and what is before it."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.dropout = nn.Dropout(dropout)
        self.heads, self.rate = heads, dropout

    def forward(self, x: Tensor) -> Tensor:
        # [n, length, width] -> [n, heads, length, width / heads]
        query, key, value = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        rate = self.rate if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=rate, is_causal=True)
        return self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    """Two layers, for each place alone."""

    def __init__(self, width: int, hidden: int, dropout: float):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout1, self.dropout2 = nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout2(self.fc2(self.dropout1(functional.relu(self.fc1(x)))))


class Positions(nn.Module):
    """Adds sines (first half) and cosines (second half) of wavelengths from 2 pi to 10,000 x 2 pi, one each a place.

    Vaswani et al., NeurIPS 2017, section 3.5, in the order of Tensor2Tensor and Flax.
    """

    table: Tensor

    def __init__(self, length: int, width: int):
        super().__init__()
        half = width // 2
        rates = torch.exp(torch.arange(half) * (-math.log(10_000.0) / max(1, half - 1)))
        angles = torch.arange(length)[:, None] * rates
        # No parameter, and known beforehand: it is in no state dict.
        self.register_buffer("table", torch.cat([angles.sin(), angles.cos()], dim=1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[1]]
