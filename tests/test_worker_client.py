"""The app's worker: started, spoken to, mourned, replaced and ended. With real processes."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import fakes
import psutil
import pytest
from lyrx.explorer.core.marks import State
from lyrx.explorer.screens.measuring import Measuring
from lyrx.explorer.worker_client import DEFAULT_COMMAND, Death, WorkerClient
from lyrx.store import Cell, Store

WORKER = Path(__file__).with_name("fake_worker.py")


def command(*options: str) -> list[str]:
    return [sys.executable, str(WORKER), *options]


class Listener:
    """What a client says, and a way to wait for it."""

    def __init__(self):
        self.events: list = []
        self.deaths: list[Death] = []
        self._news = asyncio.Event()

    def event(self, event) -> None:
        self.events.append(event)
        self._news.set()

    def death(self, death: Death) -> None:
        self.deaths.append(death)
        self._news.set()

    def news(self, *_: object) -> None:
        self._news.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def types(self) -> list[str]:
        return [event.type for event in self.events]


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store.open_or_create(tmp_path / "s.zarr")
    fakes.partial_run(store, "fcn")
    return store


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "worker.log"


def test_the_default_worker_is_this_pythons():
    assert list(DEFAULT_COMMAND) == [sys.executable, "-m", "lyrx.engine.worker"]


async def test_nothing_starts_before_something_is_asked(log):
    said = Listener()
    client = WorkerClient(command(), lambda: log, said.event, said.death)
    assert not client.started
    await client.close()
    assert said.events == said.deaths == []


async def test_a_request_starts_the_worker_in_a_session_of_its_own(store, log):
    said = Listener()
    client = WorkerClient(command("--greet"), lambda: log, said.event, said.death)
    client.send({"type": "ping", "id": "1"})
    client.send({"type": "probe", "id": "2", "store": str(store.path), "run": "fcn", "cells": [[2, 1, 0]]})
    await said.until(lambda: "finished" in said.types())
    assert said.types() == ["ready", "pong", "accepted", "device", "progress", "pace", "committed", "finished"]
    assert client.pid is not None
    assert os.getsid(client.pid) == client.pid != os.getsid(0)
    assert store.run("fcn").probe().read(Cell(2, 1)) is not None
    await client.close()


async def test_closing_ends_the_worker_and_is_no_death(log):
    said = Listener()
    client = WorkerClient(command(), lambda: log, said.event, said.death)
    client.start()
    await said.until(lambda: said.events)
    pid = client.pid
    assert pid is not None
    await client.close()
    assert not psutil.pid_exists(pid)
    assert said.deaths == []
    assert not log.exists(), "an empty log is not kept"


async def test_closing_while_it_is_being_started_leaves_no_orphan(log):
    said = Listener()
    client = WorkerClient(command(), lambda: log, said.event, said.death)
    client.start()
    await client.close()
    assert not [p for p in psutil.Process().children(recursive=True) if "fake_worker.py" in " ".join(p.cmdline())]


async def test_a_worker_that_does_not_end_is_ended(log, monkeypatch):
    monkeypatch.setattr("lyrx.explorer.worker_client._QUIT_PATIENCE", 0.1)
    monkeypatch.setattr("lyrx.explorer.worker_client._TERMINATE_PATIENCE", 0.1)
    stubborn = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        'print(\'{"type":"ready","pid":1,"lyrx":"0"}\', flush=True); time.sleep(600)'
    )
    said = Listener()
    client = WorkerClient([sys.executable, "-c", stubborn], lambda: log, said.event, said.death)
    client.start()
    await said.until(lambda: said.events)
    pid = client.pid
    assert pid is not None
    await client.close()
    assert not psutil.pid_exists(pid)


async def test_why_it_died_is_known(log):
    said = Listener()
    client = WorkerClient(command("--start-dead"), lambda: log, said.event, said.death)
    client.start()
    await said.until(lambda: said.deaths)
    death = said.deaths[0]
    assert death == Death("exit code 1", "no such device \\x1b[31m[bold]here", False)
    assert str(death) == "exit code 1: no such device \\x1b[31m[bold]here"
    assert not client.started
    await client.close()


async def test_a_command_that_is_not_there(log):
    said = Listener()
    client = WorkerClient(["/no/such/worker"], lambda: log, said.event, said.death)
    client.start()
    await said.until(lambda: said.deaths)
    assert "cannot be started: No such file" in str(said.deaths[0])
    await client.close()


async def test_something_else_than_a_worker(log):
    said = Listener()
    client = WorkerClient([sys.executable, "-c", "print('hello')"], lambda: log, said.event, said.death)
    client.start()
    await said.until(lambda: said.deaths)
    assert said.deaths[0] == Death("exit code 0", "hello", False)
    await client.close()


# What the app makes of it

KEY = ("fcn", "layer-5eed5eed")


def measuring(store: Store, log: Path, said: Listener, *options: str) -> Measuring:
    return Measuring(store.path, command(*options), lambda: log, said.news, said.news)


async def test_marks_go_from_queued_to_committed(store, log):
    said = Listener()
    work = measuring(store, log, said)
    cells = [Cell(3, 0, draw) for draw in range(3)]
    work.ask(KEY, cells)
    place = work.marks.at(KEY, 3, 0)
    assert place is not None
    assert place.state is State.QUEUED
    assert work.progress() == (0, 3)
    await said.until(lambda: not work.requests)
    assert work.marks.landed(KEY) == cells
    work.marks.shown(KEY, work.marks.landed(KEY))
    assert work.marks.at(KEY, 3, 0) is None
    assert work.note == ""
    assert work.device.name == "cpu"
    await work.close()


async def test_what_is_being_measured_is_not_asked_for_twice(store, log):
    said = Listener()
    work = measuring(store, log, said, "--hold")
    work.ask(KEY, [Cell(3, 1)])
    work.ask(KEY, [Cell(3, 1), Cell(3, 2)])
    assert [request.cells for request in work.requests.values()] == [[Cell(3, 1)], [Cell(3, 2)]]
    await work.close()


async def test_cancel(store, log):
    said = Listener()
    work = measuring(store, log, said, "--hold")
    assert not work.cancel()
    work.ask(KEY, [Cell(3, 1), Cell(3, 2)])
    await said.until(lambda: (place := work.marks.at(KEY, 3, 1)) is not None and place.state is State.RUNNING)
    assert work.cancel()
    await said.until(lambda: not work.requests)
    assert work.marks.at(KEY, 3, 1) is work.marks.at(KEY, 3, 2) is None
    assert work.note == "cancelled; 0 of 2 cells had been measured"
    assert not work.alarm
    await work.close()


async def test_a_refusal_is_shown(store, log):
    said = Listener()
    work = measuring(store, log, said, "--refuse", "run 'fcn' is being written by process 1. \x1b[31mWait.")
    work.ask(KEY, [Cell(3, 1), Cell(3, 2)])
    await said.until(lambda: not work.requests)
    assert work.note == "run 'fcn' is being written by process 1. \\x1b[31mWait."
    assert work.alarm
    assert work.marks.at(KEY, 3, 1) is None
    await work.close()


async def test_a_death_fails_one_cell_and_the_rest_is_measured_by_another_worker(store, log, tmp_path):
    said = Listener()
    work = measuring(store, log, said, "--die", "2,2,0", "--once", str(tmp_path / "died"))
    work.ask(KEY, [Cell(2, 1), Cell(2, 2), Cell(2, 3)])
    work.ask(KEY, [Cell(3, 1)])
    await said.until(lambda: not work.requests)
    place = work.marks.at(KEY, 2, 2)
    assert place is not None
    assert place.state is State.FAILED
    assert "killed by SIGKILL: RuntimeError: CUDA error: \\x1b[31mout of memory" in work.marks.message(KEY, 2, 2)
    probe = store.run("fcn").probe()
    assert [probe.read(cell) is not None for cell in (Cell(2, 1), Cell(2, 2), Cell(2, 3), Cell(3, 1))] == [
        True, False, True, True,
    ]  # fmt: skip
    # Asked for once more, it is measured.
    work.ask(KEY, [Cell(2, 2)])
    await said.until(lambda: not work.requests)
    assert probe.read(Cell(2, 2)) is not None
    await work.close()


async def test_there_is_no_endless_loop_of_crashes(store, log):
    said = Listener()
    # A worker that dies on every cell: whichever comes first.
    source = WORKER.read_text().replace("if list(wire) == asked.die and", "if True or")
    doomed = log.with_name("doomed.py")
    doomed.write_text(source)
    work = Measuring(store.path, [sys.executable, str(doomed)], lambda: log, said.news, said.news)
    os.environ["PYTHONPATH"] = str(WORKER.parent)
    try:
        work.ask(KEY, [Cell(2, column) for column in range(1, 9)])
        await said.until(lambda: not work.requests and "given up" in work.note)
    finally:
        del os.environ["PYTHONPATH"]
    failed = [column for column in range(1, 9) if work.marks.at(KEY, 2, column) is not None]
    assert failed == [1, 2], "one cell for each of the two workers that were tried"
    assert "6 cells were given up" in work.note
    await work.close()


async def test_a_worker_that_cannot_start_is_tried_once(store, log):
    said = Listener()
    work = measuring(store, log, said, "--start-dead")
    work.ask(KEY, [Cell(2, 1), Cell(2, 2)])
    await said.until(lambda: not work.requests)
    assert "the worker died: exit code 1: no such device" in work.note
    assert not work.client.started
    assert work.marks.at(KEY, 2, 1) is None
    await work.close()


async def test_an_idle_worker_that_is_killed_is_replaced_but_not_for_ever(store, log):
    said = Listener()
    work = measuring(store, log, said)
    work.warm_up(KEY)
    killed: set[int] = set()
    for _ in range(3):
        await said.until(lambda: work.client.ready and work.client.pid not in killed)
        pid = work.client.pid
        assert pid is not None
        killed.add(pid)
        os.kill(pid, 9)
        await said.until(lambda: "SIGKILL" in work.note and work.client.pid not in killed)
    assert not work.client.started, "three deaths in a row, and nothing measured"
    await work.close()
