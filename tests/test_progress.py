"""What `lyrx batch` and `lyrx probe` show while they work."""

import io
from dataclasses import dataclass
from typing import Any

import pytest
from lyrx.engine.events import DataStreamed, LayerFellBack, PictureSharpened, ProbeOpened, RunOpened
from lyrx.explorer import progress
from lyrx.explorer.progress import Bars, Lines
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
        for event in (look(1, 64, 0), look(2, 96, 63)):
            bars(event)
        (task,) = bars._progress.tasks
        assert (task.completed, task.total) == (63, 252)
        assert task.fields["done"] == "cell 63/252"
        assert task.fields["note"] == "96 of 10,000 examples"
        bars(LayerFellBack("r", "[bold]x", "", "why"))
        bars(DataStreamed("r", "[bold]images\x1b are decoded in every look"))
    shown = out.getvalue()
    assert "r: first whole picture after 1.2 s: 252 cells, 64 examples" in shown
    assert "[bold]x is measured by full forwards: why" in shown
    assert r"r: [bold]images\x1b are decoded in every look" in shown


def test_what_does_not_fit_into_memory_is_told(monkeypatch):
    note = "the 9 test images take 9.0 GiB, more than data.memory: they are decoded in every look, once for all cells"
    assert lines([(0, DataStreamed("r", note))], monkeypatch) == [note]
