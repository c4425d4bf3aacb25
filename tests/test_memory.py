"""How many examples a forward takes, also where the network could not be followed."""

import pytest
import torch
from lyrx.engine.footprint import peak_bytes
from lyrx.engine.forwards import Forwards, Row
from lyrx.engine.memory import (
    LARGEST,
    WORKING_SET,
    budget_of,
    choose_batch_size,
    control_group_room,
    free_memory,
)
from lyrx.engine.precision import Precision
from lyrx.engine.replay.replayer import Arguments
from nasty_networks import Keeps
from replaying import CPU, made
from torch import Tensor, nn

WIDE = 2**18
"""Numbers of an example within `Wide`: 1 MiB."""


class Wide(nn.Module):
    """Two tensors of WIDE numbers an example live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        wide = x.repeat(1, WIDE // 4)
        wider = wide + 1
        return self.head(wider[:, :4].clone())


class Shy(Wide):
    """Does not bear to be looked at."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise RuntimeError("someone is looking")
        return super().forward(x)


def chosen(model: nn.Module, budget: int | None, *, replay: bool, shape: tuple[int, ...] = (4,)) -> int:
    with Forwards(model, Precision("fp32", CPU), replay=replay) as forwards:
        forwards.prepare(Arguments((torch.randn(8, *shape),)))
        return choose_batch_size(forwards, [Row("a", ("a.weight",))], CPU, budget)


@pytest.mark.parametrize("version", [1, 2])
def test_what_a_container_or_a_job_may_take_counts_as_the_whole_memory(tmp_path, version: int, monkeypatch):
    top = tmp_path / ("memory" if version == 1 else "")
    limit, taken, kept = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    for folder, most, used in ((top, "max" if version == 2 else str(2**63 - 4096), 9000), (top / "job", "7000", 5000)):
        folder.mkdir(exist_ok=True)
        (folder / limit).write_text(most + "\n")
        (folder / taken).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 4000\n{kept} 600\n")
    (top / "job" / "step").mkdir()  # without files: as of a group that another container shows
    own = tmp_path / "own"
    own.write_text("4:memory:/job/step\n1:cpu:/\n" if version == 1 else "0::/job/step\n")
    room = control_group_room(tmp_path, own)
    assert min(room) == 7000 - 5000 + 600
    assert control_group_room(tmp_path, tmp_path / "nothing") == []
    monkeypatch.setattr("lyrx.engine.memory.control_group_room", lambda: room)
    assert free_memory(CPU) == 2600
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert free_memory(CPU) == 1300
    assert budget_of(None, CPU) == 650
    assert budget_of(2**30, CPU) == 2**29
    assert budget_of(2**30, torch.device("cuda")) == 2**30, "each process has a GPU of its own"


def test_the_peak_by_hand():
    def work() -> None:
        one = torch.zeros(1000)  # 4000 bytes
        two = one + 1  # 8000
        del one
        three = two.view(10, 100)[:, :5] * 2  # 4200: a view is no memory of its own
        three += 1
        del two
        torch.cat([three, three])  # 200 + 400

    assert peak_bytes(work, CPU) == 8000
    outer = torch.zeros(1000)
    assert peak_bytes(lambda: outer.add_(1), CPU) == 0
    assert peak_bytes(lambda: outer[:500] + 1, CPU) == 2000


@pytest.mark.parametrize("replay", [True, False])
def test_a_full_evaluator_fits_into_memory_as_well(replay: bool):
    # 2 MiB an example at the peak, and an allocator's gaps.
    budget = 100 * 2**20
    assert chosen(made(Wide), budget, replay=replay) == 16
    assert chosen(made(Wide), None, replay=replay) <= WORKING_SET["cpu"] // (2 * 2**20)


def test_a_network_that_cannot_be_followed():
    assert chosen(made(Keeps), None, replay=True, shape=(6,)) == LARGEST
    # Four tensors of 6 numbers live at its fullest: 96 bytes an example, and an allocator's gaps.
    assert chosen(made(Keeps), 4096, replay=True, shape=(6,)) == 16


def test_a_network_that_cannot_be_looked_at():
    assert chosen(made(Shy), None, replay=True) == 8
