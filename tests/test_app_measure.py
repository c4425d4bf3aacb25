"""Asking for measurements in the app: every key, the queue, joint resets, other probes.

With a worker that speaks the protocol and measures nothing.
"""

from pathlib import Path
from typing import Any

import fakes
import pytest
from driving import app, heatmap, line, screen_of, screen_text, settle, until
from lyrx.explorer.screens.probes import ProbeChooser
from lyrx.explorer.widgets.queue import QueuePanel
from lyrx.store import Cell, Store
from textual.pilot import Pilot
from textual.widgets import OptionList

RUN = "fcn-again"


def measuring(pilot: Pilot) -> Any:
    return screen_of(pilot).lyrx.measuring


def listen(pilot: Pilot) -> list[dict[str, Any]]:
    """What is sent to the worker from now on."""
    client, sent = measuring(pilot).client, []
    send = client.send
    client.send = lambda message: sent.append(message) or send(message)
    return sent


async def done(pilot: Pilot) -> None:
    """All that was asked for is measured, and on the screen."""
    work = measuring(pilot)
    screen = screen_of(pilot)
    await until(pilot, lambda: not work.requests and not work.plans and not screen.landed())
    await settle(pilot)


def queue(pilot: Pilot) -> QueuePanel:
    return pilot.app.screen.query_one(QueuePanel)


async def go(pilot: Pilot, row: int, column: int) -> None:
    await settle(pilot)
    heatmap(pilot).move_to(row, column)
    await pilot.pause()


async def test_the_row_the_column_and_the_exact_number(own):
    async with app(own, RUN, "--looks").run_test(size=(100, 30)) as pilot:
        await go(pilot, 2, 1)
        sent = listen(pilot)
        await pilot.press("r")
        await done(pilot)
        assert sent[0]["cells"] == [[2, 0, 0], [2, 0, 1], [2, 0, 2], *([2, column, 0] for column in range(1, 10))]
        assert "exact" not in sent[0]
        await pilot.press("r")
        await done(pilot)
        assert (sent[1]["cells"], sent[1]["exact"]) == (sent[0]["cells"], True), "on to exact ones"
        await pilot.press("r")
        assert "all of this row is measured, and exact" in line(pilot, "#note")
        await go(pilot, 0, 4)
        await pilot.press("c")
        await done(pilot)
        assert sent[2]["cells"] == [[0, 4, 0], [1, 4, 0], [3, 4, 0]]
        await go(pilot, 3, 5)
        await pilot.press("e")
        await done(pilot)
        assert (sent[3]["cells"], sent[3]["exact"]) == ([[3, 5, 0]], True), "missing or not, at once to the end"
        assert "all 10,000: exact" in line(pilot, "#cell")
        await pilot.press("e")
        assert "this cell is exact" in line(pilot, "#note")
        assert len(sent) == 4


async def test_one_is_cancelled_by_key_or_all(own):
    async with app(own, RUN, "--hold").run_test(size=(100, 30)) as pilot:
        work = measuring(pilot)
        for row in (2, 3):
            await go(pilot, row, 5)
            await pilot.press("enter")
        await until(pilot, lambda: work.client.ready and len(work.requests) == 2)
        first, second = work.requests
        await go(pilot, 2, 5)
        await pilot.press("x")
        await until(pilot, lambda: first not in work.requests)
        assert second in work.requests, "only the one under the cursor"
        await go(pilot, 0, 0)
        await pilot.press("x")
        await until(pilot, lambda: not work.requests)
        await pilot.press("x")
        assert "nothing is being measured" in line(pilot, "#note")
        for row in (2, 3):
            await go(pilot, row, 5)
            await pilot.press("enter")
        await pilot.press("X")
        await until(pilot, lambda: not work.requests)


async def test_a_death_is_blamed_on_the_request_at_work(own, tmp_path):
    """The worker takes up a newer request before it goes on with an older one."""
    options = ("--hold", "--die", "3,5,0", "--once", str(tmp_path / "died"))
    async with app(own, RUN, *options).run_test(size=(100, 30)) as pilot:
        work = measuring(pilot)
        await go(pilot, 2, 5)
        await pilot.press("enter")
        await until(pilot, lambda: any(request.at_work for request in work.requests.values()))
        await go(pilot, 3, 5)
        await pilot.press("enter")
        await until(pilot, lambda: "SIGKILL" in work.note)
        await settle(pilot)
        assert "failed: the worker died" in line(pilot, "#cell")
        await go(pilot, 2, 5)
        assert "failed" not in line(pilot, "#cell")
        assert [request.cells for request in work.requests.values()] == [[Cell(2, 5)]], "it is asked for again"


async def test_what_a_key_brings_about_is_said_first(own):
    """Narrow terminals show the beginning of the line only."""
    async with app(own, RUN, "--hold").run_test(size=(50, 24)) as pilot:
        work = measuring(pilot)
        await go(pilot, 2, 5)
        await pilot.press("enter")
        await until(pilot, lambda: any(request.at_work for request in work.requests.values()))
        await pilot.press("x")
        await until(pilot, lambda: not work.requests)
        assert line(pilot, "#note").startswith("cancelled")
        await pilot.press("y")
        assert line(pilot, "#note").startswith("copied the cell")


async def test_bad_news_that_was_looked_at_is_not_said_any_more(own):
    async with app(own, RUN, "--refuse", "no such device").run_test(size=(100, 30)) as pilot:
        await go(pilot, 2, 5)
        await pilot.press("enter")
        await until(pilot, lambda: measuring(pilot).alarm)
        await settle(pilot)
        assert "no such device" in line(pilot, "#note")
        screen = screen_of(pilot)
        await pilot.press("exclamation_mark")
        await settle(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert pilot.app.screen is screen
        assert line(pilot, "#note") == ""
        assert "failed: no such device" in line(pilot, "#cell"), "the cell says it still"


async def test_marked_layers_are_reset_jointly_and_shown_as_a_row(own):
    async with app(own, RUN).run_test(size=(100, 30)) as pilot:
        await go(pilot, 0, 5)
        await pilot.press("J")
        assert "two or more" in line(pilot, "#note")
        await pilot.press("space")
        assert "marked: fc1" in line(pilot, "#note")
        await go(pilot, 2, 5)
        await pilot.press("space")
        assert "marked: fc1, fc3; J resets them jointly" in line(pilot, "#note")
        sent = listen(pilot)
        await pilot.press("J")
        await done(pilot)
        assert sent[0]["type"] == "plan"
        assert sent[0]["joint"] == [["fc1", "fc3"]]
        assert sent[1]["cells"] == [[0, 5, 0]]
        picture = screen_of(pilot).picture
        assert picture is not None
        assert picture.layer_names == ["fc1", "fc2", "fc3", "output", "fc1+fc3"]
        assert picture.home(4) == (sent[1]["probe"], 0)
        text = screen_text(pilot)
        assert any("fc1+fc3" in row for row in text)
        cell = picture.cell(4, 5)
        assert cell is not None
        assert picture.verdict(4, 5) == "critical", "by the base's baseline"
        # The base is as it was, and still the newest probe.
        run = Store.open(own).run(RUN)
        assert run.probe().info.id == "layer-5eed5eed"
        assert "newer" not in line(pilot, "#note")
        # The row can be measured like any other, and asked for once more it is not planned anew.
        await go(pilot, 4, 0)
        await pilot.press("enter")
        await done(pilot)
        assert sent[2]["cells"] == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]
        assert sent[2]["probe"] == sent[1]["probe"]
        await go(pilot, 0, 6)
        await pilot.press("J")
        await done(pilot)
        assert (sent[3]["type"], sent[3]["cells"]) == ("probe", [[0, 6, 0]])
        await go(pilot, 4, 5)
        await pilot.press("space")
        assert "several layers already" in line(pilot, "#note")


async def test_a_joint_row_fails_and_recovers_like_any_other(own, tmp_path):
    options = ("--die", "0,5,0", "--once", str(tmp_path / "died"))
    async with app(own, RUN, *options).run_test(size=(100, 30)) as pilot:
        await go(pilot, 0, 5)
        await pilot.press("space")
        await go(pilot, 1, 5)
        await pilot.press("space", "J")
        work = measuring(pilot)
        await until(pilot, lambda: "SIGKILL" in work.note)
        await settle(pilot)
        await go(pilot, 4, 5)
        assert "failed: the worker died" in line(pilot, "#cell")
        await pilot.press("enter")
        await done(pilot)
        picture = screen_of(pilot).picture
        assert picture is not None
        assert picture.cell(4, 5) is not None


async def test_a_worker_that_is_too_old_says_so(own):
    async with app(own, RUN, "--old").run_test(size=(160, 30)) as pilot:
        await go(pilot, 0, 5)
        await pilot.press("space", "down", "space", "J")
        await until(pilot, lambda: not measuring(pilot).plans)
        assert "the worker is lyrx 0, too old to prepare joint resets" in line(pilot, "#note")
        await pilot.press("J")
        await settle(pilot)
        assert "too old" in line(pilot, "#note")
        await go(pilot, 2, 5)
        await pilot.press("enter")
        await done(pilot)
        assert measuring(pilot).note == "", "cells it measures as ever"


async def test_a_probe_is_chosen_or_another_granularity_made(own):
    async with app(own, RUN).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("p")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ProbeChooser)
        text = "\n".join(screen_text(pilot))
        assert "layer" in text
        assert "19/57 cells" in text
        assert text.count("not planned yet; Enter makes it") == 2
        await pilot.press("escape")
        await pilot.press("p")
        await settle(pilot)
        await pilot.press("j", "j", "enter")
        await until(pilot, lambda: screen_of(pilot).key == (RUN, "block-9e9e9e9e"))
        await settle(pilot)
        assert any("block 0" in row for row in screen_text(pilot))
        await pilot.press("p")
        await settle(pilot)
        await pilot.click(OptionList, offset=(8, 1))
        await settle(pilot)
        assert screen_of(pilot).key == (RUN, "layer-5eed5eed")


async def two_asked_for(pilot: Pilot) -> tuple[Any, str, str]:
    """Two cells are being measured by a worker that holds, and the queue is open; the ids of their requests."""
    work = measuring(pilot)
    for row in (2, 3):
        await go(pilot, row, 5)
        await pilot.press("enter")
    await until(pilot, lambda: work.client.ready and any(r.at_work for r in work.requests.values()))
    first, second = work.requests
    await pilot.press("Q")
    await settle(pilot)
    return work, first, second


@pytest.mark.parametrize("size", [(50, 24), (80, 24), (120, 36)])
async def test_the_queue_is_opened_walked_and_cancelled_from(own, size):
    async with app(own, RUN, "--hold").run_test(size=size) as pilot:
        work, first, second = await two_asked_for(pilot)
        assert queue(pilot).display
        assert queue(pilot).has_focus
        text = "\n".join(screen_text(pilot))
        assert "fc3" in text
        assert "output" in text
        assert "4,000 of 10,000" in text
        await pilot.press("down")
        assert queue(pilot).selected == second
        await pilot.press("x")
        await until(pilot, lambda: second not in work.requests)
        assert first in work.requests
        await pilot.press("escape")
        await settle(pilot)
        assert not queue(pilot).display
        assert heatmap(pilot).has_focus


async def test_a_click_on_cancel_cancels(own):
    async with app(own, RUN, "--hold").run_test(size=(100, 30)) as pilot:
        work, first, second = await two_asked_for(pilot)
        panel = queue(pilot)
        hits = panel._hits
        place = next(place for place, hit in enumerate(hits) if hit and hit.id == second)
        hit = hits[place]
        assert hit
        await pilot.click(QueuePanel, offset=(3, place))
        assert panel.selected == second
        assert second in work.requests
        await pilot.click(QueuePanel, offset=(1 + hit.start + 1, place))
        await until(pilot, lambda: second not in work.requests)
        assert first in work.requests


async def test_the_queue_shows_itself_where_there_is_room_and_it_takes_long(own):
    async with app(own, RUN, "--hold").run_test(size=(140, 36)) as pilot:
        now = 0.0
        measuring(pilot).clock = lambda: now
        await go(pilot, 2, 5)
        await pilot.press("enter")
        await settle(pilot)
        assert not queue(pilot).display, "what takes a moment only moves nothing"
        now = 1.5
        screen_of(pilot).show_queue()
        assert queue(pilot).display
        assert heatmap(pilot).has_focus
        await pilot.press("X")
        await until(pilot, lambda: not queue(pilot).display)


async def test_every_incident_is_reported_with_what_to_do(own, tmp_path):
    told: list[tuple[str, str, str]] = []
    options = ("--die", "2,5,0", "--once", str(tmp_path / "died"))
    async with app(own, RUN, *options).run_test(size=(100, 30)) as pilot:
        measuring(pilot)._report = lambda trouble: told.append((trouble.title, trouble.what, trouble.todo))
        await go(pilot, 2, 5)
        await pilot.press("enter")
        await until(pilot, lambda: told)
        title, what, todo = told[0]
        assert title == "out of memory", "by its last words"
        assert f"while it measured fc3 at checkpoint 8, run '{RUN}'" in what
        assert "probe.memory" in todo
        await pilot.press("enter")
        await done(pilot)
        assert Store.open(own).run(RUN).probe().read(Cell(2, 5)) is not None
        assert len(told) == 1


async def test_a_store_that_is_gone_is_told_of_and_another_try_works(own, tmp_path):
    told: list[str] = []
    async with app(own, RUN).run_test(size=(100, 30)) as pilot:
        measuring(pilot)._report = lambda trouble: told.append(trouble.title)
        await go(pilot, 2, 5)
        away = tmp_path / "away"
        Path(own).rename(away)
        await pilot.press("enter")
        await until(pilot, lambda: told)
        assert told[0] in ("the store is not there", "the worker cannot be started", "the worker died")
        await settle(pilot)
        away.rename(own)
        await pilot.press("R")
        await settle(pilot)
        await pilot.press("enter")
        await done(pilot)
        assert Store.open(own).run(RUN).probe().read(Cell(2, 5)) is not None


def test_joint_rows_come_with_the_picture_of_the_base(own):
    from lyrx.explorer.feed import RunFeed

    feed = RunFeed(own, RUN)
    first = feed.poll()
    assert first is not None
    run = Store.open(own).run(RUN)
    base = run.probe().info
    from dataclasses import replace

    from lyrx.store import Layer

    row = Layer("fc1+fc2", (), 10, ("fc1", "fc2"))
    info = replace(base, layers=(row,), fingerprint="c0" * 32, companion=base.id, created=fakes.START + 999)
    probe = run.create_probe(info)
    assert [cell.layer for cell in info.network_cells()] == [None], "the baseline only"
    found = feed.poll()
    assert found is not None
    assert found.probes == (base.id,)
    assert found.picture.layer_names[-1] == "fc1+fc2"
    assert found.picture.progress == first.picture.progress, "what is measured beside it is not counted"
    assert feed.poll() is None
    probe.write(Cell(0, 1), fakes.estimate(0.5))
    found = feed.poll()
    assert found is not None
    assert found.picture.value("error", 4, 1) == 0.5
    assert found.picture.row_at(info.id, 0) == 4
    assert found.picture.row_at(info.id, None) is None
    assert run.status() == Store.open(own).run(RUN).status()
