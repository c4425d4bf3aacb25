"""A network whose own code raises with some values: that costs those cells and no others."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lyrx.engine import probe
from lyrx.engine.errors import CancelledError, NetworkFailedError, RestoreError, RunFailedError
from lyrx.engine.forwards import Forwards, Row, Variant
from lyrx.engine.memory import BatchSize
from lyrx.engine.precision import Precision
from lyrx.engine.replay.replayer import Arguments
from lyrx.engine.sharing import Alone, Shared, Sharing
from lyrx.engine.sweep import Sweep, Work
from lyrx.engine.tallies import Baseline, judge
from lyrx.store import Cell, DamagedError, LyrxError, Store
from lyrx.store.stopping import Rule
from models_for_tests import Guarded
from replaying import CPU
from running import batch, worked
from test_sharing import colleagues, together

__all__ = ["colleagues"]

GUARDED = {"name": "models_for_tests:Guarded"}
PROBE = {"at": ["0", "zero", "final"]}


class Noticing(Guarded):
    """Takes offence at an example that only its second batch holds, and only with zeros in its middle layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.middle.weight.any() and (x[:, 0] > 1e6).any():
            raise self.error
        return self.head(torch.relu(self.middle(torch.relu(self.first(x)))))

    error: BaseException = ValueError("offended")


class Data:
    def __init__(self) -> None:
        self.inputs = torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
        self.inputs[20, 0] = 1e7
        self.targets = torch.arange(40) % 10

    def __len__(self) -> int:
        return 40

    def between(self, start: int, stop: int) -> tuple[Arguments, torch.Tensor]:
        return Arguments((self.inputs[start:stop],)), self.targets[start:stop]


def swept(model: torch.nn.Module, sharing: Sharing, load: Any = None) -> list[Work]:
    data, size = Data(), BatchSize(8)
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(data.between(0, 8)[0])
        outcome = judge(forwards.full(data.between(0, 40)[0]), data.targets)
        works = []
        for name in ("first", "middle", "head"):
            row = Row(name, (f"{name}.weight",))
            values = {row.tensors[0]: torch.zeros_like(model.get_parameter(row.tensors[0]))}
            made = Variant(row, "zero", values)
            works.append(Work(name, row, "zero", load=load or (lambda made=made: made), name=f"{name} at 'zero'"))
        baseline = Baseline(outcome.prediction, outcome.wrong, 0.1)
        for _ in Sweep(forwards, data, baseline, Rule(exact=True), size, sharing=sharing).run(works):
            pass
    return works


def noticing(error: BaseException | None = None) -> Noticing:
    torch.manual_seed(0)
    model = Noticing().eval()
    if error is not None:
        model.error = error
    return model


def check(works: list[Work]) -> None:
    first, middle, head = works
    assert (first.failure, head.failure) == (None, None)
    assert first.tally.seen == head.tally.seen == 40
    assert middle.ended
    assert str(middle.failure) == "the network fails with middle at 'zero': ValueError: offended"
    assert middle.tally.seen == 16  # whole batches before the one that failed, and none after it


def test_the_others_go_on_and_what_was_counted_has_no_gap():
    works = swept(noticing(), Alone())
    check(works)
    assert isinstance(works[1].failure, NetworkFailedError)


def test_under_several_processes(colleagues):
    model = noticing()
    for works in together(colleagues(2), lambda member: swept(copy.deepcopy(model), Shared(member))):
        assert isinstance(works, list), works
        check(works)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CancelledError("stop"), RestoreError("lost")])
def test_what_is_not_the_networks_ends_all(error: BaseException):
    with pytest.raises(type(error)):
        swept(noticing(error), Alone())


def test_memory_that_never_suffices_ends_all():
    with pytest.raises(torch.OutOfMemoryError):
        swept(noticing(torch.OutOfMemoryError("too much")), Alone())


def test_a_network_that_does_not_run_any_more_ends_all():
    class Lost(Noticing):
        lost = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Lost.lost |= bool((x[:, 0] > 1e6).any()) and not self.middle.weight.any()
            if Lost.lost:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return super().forward(x)

    with pytest.raises(RuntimeError, match="CUDA error"):
        swept(Lost().eval(), Alone())


def test_values_that_cannot_be_made_cost_their_cells():
    def load() -> Variant:
        raise DamagedError("checkpoint 3 is damaged")

    works = swept(noticing(), Alone(), load)
    assert [str(work.failure) for work in works] == ["checkpoint 3 is damaged"] * 3


def test_a_batch_measures_the_rest_and_says_which_cell_failed(tmp_path: Path):
    with pytest.raises(RunFailedError) as caught:
        batch(tmp_path / "s.zarr", model=GUARDED, probe=PROBE)
    assert caught.value.exit_code == 1
    message = str(caught.value)
    assert "middle at 'zero': ValueError: NaN!" in message
    assert "\x1b" not in message
    run = Store.open(tmp_path / "s.zarr").run("r")
    found = run.probe()
    places = [
        (found.info.layers[cell.layer or 0].name, found.info.columns[cell.column].label) for cell in found.missing()
    ]
    assert places == [("middle", "zero")]
    assert run.writer() is None
    with pytest.raises(RunFailedError, match="middle at 'zero'"):  # nor is it forgotten
        batch(tmp_path / "s.zarr", model=GUARDED, probe=PROBE)


def test_a_worker_names_the_cell_and_measures_the_others(tmp_path: Path):
    with pytest.raises(LyrxError):
        batch(tmp_path / "s.zarr", model=GUARDED, probe=PROBE)
    run = Store.open(tmp_path / "s.zarr").run("r")
    column = [one.label for one in run.probe().info.columns].index("zero")
    names = [layer.name for layer in run.probe().info.layers]
    cells = [[layer, column, 0] for layer in range(3)]
    request = {"type": "probe", "id": "1", "store": str(tmp_path / "s.zarr"), "run": "r", "cells": cells, "again": True}
    heard = worked(request)
    failed = [event for event in heard if event["type"] == "failed"]
    assert [event["cell"] for event in failed] == [[names.index("middle"), column, 0]]
    assert "NaN!" in failed[0]["message"]
    assert heard[-1]["done"] == 2
    assert not heard[-1]["cancelled"]


def test_without_a_store():
    torch.manual_seed(0)
    model, data = Guarded(), (torch.randn(50, 64), torch.arange(50) % 10)
    with pytest.warns(RuntimeWarning, match="middle at 'zero': ValueError: NaN!"):
        result = probe(model, data, at=["zero"])
    middle = result.layers.index("middle")
    assert result.error[[row for row in range(3) if row != middle]].min() >= 0
    assert torch.isnan(torch.tensor(result.error[middle, 0]))
    assert len(result.failures) == 1
    assert Cell(middle, 0, 0) not in result.estimates
    assert "failures" in result.to_json()
