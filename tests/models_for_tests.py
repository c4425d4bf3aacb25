"""Networks that the specs of tests name as `models_for_tests:NAME`."""

import random

import numpy as np
import torch
from torch import Tensor, nn


class Tied(nn.Module):
    """Two linear layers that are one parameter, and one of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64, bias=False)
        self.act = nn.ReLU()
        self.second = nn.Linear(64, 64, bias=False)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.second(self.act(self.first(x.flatten(1))))))


class Guarded(nn.Module):
    """Refuses to go on where its middle layer has been put to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.head = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(torch.relu(self.first(x.flatten(1))))
        if not x.any():
            raise ValueError("NaN!\x1b[31m")
        return self.head(torch.relu(x))


class LateFirst(nn.Module):
    """Registered in another order than called."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 10)
        self.body = nn.Linear(64, 8)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(x.flatten(1))))


def convolutional(width: int = 4) -> nn.Module:
    """Convolutions with BatchNorm, one without affine parameters, dropout."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1),
        nn.BatchNorm2d(width, affine=False),
        nn.ReLU(inplace=True),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(64 * width, 10),
    )


def bfloat() -> nn.Module:
    """A linear classifier in bfloat16 between float32 ends."""

    class Casting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10).to(torch.bfloat16)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.flatten(1).to(torch.bfloat16)).float()

    return Casting()


def wrong_output() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def no_parameters() -> nn.Module:
    return nn.Flatten()


def not_a_model() -> int:
    return 3


class InPlace(nn.Module):
    """Works in place on what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mul_(0.5).flatten(1))


class NonPersistent(nn.Module):
    """Learns something that no state dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)
        self.register_buffer("seen", torch.zeros(10), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.fc(x.flatten(1))
        if self.training:
            self.seen.add_(torch.linspace(0, 1, 10))
        return out + self.seen


def numpy_initialised() -> nn.Module:
    """Draws its weights from NumPy's and Python's generators."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        model[1].weight.copy_(torch.from_numpy(np.random.normal(size=(10, 64)) * 0.1))
        model[1].bias.fill_(random.random())
    return model


def raising() -> nn.Module:
    raise ValueError("\x1b[31mno network today")


def lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def mixing() -> nn.Module:
    """A norm without running statistics: what it says of an example depends on the others in its batch."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16, track_running_stats=False), nn.ReLU(), nn.Linear(16, 10)
    )


def frozen() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False)


class FailsInTraining(nn.Module):
    """Its forward fails, but only while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("\x1b[31mno training today")
        return self.fc(x.flatten(1))


class Normed(nn.Module):
    """Weights behind parametrizations, tied by a transpose, and blocks in a plain sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(64, 64))
        self.encoder = nn.Linear(64, 16, bias=False)
        self.decoder = nn.Linear(16, 64, bias=False)
        self.decoder.weight = nn.Parameter(self.encoder.weight.t())
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.encoder(self.first(x.flatten(1)))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 8), nn.Linear(8, 64)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(torch.relu(self.a(x)))


class Attending(nn.Module):
    """Attention without a bias, outside of any block."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.squeeze(1)
        return self.fc(self.a(x, x, x)[0].flatten(1))


class Causal(nn.Module):
    """A small language model: each position sees itself and the one before."""

    def __init__(self, vocabulary: int = 30, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.mix = nn.Conv1d(width, width, 2)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        x = nn.functional.pad(self.embedding(tokens).transpose(1, 2), (1, 0))
        return self.head(self.norm(torch.relu(self.mix(x).transpose(1, 2))))


def images(side: int, channels: int = 3, classes: int = 3, norm: bool = True) -> nn.Module:
    """A small convolutional network for images."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.BatchNorm2d(6) if norm else nn.Identity(),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, padding=1, stride=2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(6 * ((side + 1) // 2) ** 2, classes),
    )
