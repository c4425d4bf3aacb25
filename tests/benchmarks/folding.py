"""Variants of a row as one batch beside one after another: how much faster, and for which batches.

    python tests/benchmarks/folding.py [--networks fcn,vgg11,resnet18,gpt2] [--batches 1,8,64] [--variants 2,4,8,16]

For rows spread over each network: K variants of a row on one recorded batch, judged and counted as a sweep does, folded
and one by one in turn.  A ratio is the median, over the rounds, of (time one by one) / (time folded) of all these rows,
in brackets the quartiles: above 1 folding is faster.  Rows that are not folded are named with the reason and left out.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lyrx.engine.building import seeded
from lyrx.engine.forwards import Arguments, Forwards, Row, Variant
from lyrx.engine.layers import find_layers
from lyrx.engine.opened import Batch
from lyrx.engine.precision import Precision
from lyrx.engine.state import describe
from lyrx.engine.tallies import count, judge
from probe import fcn, resnet18, vgg11
from torch import Tensor, nn

ROWS = 5
"""Of a network's rows, how many are timed."""


def gpt2() -> nn.Module:
    """Two small blocks that classify texts of 16 tokens."""
    from transformers import GPT2Config, GPT2ForSequenceClassification

    config = GPT2Config(n_layer=2, n_embd=64, n_head=4, vocab_size=500, num_labels=10, pad_token_id=0, use_cache=False)
    return GPT2ForSequenceClassification(config)


def images(*shape: int) -> Callable[[int], Arguments]:
    return lambda size: Arguments((torch.randn(size, *shape),))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Arguments]]] = {
    "fcn": (fcn, images(1, 28, 28)),
    "vgg11": (vgg11, images(3, 32, 32)),
    "resnet18": (resnet18, images(3, 32, 32)),
    "gpt2": (gpt2, lambda size: Arguments((), {"input_ids": torch.randint(1, 500, (size, 16))})),
}


class Timed:
    """Variants of some rows of one network on one batch."""

    def __init__(self, forwards: Forwards, rows: Sequence[Row], fresh: Sequence[dict[str, Tensor]], batch: Arguments):
        self.size = next(len(tensor) for tensor in batch.tensors())
        self.targets = torch.randint(10, (self.size,))
        self.prediction, self.wrong = torch.randint(10, (self.size,)), torch.rand(self.size) < 0.1
        self.opened: Batch = forwards.open(batch, rows)
        self.packs = [
            [Variant(row, "any", {n: forwards.swap.fitted(n, state[n]) for n in row.tensors}) for state in fresh]
            for row in rows
        ]
        self.packs = [pack for pack in self.packs if self.opened.outputs(pack) is not None]

    def apart(self) -> None:
        for pack in self.packs:
            for variant in pack:
                self._count(self.opened.output(variant)[0], self.targets)

    def folded(self) -> None:
        for pack in self.packs:
            self._count(self.opened.outputs(pack), self.targets.repeat(len(pack)))

    def _count(self, output: Any, targets: Tensor) -> None:
        count(judge(output, targets), self.prediction, self.wrong)


def ratios(timed: Timed, rounds: int) -> list[float]:
    """Time one by one / time folded, pair by pair; who comes first changes."""
    found = []
    for number in range(rounds + 1):
        took = {}
        for work in (timed.apart, timed.folded)[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            work()
            took[work.__name__] = time.perf_counter() - start
        found.append(took["apart"] / took["folded"])
    return sorted(found[1:])


def measured(name: str, batches: Sequence[int], variants: Sequence[int], rounds: int) -> None:
    build, batch = NETWORKS[name]
    torch.manual_seed(0)
    model = build().eval().requires_grad_(False)
    rows = [Row(row.name, row.tensors) for row in find_layers(model, describe(model), batch(2)).rows]
    if len(rows) > ROWS:
        rows = [rows[round(place * (len(rows) - 1) / (ROWS - 1))] for place in range(ROWS)]
    fresh = [dict(seeded(seed, build).state_dict()) for seed in range(max(variants))]
    with Forwards(model, Precision("fp32", torch.device("cpu"))) as forwards:
        forwards.prepare(batch(8))
        for size in batches:
            given, line = batch(size), []
            for number in variants:
                timed = Timed(forwards, rows, fresh[:number], given)
                found = ratios(timed, rounds)
                quarter = len(found) // 4
                line.append(f"{statistics.median(found):.2f} ({found[quarter]:.2f} to {found[-1 - quarter]:.2f})")
            print(f"| {name} | {size} | " + " | ".join(line) + " |", flush=True)
        for row, reason in forwards.unfolded.items():
            print(f"  {name}: {row} is not folded: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="fcn,vgg11,resnet18,gpt2")
    parser.add_argument("--batches", default="1,8,64")
    parser.add_argument("--variants", default="2,4,8,16")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    batches, variants = ([int(n) for n in text.split(",")] for text in (options.batches, options.variants))
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| network | batch | " + " | ".join(f"K {number}" for number in variants) + " |")
    for name in options.networks.split(","):
        measured(name, batches, variants, options.rounds)


if __name__ == "__main__":
    main()
