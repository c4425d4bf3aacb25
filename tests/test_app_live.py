"""The terminal app, live: following a store that grows, and measuring through a worker."""

import asyncio
import os
import signal
import sys
import threading
from typing import Any

import fakes
import pytest
from driving import WORKER, app, heatmap, line, screen_of, screen_text, settle, until
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.core.queue import Request
from lyrx.explorer.feed import RunFeed
from lyrx.explorer.screens.measuring import Measuring
from lyrx.explorer.tablefeed import TableFeed
from lyrx.explorer.widgets.queue import QueuePanel
from lyrx.store import Cell, Store
from lyrx.store.commits import Commits
from rich.text import Text
from textual.css.query import NoMatches
from textual.geometry import Region


def kept(work: Measuring) -> list[Request]:
    """Every request that is made from now on, also when it has been answered before anybody looks."""
    asked: list[Request] = []

    class Requests(dict[str, Request]):
        def __setitem__(self, id: str, request: Request) -> None:  # noqa: A002
            asked.append(request)
            super().__setitem__(id, request)

    work.requests = Requests(work.requests)
    return asked


# Following what others commit


async def test_what_another_process_commits_appears(own):
    async with app(own, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert heatmap(pilot).look((3, 9))[0].value is None
        code = (
            "import sys, fakes; from lyrx.store import Cell, Store;"
            "probe = Store.open(sys.argv[1]).run('fcn-again').probe(); fakes.commit_cells(probe, [Cell(3, 9)])"
        )
        done = await _run(code, str(own))
        assert done == 0
        screen_of(pilot).read()
        await settle(pilot)
        assert heatmap(pilot).look((3, 9))[0].value == pytest.approx(0.0152)
        assert any("20/57 cells" in text for text in screen_text(pilot))


async def _run(code: str, *arguments: str) -> int:
    import asyncio

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, env={**os.environ, "PYTHONPATH": str(WORKER.parent)}
    )
    return await process.wait()


async def test_it_looks_by_itself(own):
    short = LyrxApp(own, None, "fcn-again", warm_up=False, poll_seconds=0.05)
    async with short.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fakes.commit_cells(Store.open(own).run("fcn-again").probe(), [Cell(3, 9)])
        await until(pilot, lambda: heatmap(pilot).look((3, 9))[0].value is not None)


async def test_a_run_that_is_removed_is_said_to_be(own):
    async with app(own, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        Store.open(own).delete_run("fcn-3x256")
        screen_of(pilot).read()
        await settle(pilot)
        assert "the run 'fcn-3x256' was removed. What was read before is still shown." in line(pilot, "#note")
        await pilot.press("enter")
        assert not screen_of(pilot).lyrx.measuring.requests
        fakes.training_run(Store.open(own), "fcn-3x256")
        screen_of(pilot).read()
        await settle(pilot)
        assert "epoch 42 of 100" in line(pilot, "#title"), "and one made anew is shown"


async def test_a_newer_probe_is_announced_and_shown_on_demand(own):
    async with app(own, "fcn-3x256").run_test(size=(100, 24)) as pilot:
        await settle(pilot)
        info = fakes.probe_info(["all"], granularity="block", created=fakes.START + 999)
        Store.open(own).run("fcn-3x256").create_probe(info)
        screen_of(pilot).read()
        await settle(pilot)
        assert "a newer probe is there: block-5eed5eed (p shows it)" in line(pilot, "#note")
        await pilot.press("p")
        await settle(pilot)
        await pilot.press("up", "enter")
        await settle(pilot)
        assert screen_of(pilot).key == ("fcn-3x256", "block-5eed5eed")
        assert "newer" not in line(pilot, "#note")


def test_a_feed_says_nothing_while_nothing_changes(own):
    feed, table = RunFeed(own, "fcn-again"), TableFeed(own)
    assert feed.poll() is not None
    assert feed.read is None, "no look goes on"
    assert table.poll() is not None
    assert feed.poll() is None
    assert table.poll() is None
    assert feed.poll(force=True) is not None
    fakes.commit_cells(Store.open(own).run("fcn-again").probe(), [Cell(2, 1)])
    assert feed.poll() is not None
    assert feed.poll() is None
    assert table.poll() is not None


async def test_how_far_a_long_first_look_is_is_said(own, monkeypatch):
    """On a file system that hangs at the 13th cell."""
    hung, read, original = threading.Event(), [], Commits.read_file

    def slowly(self: Commits, name: str) -> Any:
        if self.folder.parent.name == "estimate":
            if len(read) == 12:
                hung.wait(20)
            read.append(name)
        return original(self, name)

    monkeypatch.setattr("lyrx.store.rows._TELL_EVERY", 4)
    monkeypatch.setattr(Commits, "read_file", slowly)
    cells = len(list((Store.open(own).run("fcn-3x256").probe("layer").path / "estimate" / "commits").iterdir()))
    try:
        async with app(own, "fcn-3x256").run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: "%" in line(pilot, "#title"))
            assert line(pilot, "#title") == f"fcn-3x256  reading …  {1200 // cells} % of {cells} cells"
            hung.set()
            await settle(pilot)
            assert line(pilot, "#title").startswith("fcn-3x256  FCN 3 x 256 on MNIST · complete")
            assert "%" not in line(pilot, "#title").split("·")[0]
    finally:
        hung.set()


# Measuring


async def test_enter_measures_all_draws_of_the_cell_and_the_result_appears(own):
    async with app(own, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "left")
        work = screen_of(pilot).lyrx.measuring
        asked = kept(work)
        await pilot.press("enter")
        (request,) = asked
        assert request.key == ("fcn-again", "layer-5eed5eed")
        assert request.cells == [Cell(2, 0, 0), Cell(2, 0, 1), Cell(2, 0, 2)]
        assert not request.again
        await pilot.pause()
        assert "queued" in line(pilot, "#cell") or "running" in line(pilot, "#cell") or not work.requests
        await until(pilot, lambda: not work.requests and not work.marks.landed(request.key))
        assert heatmap(pilot).look((2, 0))[0].value is not None
        assert "mean of 3 draws" in line(pilot, "#cell")


async def test_enter_on_what_is_committed_measures_again(own):
    async with app(own, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        commits = Store.open(own).run("fcn-3x256").probe().path / "estimate" / "commits" / "0.1.0.json"
        before = commits.stat().st_mtime_ns
        work = screen_of(pilot).lyrx.measuring
        asked = kept(work)
        await pilot.press("enter")
        assert [request.again for request in asked] == [True]
        await until(pilot, lambda: not work.requests and not work.marks.landed(("fcn-3x256", "layer-5eed5eed")))
        assert commits.stat().st_mtime_ns > before
        assert heatmap(pilot).look((0, 1))[0].value == pytest.approx(0.778)


def listen(work: Measuring) -> list[dict[str, Any]]:
    """What is sent to the worker from now on."""
    sent: list[dict[str, Any]] = []
    send = work.client.send
    work.client.send = lambda message: sent.append(message) or send(message)
    return sent


async def test_all_missing(own):
    async with app(own, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("a")
        work = screen_of(pilot).lyrx.measuring
        await until(pilot, lambda: not work.requests and not work.marks.landed(("fcn-again", "layer-5eed5eed")))
        picture = screen_of(pilot).picture
        assert picture is not None
        assert picture.missing() == 0
        assert "complete" in line(pilot, "#title")
        assert not picture.exact, "those that were estimates still are"
        assert "complete, 51/57 exact" in line(pilot, "#title")
        sent = listen(work)
        await pilot.press("a")
        (request,) = sent
        assert (request["exact"], request["again"]) == (True, False)
        assert sorted(request["cells"]) == [[i, j, 0] for i in (0, 1) for j in (1, 2, 3)]
        await until(pilot, lambda: not work.requests and not work.marks.landed(("fcn-again", "layer-5eed5eed")))
        picture = screen_of(pilot).picture
        assert picture is not None
        assert picture.exact
        await pilot.press("a")
        assert "every cell is measured, and exact" in line(pilot, "#note")


async def test_enter_measures_then_sharpens_then_measures_again(own):
    async with app(own, "fcn-again", "--looks").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down")
        work = screen_of(pilot).lyrx.measuring
        sent = listen(work)
        for n in ("4,000 of 10,000", "all 10,000: exact", "all 10,000: exact"):
            await pilot.press("enter")
            await until(pilot, lambda: not work.requests and not work.marks.landed(("fcn-again", "layer-5eed5eed")))
            assert n in line(pilot, "#cell")
        asked = [(request["cells"], request.get("exact", False), request["again"]) for request in sent]
        cell = [[2, 1, 0]]
        assert asked == [(cell, False, False), (cell, True, False), (cell, True, True)]


async def test_only_the_cells_that_changed_are_drawn_anew(own, monkeypatch):
    from lyrx.explorer.widgets.painter import Painter

    drawn: list[int] = []
    asked: list[Region] = []
    row = Painter.row
    monkeypatch.setattr(Painter, "row", lambda self, at, *rest: drawn.append(at) or row(self, at, *rest))
    async with app(own, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert set(drawn) == {0, 1, 2, 3, 4}
        widget = heatmap(pilot)
        refresh = widget.refresh
        monkeypatch.setattr(widget, "refresh", lambda *at, **how: asked.extend(at) or refresh(*at, **how))
        grid = widget._grid
        assert grid is not None
        for cell, expected in ((None, set()), (Cell(2, 4), {2}), (Cell(None, 5), set()), (Cell(0, 1), {0})):
            drawn.clear()
            asked.clear()
            if cell is not None:
                fakes.commit_cells(Store.open(own).run("fcn-again").probe(), [cell])
            screen_of(pilot).read()
            await settle(pilot)
            assert set(drawn) == expected, cell
            places = {(region.x, region.width) for region in asked}
            assert places == ({(grid.x(cell.column), grid.cell_width)} if cell and expected else set())
        drawn.clear()
        asked.clear()
        screen_of(pilot).refresh_all()
        screen_of(pilot).refresh_marks()
        await settle(pilot)
        assert drawn == asked == []
        await pilot.press("right")
        await settle(pilot)
        assert set(drawn) == {0}, "a step of the cursor"
        assert max(region.width for region in asked if region.y > 1) <= grid.names


async def test_what_is_known_of_a_cell_is_shown_while_it_sharpens(own):
    async with app(own, "fcn-again", "--hold").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "~78" in screen_text(pilot)[4]
        await pilot.press("enter")
        await until(pilot, lambda: "running" in line(pilot, "#cell"))
        assert "▶40%" in screen_text(pilot)[4]
        assert "~77.80 %" in line(pilot, "#cell")
        probe = Store.open(own).run("fcn-again").probe()
        probe.write(Cell(0, 1), fakes.cell_estimate(probe.info, Cell(0, 1), n=6_000), durable=False)
        screen_of(pilot).read()
        await settle(pilot)
        assert "6,000 of 10,000" in line(pilot, "#cell")


async def test_another_tolerance_is_noticed(own):
    from lyrx.store.settings import change_settings

    async with app(own, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "critical" in line(pilot, "#cell")
        change_settings(Store.open(own).run("fcn-3x256").probe(), {"tolerance": 0.9})
        screen_of(pilot).read()
        await settle(pilot)
        assert "robust" in line(pilot, "#cell")
        assert "baseline + 90" in line(pilot, "#cell")


async def test_running_and_cancelled(own):
    async with app(own, "fcn-again", "--hold").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "enter")
        work = screen_of(pilot).lyrx.measuring
        await until(pilot, lambda: "running" in line(pilot, "#cell"))
        assert "running, 40 % of examples seen" in line(pilot, "#cell")
        assert "▶40%" in "\n".join(screen_text(pilot))
        assert "measuring on cpu: 0 of 1 cells" in line(pilot, "#note")
        await pilot.press("x")
        await until(pilot, lambda: not work.requests)
        assert "cancelled" in line(pilot, "#note")
        assert "▶" not in "\n".join(screen_text(pilot))


async def test_a_worker_that_is_killed_is_reported_and_replaced(own):
    async with app(own, "fcn-again", "--hold").run_test(size=(160, 40)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "enter")
        work = screen_of(pilot).lyrx.measuring
        await until(pilot, lambda: "running" in line(pilot, "#cell"))
        pid = work.client.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(pilot, lambda: "SIGKILL" in line(pilot, "#note"))
        assert "the worker died: killed by SIGKILL" in line(pilot, "#note")
        assert "failed: the worker died" in line(pilot, "#cell")
        assert heatmap(pilot).look((2, 1))[0].state.value == "failed"
        await until(pilot, lambda: work.client.ready)
        assert work.client.pid != pid


async def test_a_refusal_is_shown_as_it_is(own):
    refusal = "run 'x' is being written [bold]by 7"
    async with app(own, "fcn-again", "--refuse", refusal).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: "written" in line(pilot, "#note"))
        assert refusal in line(pilot, "#note")


async def test_what_cannot_be_measured_says_why(own):
    async with app(own, "resnet18").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        assert "not trained yet" in line(pilot, "#note")
        await pilot.press("x")
        assert "nothing is being measured" in line(pilot, "#note")
    async with app(own, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("G", "home", "enter")
        assert "the whole network is re-initialised only" in line(pilot, "#note")


async def test_a_screen_that_is_said_something_as_the_app_ends(own):
    async with app(own, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        screen = screen_of(pilot)
        screen.say("before")
        await screen.query("#note").remove()
        screen.say("too late", alarm=True)
        with pytest.raises(NoMatches):  # what was never there is a mistake
            screen.put("#notte", Text("x"))


async def test_leaving_ends_the_worker(own):
    import psutil

    async with app(own, "fcn-again", "--hold").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "enter")
        work = screen_of(pilot).lyrx.measuring
        await until(pilot, lambda: work.client.ready)
        pid = work.client.pid
        assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_an_answer_of_the_store_that_comes_while_the_app_ends_is_no_error(own, monkeypatch):
    held, looking = threading.Event(), threading.Event()
    leave = QueuePanel._message_loop_exit

    def late(feed: RunFeed, *_: object, **__: object) -> None:
        looking.set()
        held.wait(10)

    async def left(panel: QueuePanel) -> None:
        await leave(panel)
        held.set()  # the panel has gone, the screen has not
        await asyncio.sleep(0.2)

    async with app(own, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        monkeypatch.setattr(RunFeed, "poll", late)
        monkeypatch.setattr(QueuePanel, "_message_loop_exit", left)
        pilot.app.screen.read(force=True)
        await until(pilot, looking.is_set)
    assert held.is_set()


async def test_the_trained_network_comes_first_and_can_be_cancelled(own):
    async with app(own, "fcn-again", "--baseline", "--hold").run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "the trained network first: 1,024 of 10,000 examples" in line(pilot, "#note"))
        await pilot.press("x")
        await until(pilot, lambda: not screen_of(pilot).lyrx.measuring.requests)
        assert "the trained network first" not in line(pilot, "#note")
