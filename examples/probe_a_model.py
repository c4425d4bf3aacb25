"""Which layers of a network of your own matter? Trains a small one for a few seconds and asks.

python examples/probe_a_model.py
"""

import torch
from lyrx.engine import probe
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional


def build() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(inplace=True),
        nn.Linear(64, 10),
    )


def main() -> None:
    digits = load_digits()
    inputs = torch.tensor(digits.images[:, None], dtype=torch.float32) / 8 - 1
    targets = torch.tensor(digits.target)
    train, test = (inputs[:1200], targets[:1200]), (inputs[1200:], targets[1200:])

    torch.manual_seed(0)
    model = build()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    checkpoints = {0: {name: value.clone() for name, value in model.state_dict().items()}}
    for epoch in range(1, 11):
        for batch in torch.randperm(len(train[1])).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(model(train[0][batch]), train[1][batch]).backward()
            optimiser.step()
        if epoch in (1, 3):
            checkpoints[epoch] = {name: value.clone() for name, value in model.state_dict().items()}
    model.eval()

    result = probe(model, test, checkpoints, build=build)
    print(f"trained network: {100 * result.baseline:.1f} % wrong")
    print("layer".ljust(8), *(column.rjust(8) for column in result.columns))
    for layer, errors, verdicts in zip(result.layers, result.error, result.verdicts, strict=True):
        print(layer.ljust(8), *(f"{100 * error:8.1f}" for error in errors), "  at 0:", verdicts[1])


if __name__ == "__main__":
    main()
