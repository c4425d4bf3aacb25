"""That replay does not compute, nor keep, what it need not."""

from collections import Counter
from typing import ClassVar

import pytest
import torch
from lyrx.engine.forwards import Forwards, Row, Variant
from lyrx.engine.layers import find_layers
from lyrx.engine.precision import Precision
from lyrx.engine.replay.replayer import Arguments, Replayer
from lyrx.engine.state import describe
from replaying import CPU, batches, made
from torch import Tensor, nn


class Counted(nn.Module):
    """Convolutions that count how often they are computed."""

    counts: ClassVar[Counter[str]] = Counter()

    class Conv(nn.Conv2d):
        name = ""

        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            Counted.counts[self.name] += 1
            return super().forward(input)

    def __init__(self, depth: int = 5) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for index in range(depth):
            conv = self.Conv(3 if not index else 4, 4, 3, padding=1)
            conv.name = f"stages.{index}.0"
            self.stages.append(nn.Sequential(conv, nn.BatchNorm2d(4), nn.ReLU(inplace=True)))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        for index, stage in enumerate(self.stages):
            before, x = x, stage(x)
            if index:
                x += before
        return self.head(x.mean((2, 3)))


def test_what_is_before_the_layer_is_not_computed():
    model = made(Counted)
    rows = [Row(str(index), (f"stages.{index}.0.weight", f"stages.{index}.1.running_mean")) for index in range(5)]
    rows += [Row("head", ("head.weight",)), Row("late", ("stages.4.0.bias", "stages.2.1.weight"))]
    batch = batches(3, 6, 6, sizes=(4,))[0]
    values = {
        row.name: {name: torch.randn_like(model.state_dict()[name]).abs() for name in row.tensors} for row in rows
    }
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        opened = forwards.open(batch, rows)
        for row in rows:  # checked once
            opened.output(Variant(row, "random", values[row.name]))
        Counted.counts.clear()
        opened = forwards.open(batch, rows)
        recorded = dict(Counted.counts)
        # Recorded once, and no further than the last layer.
        assert recorded == {f"stages.{index}.0": 1 for index in range(5)}
        # The last row begins with a norm, behind its convolution.
        for row, first in zip(rows, (0, 1, 2, 3, 4, 5, 3), strict=True):
            Counted.counts.clear()
            opened.output(Variant(row, "random", values[row.name]))
            assert dict(Counted.counts) == {f"stages.{index}.0": 1 for index in range(first, 5)}, row.name
    Counted.counts.clear()


def test_recording_ends_where_the_last_layer_begins():
    model = made(Counted)
    row = Row("1", ("stages.1.0.weight",))
    batch = batches(3, 6, 6, sizes=(4,))[0]
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        Counted.counts.clear()
        forwards.open(batch, [row])
        assert set(Counted.counts) <= {"stages.0.0", "stages.1.0"}
        Counted.counts.clear()
        forwards.open(batch, [Row("0", ("stages.0.0.weight",))])
        assert not Counted.counts
    Counted.counts.clear()


def test_copies_only_of_what_is_altered_later():
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d, self.e = (nn.Linear(10, 10) for _ in range(5))

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x)
            b = self.b(a)  # never altered
            c = self.c(b)
            d = self.d(c)
            d += c + b + a
            a += 1  # altered after all that
            return self.e(d + a)

    model = made(Sums)
    batch = batches(10, sizes=(8,))[0]
    with torch.no_grad(), Replayer(model) as replayer:
        trace = replayer.trace(batch)
        starts = [trace.touched[parameter.untyped_storage()._cdata] for parameter in model.parameters()]
        recipes = [replayer.recipe(trace, start) for start in starts]
        record = replayer.record(trace, batch, recipes)
    copied = record.storages.keys() - record.kept
    made_by = {call.module: call.index for call in trace.calls}
    names = {made_by[module]: name for name, module in model.named_children()}
    # Altered later by code that is always carried out again: copies. As it is when the code is through: no copy.
    assert {names[call] for _, call in copied} == {"a", "d"}
    assert {names[call] for _, call in record.kept} == {"b", "c"}
    assert record.bytes == 4 * 8 * 10 * 4


@pytest.mark.parametrize(
    ("network", "numbers"),
    [
        # Each layer's input once, and what is added to it. In a stage: block in, middle, out, middle, and a shortcut.
        ("resnet18", 5 * 64 * 32**2 + 5 * 128 * 16**2 + 5 * 256 * 8**2 + 5 * 512 * 4**2 + 512),
        ("vgg11", 64 * 16**2 + 128 * 8**2 + 256 * (8**2 + 4**2) + 512 * (4**2 + 2**2 + 2**2 + 1 + 1)),
    ],
)
def test_what_is_kept_of_an_image(network: str, numbers: int):
    # All layers at once.
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.get_model(network, num_classes=10).eval()
    if network == "resnet18":  # the stem for small images
        model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    else:
        model.avgpool, model.classifier = nn.Identity(), nn.Linear(512, 10)
    batch = Arguments((torch.randn(4, 3, 32, 32),))
    rows = [Row(layer.name, layer.tensors) for layer in find_layers(model, describe(model), batch).rows]
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        _, kept = forwards.memory(rows)
    assert 0.5 * 4 * numbers < kept <= 4 * numbers


def test_the_memory_of_a_batch_is_freed():
    model = made(Counted).eval()
    batch = batches(3, 6, 6, sizes=(4,))[0]
    rows = [Row(str(index), (f"stages.{index}.0.weight",)) for index in range(5)]
    with torch.no_grad(), Replayer(model) as replayer:
        trace = replayer.trace(batch)
        starts = [trace.touched[model.get_parameter(row.tensors[0]).untyped_storage()._cdata] for row in rows]
        record = replayer.record(trace, batch, [replayer.recipe(trace, start) for start in starts])
        alive = [torch.multiprocessing.reductions.StorageWeakRef(storage) for storage in record.storages.values()]
        assert alive
        del record
        assert all(reference.expired() for reference in alive)
