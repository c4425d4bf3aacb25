"""How well a probe is shared out over several processes: a simulation with measured costs.

    python tests/benchmarks/sharing.py [--images 64] [--save]

Seconds an example are measured here, of a ResNet-18 for 32 x 32 images: the recording up to each row, and a replay of
each row.  With them the exact run of 10,000 and of 50,000 examples is simulated by the very code that a real run uses
(`Sweep` for the looks, `cut` for the units), for one process and for eight; also where one of them is half as fast.

efficiency = (time of one process) / (sum of the speeds x time of all)

Beside it, *static*: the cells dealt out once, each process on its own to the end.  `--save` keeps the costs for
`tests/test_sharing.py`.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from lyrx.engine.forwards import Forwards, Row, Variant
from lyrx.engine.layers import find_layers
from lyrx.engine.precision import Precision
from lyrx.engine.replay.replayer import Arguments
from lyrx.engine.state import describe
from torch import nn

if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1]))

from simulated_team import COSTS, Costs, RowCost, SimulatedTeam, efficiency, simulate


def resnet18() -> nn.Module:
    """With the stem for small images: no stride, no pooling."""
    import torchvision

    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()  # type: ignore[assignment]
    return model.eval()


def seconds(action: Callable[[], object], times: int) -> float:
    """Of the fastest among `times`: others share this machine."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        took.append(time.perf_counter() - began)
    return min(took)


def measure(images: int, times: int) -> Costs:
    model = resnet18()
    inputs = Arguments((torch.randn(images, 3, 32, 32),))
    layers = find_layers(model, describe(model), inputs).rows
    found = []
    with Forwards(model, Precision("fp32", torch.device("cpu"))) as forwards:
        forwards.prepare(Arguments((inputs.args[0][:8],)))
        full = seconds(lambda: forwards.full(inputs), times) / images
        for layer in layers:
            row = Row(layer.name, layer.tensors)
            values = {name: model.state_dict()[name].clone() for name in layer.tensors}
            variant = Variant(row, "reinitialise", {n: forwards.swap.fitted(n, v) for n, v in values.items()})
            record = seconds(lambda row=row: forwards.open(inputs, [row]), times)
            batch = forwards.open(inputs, [row])
            if batch.output(variant)[1]:
                raise RuntimeError(f"{row.name} is not replayed")
            replay = seconds(lambda batch=batch, variant=variant: batch.output(variant), times)
            found.append(RowCost(layer.name, record / images, replay / images))
            print(f"  {layer.name:24} record {1e3 * record / images:7.3f} ms, replay {1e3 * replay / images:7.3f} ms")
    machine = f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    return Costs(machine, images, full, tuple(found))


def static(costs: Costs, total: int, speeds: list[float]) -> float:
    """The time of processes that each take every n-th cell and never speak with each other."""
    ends = []
    for rank, speed in enumerate(speeds):
        alone = simulate(costs, total, SimulatedTeam(costs, total, [speed]), only=slice(rank, None, len(speeds)))
        ends.append(alone.now)
    return max(ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64, help="in a batch")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--save", action="store_true", help=f"write {COSTS.name}")
    parser.add_argument("--saved", action="store_true", help="use the saved costs, measure nothing")
    options = parser.parse_args()
    if options.saved:
        costs = Costs.read()
    else:
        print("measured, an image:")
        costs = measure(options.images, options.times)
    if options.save:
        costs.write()
    print(f"{costs.machine}; plain forward {1e3 * costs.forward:.2f} ms an image; batches of {costs.batch_size}\n")
    print("| run | examples | one process | eight | efficiency | static | recording | idle |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for words, speeds in (("eight alike", [1.0] * 8), ("one at half speed", [0.5, *[1.0] * 7])):
        for total in (10_000, 50_000):
            share, team = efficiency(costs, total, speeds)
            alone = share * sum(speeds) * team.now
            dealt = alone / (sum(speeds) * static(costs, total, speeds))
            recording = team.recording / (sum(speeds) * team.now)
            idle = 1 - statistics.fmean(team.busy) / team.now
            print(
                f"| {words} | {total:,} | {alone:,.0f} s | {team.now:,.0f} s | {100 * share:.1f} % | "
                f"{100 * dealt:.1f} % | {100 * recording:.1f} % | {100 * idle:.1f} % |"
            )


if __name__ == "__main__":
    main()
