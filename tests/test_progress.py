"""What `lyrx batch` and `lyrx probe` show while they work."""

import io
from dataclasses import dataclass
from typing import Any

import pytest
from lyrx.engine.events import (
    BaselineProgress,
    EpochCommitted,
    LayerFellBack,
    LookProgress,
    Noted,
    PictureSharpened,
    ProbeOpened,
    RunOpened,
)
from lyrx.explorer import progress
from lyrx.explorer.progress import Bars, Lines
from lyrx.store import EpochMetrics
from rich.console import Console

OPENED = ProbeOpened("r", "layer-1", 252, 260)


def look(round_: int, seen: int, finished: int, seconds: float = 1.24) -> PictureSharpened:
    return PictureSharpened(
        run="r", probe="layer-1", round=round_, seen=seen, of=10_000, cells=252, finished=finished, todo=252,
        decided=200, seconds=seconds,
    )  # fmt: skip


@dataclass
class Clock:
    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


def lines(events: list[tuple[float, Any]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is printed about these events, each after so many seconds; without the date and the run's name."""
    clock, out = Clock(), io.StringIO()
    monkeypatch.setattr(progress, "time", clock)
    view = Lines(out)
    for seconds, event in events:
        clock.now += seconds
        view(event)
    return [line.split(": ", 1)[1] for line in out.getvalue().splitlines()]


def test_the_first_picture_at_once_then_a_line_every_five_seconds_and_the_end(monkeypatch):
    events = [
        (0, OPENED), (1, look(1, 64, 0)), (1, look(2, 96, 3)), (3, look(3, 144, 7)), (1, look(4, 216, 20, 6.0)),
        (1, look(5, 324, 90)), (0.1, look(6, 486, 252, 7.1)),
    ]  # fmt: skip
    assert lines(events, monkeypatch) == [
        "probe layer-1: 252 of 260 cells to measure",
        "first whole picture after 1.2 s: 252 cells, 64 examples",
        "20 of 252 cells finished, 200 decided; the others have seen 216 of 10,000 examples, 6.0 s",
        "all 252 cells finished, 200 decided, 7.1 s",
    ]


def test_a_first_look_that_is_the_last_says_so(monkeypatch):
    assert lines([(0, look(1, 64, 252))], monkeypatch) == [
        "first whole picture after 1.2 s: 252 cells, 64 examples; all finished, 200 decided"
    ]


def test_what_takes_long_is_told_every_five_seconds(monkeypatch):
    events = [(0, OPENED), (2, BaselineProgress("r", "p", 1024, 10_000)), (4, BaselineProgress("r", "p", 4096, 10_000))]
    events += [(1, BaselineProgress("r", "p", 5120, 10_000)), (1, look(1, 64, 0))]
    events += [(3, LookProgress("r", "p", 70, 10_000, 252, 9.0, 0.21))]
    events += [(3, LookProgress("r", "p", 2048, 10_000, 252, 12.0, 0.34)), (1, look(2, 4000, 252, 13.0))]
    assert lines(events, monkeypatch) == [
        "probe layer-1: 252 of 260 cells to measure",
        "the trained network first: 4,096 of 10,000 examples",
        "first whole picture after 1.2 s: 252 cells, 64 examples",
        "34 % done; 2,048 of 10,000 examples seen in this look, 12.0 s",
        "all 252 cells finished, 200 decided, 13.0 s",
    ]


def test_a_few_fallbacks_are_told_with_their_reasons(monkeypatch):
    events = [(0, LayerFellBack("r", "fc1", "zero", "it \x1b[31mis read twice"))]
    events += [(0, LayerFellBack("r", f"fc{i}", "", "why")) for i in range(20)]
    said = lines([(0, OPENED), *events], monkeypatch)[1:]
    assert said[0] == r"fc1 (zero) is measured by full forwards: it \x1b[31mis read twice"
    assert said[1] == "fc0 is measured by full forwards: why"
    assert len(said) == 7
    assert said[-1] == "more layers are measured by full forwards"


def test_the_bar_advances_with_the_cells_that_are_finished():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    with Bars(console) as bars:
        bars(RunOpened("[red]r", True, 0, 3, "cpu", 1, ()))
        bars(OPENED)
        bars(BaselineProgress("r", "p", 1024, 10_000))
        assert bars._progress.tasks[0].fields["note"] == "the trained network first: 1,024 of 10,000 examples"
        assert bars._progress.tasks[0].completed == 0
        bars(look(1, 64, 0))
        bars(LookProgress("r", "p", 80, 10_000, 252, 1.5, 0.125))
        assert bars._progress.tasks[0].completed == 31.5
        assert bars._progress.tasks[0].fields["note"] == "80 of 10,000 examples"
        bars(look(2, 96, 63))
        (task,) = bars._progress.tasks
        assert (task.completed, task.total) == (63, 252)
        assert task.fields["done"] == "cell 63/252"
        assert task.fields["note"] == "96 of 10,000 examples"
        bars(LayerFellBack("r", "[bold]x", "", "why"))
        bars(Noted("r", "[bold]images\x1b are decoded in every look"))
    shown = out.getvalue()
    assert "r: first whole picture after 1.2 s: 252 cells, 64 examples" in shown
    assert "[bold]x is measured by full forwards: why" in shown
    assert r"r: [bold]images\x1b are decoded in every look" in shown


def test_what_does_not_fit_into_memory_is_told(monkeypatch):
    note = "the 9 test images take 9.0 GiB, more than data.memory: they are decoded in every look, once for all cells"
    assert lines([(0, Noted("r", note))], monkeypatch) == [note]


def epoch(task: str, loss: float) -> EpochCommitted:
    return EpochCommitted("r", 3, EpochMetrics(2, 1.5, 0.01, 0.25, loss, 2.0), checkpoint=False, task=task)


def test_an_epoch_of_a_language_model_says_what_its_error_is_of_and_the_perplexity(monkeypatch):
    events = [(0, epoch("classification", 0.7)), (0, epoch("language", 2.0)), (0, epoch("language", 1e6))]
    said = lines(events, monkeypatch)
    assert said[0] == "epoch 2/3: train loss 1.5000, lr 0.01, test error 25.00 %, 2.00 s"
    assert "next-token test error 25.00 %, loss 2.000 nats, perplexity 7.4" in said[1]  # exp(2) = 7.389
    assert "perplexity out of all bounds" in said[2]
