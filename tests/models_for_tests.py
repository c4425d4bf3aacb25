"""Networks that the specs of tests name as `models_for_tests:NAME`."""

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
