"""How fast cells are measured: full forwards, replay, replay in fewer bits; the first picture, the decided heatmap.

    python tests/benchmarks/probe.py [--networks fcn,vgg11,resnet18,resnet50,vit] [--rounds 5]
    python tests/benchmarks/probe.py --picture fcn --data FOLDER
    python tests/benchmarks/probe.py --picture resnet18 --data FOLDER [--examples 50000]

Without --picture: the time of a cell on one batch, for every row of granularity 'layer'.  The *loop* is what one
would write: copy the layer's values into the weights, run the whole network in fp32, copy the old ones back.  Replay's
time is the recording, shared by 10 columns, and the replays.  Its *limit* is what nothing that works so can beat: the
recording, and of a forward the share that lies at or after the layer, measured by the moments at which modules are
entered.  All ways take turns, round by round, on the same values and images; medians count.

With --picture: a trained network, 10 columns, from nothing to the first picture of all cells, to the decided heatmap
and (FCN) to exact numbers by both evaluators.  FCN: trained on MNIST, 10,000 test images.  ResNet-18: on the images of
FOLDER/cifar10-jpeg, trained for some epochs on the 10,000 of `test` and probed on the 50,000 of `train`; the loop over
all 50,000 would take days, so its time is that of a sample, multiplied.
"""

import argparse
import copy
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from lyrx.engine import ProbeResult, probe
from lyrx.engine.agreement import CHECKS
from lyrx.engine.forwards import Arguments, Forwards, Row, Variant
from lyrx.engine.interventions import applied
from lyrx.engine.layers import find_layers
from lyrx.engine.precision import Precision
from lyrx.engine.state import describe
from torch import Tensor, nn
from torch.nn import functional

COLUMNS = 10


def fcn() -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in ((784, 256), (256, 256), (256, 256)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(256, 10))


def vgg11() -> nn.Module:
    return nn.Sequential(torchvision.models.vgg11().features, nn.Flatten(), nn.Linear(512, 10))


def resnet18() -> nn.Module:
    """With the stem for images of 32 x 32: a convolution of 3 x 3 and no pooling."""
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()  # type: ignore[assignment]
    return model


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "fcn": (fcn, (1, 28, 28), 1024),
    "vgg11": (vgg11, (3, 32, 32), 64),
    "resnet18": (resnet18, (3, 32, 32), 64),
    "resnet50": (torchvision.models.resnet50, (3, 224, 224), 16),
    "vit": (torchvision.models.vit_b_16, (3, 224, 224), 8),
}


class Timed:
    """One network on one batch, each way of computing all its rows once."""

    def __init__(self, name: str, device: torch.device, batch: int | None):
        build, shape, size = NETWORKS[name]
        torch.manual_seed(0)
        self.model = build().eval().requires_grad_(False).to(device)
        self.device, self.size = device, batch or size
        self.inputs = torch.randn(self.size, *shape, device=device)
        rows = find_layers(self.model, describe(self.model), self.inputs[:2]).rows
        self.rows = [Row(row.name, row.tensors) for row in rows]
        state = self.model.state_dict()
        self.values = {row.name: {n: _other(state[n]) for n in row.tensors} for row in self.rows}
        self.ready: dict[str, tuple[Forwards, list[Variant]]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Timed":
        """Have replays checked against full forwards, once: every round then finds them trusted, as batches do."""
        few = Arguments((self.inputs[:2],))
        for precision in ("fp32", "bf16"):
            forwards = Forwards(copy.deepcopy(self.model), Precision(precision, self.device))  # type: ignore[arg-type]
            self._stack.enter_context(forwards)
            forwards.prepare(few)
            variants = [
                Variant(row, "any", {n: forwards.swap.fitted(n, v) for n, v in self.values[row.name].items()})
                for row in self.rows
            ]
            opened = forwards.open(few, self.rows)
            for variant in variants * CHECKS:
                opened.output(variant)
            assert not forwards.fallbacks, forwards.fallbacks
            self.ready[precision] = forwards, variants
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def loop(self) -> float:
        """Seconds of a cell, mean over the rows: plain PyTorch."""
        state = self.model.state_dict()

        def cells() -> None:
            for row in self.rows:
                values = self.values[row.name]
                backup = {name: state[name].clone() for name in values}
                for name, value in values.items():
                    state[name].copy_(value)
                self.model(self.inputs).argmax(1)
                for name, value in backup.items():
                    state[name].copy_(value)

        # What a GPU does unasked, TF32 in convolutions, is not fp32.
        with torch.no_grad(), Precision("fp32", self.device).active():
            return self._time(cells) / len(self.rows)

    def replay(self, precision: str) -> tuple[float, float]:
        """Seconds of a cell with its share of the recording, mean over the rows; and what the limit would be."""
        arguments = Arguments((self.inputs,))
        forwards, variants = self.ready[precision]
        opened = forwards.open(arguments, self.rows)
        record = self._time(lambda: forwards.open(arguments, self.rows))
        cells = self._time(lambda: [opened.output(variant) for variant in variants])
        full = self._time(lambda: forwards.full(arguments))
        shares = self._shares(forwards, arguments)
        recorded = record / (COLUMNS * len(self.rows))
        return recorded + cells / len(self.rows), recorded + full * statistics.fmean(shares)

    def _shares(self, forwards: Forwards, arguments: Arguments) -> list[float]:
        """Of a forward's time, what lies at or after each row's first use."""
        entered: list[float] = []

        def on_call(module: nn.Module, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            self._wait()
            entered.append(time.perf_counter())
            return original(*args, **kwargs)

        start = time.perf_counter()
        with forwards._computing():
            forwards._replayer._forward(arguments, on_call)
        self._wait()
        end = time.perf_counter()
        trace = forwards._traces[0]
        shares = []
        for row in self.rows:
            first = forwards.depth(row)
            within = max(call.index for call in trace.calls if call.enter <= first < call.exit)
            shares.append((end - entered[within]) / (end - start))
        return shares

    def _time(self, work: Callable[[], object]) -> float:
        self._wait()
        start = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _other(value: Tensor) -> Tensor:
    """The same numbers at other places: of the same size, and another network."""
    return value.flatten()[torch.randperm(value.numel())].reshape(value.shape)


def compare(name: str, device: torch.device, rounds: int, batch: int | None) -> str:
    """A row of the table."""
    loops, exact, limits, fast = [], [], [], []
    with Timed(name, device, batch) as timed:
        timed.loop()
        for precision in timed.ready:
            timed.replay(precision)
        for _ in range(rounds):
            loops.append(timed.loop())
            seconds, limit = timed.replay("fp32")
            exact.append(seconds)
            limits.append(limit / seconds)
            fast.append(timed.replay("bf16")[0])
    images = 1e3 / timed.size

    def ratio(times: Sequence[float]) -> str:
        found = [one / other for one, other in zip(loops, times, strict=True)]
        return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"

    return (
        f"| {name} | {len(timed.rows)} | {timed.size} | {images * statistics.median(loops):.3f} | {ratio(exact)} | "
        f"{100 * statistics.median(limits):.0f} % | {ratio(fast)} |"
    )


def picture(name: str, data: Path, examples: int, device: torch.device, epochs: int, precision: str) -> None:
    """From nothing to the first picture, and on."""
    build = NETWORKS[name][0]
    train, held_out = mnist(data) if name == "fcn" else cifar(data)
    held_out = (held_out[0][:examples], held_out[1][:examples])
    model, checkpoints = trained(build, train, device, epochs)
    chosen = {epoch: checkpoints[epoch] for epoch in sorted(checkpoints)[: COLUMNS - 1]}
    count = len(held_out[1])

    def run(**options: Any) -> tuple[ProbeResult, list[tuple[float, ProbeResult]]]:
        start, looks = time.perf_counter(), []
        found = probe(
            model,
            held_out,
            chosen,
            build=build,
            draws=1,
            device=device,
            on_look=lambda result: looks.append((time.perf_counter() - start, result)),
            **options,
        )
        return found, looks

    decided, looks = run(exact=False, precision=precision)
    cells = decided.error.size
    print(f"{name}: {count} examples, {len(decided.layers)} layers x {len(decided.columns)} columns, {precision}")
    print(f"baseline error {100 * decided.baseline:.2f} %, fallbacks {len(decided.fallbacks)}")
    print(f"first picture ({int(looks[0][1].n.max())} examples a cell) after {looks[0][0]:.2f} s")
    seen = decided.n
    known = [word for row in decided.verdicts for word in row]
    print(
        f"decided heatmap after {looks[-1][0]:.2f} s: {known.count('critical')} critical, {known.count('robust')} "
        f"robust, {known.count('undecided')} undecided; examples a cell: median {int(np.median(seen))}, "
        f"mean {seen.mean():.0f}, most {int(seen.max())}"
    )
    sample = min(count, 512)
    loop = plain_loop(model, held_out[0][:sample].to(device), decided, build) / sample
    total = loop * count * cells
    print(f"the loop: {1e3 * loop:.3f} ms a cell and example (on {sample}), so {total:.1f} s for the exact picture")
    first, last = looks[0][0], looks[-1][0]
    print(f"first picture: after {100 * first / total:.2f} % of it; decided heatmap: {total / last:.1f} times sooner")
    if name == "fcn":
        exact = {}
        for evaluator in ("replay", "full"):
            found, looks = run(evaluator=evaluator)
            exact[evaluator] = found
            print(f"exact by {evaluator}: {looks[-1][0]:.2f} s")
            inside = (found.error >= decided.low - 1e-12) & (found.error <= decided.high + 1e-12)
            print(f"  in the decided heatmap's intervals: {int(inside.sum())} of {inside.size} cells")
        apart = np.abs(exact["replay"].error - exact["full"].error) * count
        others = int((apart > 0.5).sum())
        print(f"the two differ in {others} of {apart.size} cells, by {apart.max():.0f} examples at most")


def plain_loop(model: nn.Module, inputs: Tensor, result: ProbeResult, build: Callable[[], nn.Module]) -> float:
    """Seconds a cell for `inputs` by full forwards in fp32, batches of 128."""
    state = {name: value.to(inputs.device) for name, value in build().state_dict().items()}
    rows = [layer.tensors for layer in result.info.layers]
    few = rows[:: max(1, len(rows) // 4)]
    model.eval()
    times = []
    with torch.no_grad(), Precision("fp32", inputs.device).active():
        for names in few:
            start = time.perf_counter()
            with applied(model, {name: state[name] for name in names}):
                for batch in inputs.split(128):
                    model(batch).argmax(1)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def trained(
    build: Callable[[], nn.Module], data: tuple[Tensor, Tensor], device: torch.device, epochs: int
) -> tuple[nn.Module, Mapping[int, Mapping[str, Tensor]]]:
    """A network after `epochs` epochs of SGD, and its states: at the start, and at 8 moments on the way."""
    torch.manual_seed(0)
    model = build().to(device)
    inputs, targets = data
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    steps = epochs * (len(inputs) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=steps)
    moments = {round((steps - 1) * (place / 8) ** 2): place for place in range(9)}
    states: dict[int, Mapping[str, Tensor]] = {}
    for step in range(steps):
        if step in moments:
            states[moments[step]] = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
        model.train()
        batch = torch.randint(len(inputs), (128,))
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = functional.cross_entropy(model(inputs[batch].to(device)), targets[batch].to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval(), states


def mnist(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    parts = []
    for train in (True, False):
        found = torchvision.datasets.MNIST(str(folder), train=train)
        parts.append((found.data[:, None].float().sub_(33.3).div_(78.6), found.targets))
    return parts[0], parts[1]


def cifar(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    parts = []
    for part in ("test", "train"):
        found = torchvision.datasets.ImageFolder(str(folder / "cifar10-jpeg" / part))
        images = np.stack([np.asarray(image) for image, _ in found])
        inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float().sub_(121).div_(63).contiguous()
        parts.append((inputs, torch.tensor(found.targets)))
    return parts[0], parts[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--picture", choices=["fcn", "resnet18"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--precision", default="fp32")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{where}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if chosen.picture:
        if chosen.data is None:
            parser.error("--picture needs --data")
        picture(chosen.picture, chosen.data, chosen.examples, device, chosen.epochs, chosen.precision)
        return
    print("| network | rows | batch | loop, ms a cell and image | replay, times faster | of its limit | bf16 replay |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in chosen.networks.split(","):
        print(compare(name, device, chosen.rounds, chosen.batch), flush=True)


if __name__ == "__main__":
    main()
