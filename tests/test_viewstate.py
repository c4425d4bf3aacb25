"""How the app was left is kept, and nothing of it can do harm."""

import json
import os
import threading

import pytest
from lyrx.explorer import viewstate
from lyrx.explorer.core.view import HeatView, TableView
from lyrx.explorer.remembering import Remembering
from lyrx.explorer.viewstate import ViewState

VIEW = HeatView(metric="loss", digits=False, folded=frozenset({"layer1"}), layer="fc2", column="3", order="criticality")


def test_a_view_comes_back_and_belongs_to_one_run_of_one_store(tmp_path):
    state = ViewState(tmp_path / "a.zarr", tmp_path / "state")
    assert state.view("one") is None
    state.keep_view("one", VIEW)
    assert ViewState(tmp_path / "a.zarr", tmp_path / "state").view("one") == VIEW
    assert state.view("two") is None
    assert ViewState(tmp_path / "b.zarr", tmp_path / "state").view("one") is None
    assert ViewState(tmp_path / "a.zarr", tmp_path / "state", fresh=True).view("one") is None


def test_the_store_is_the_same_by_whatever_path(tmp_path, monkeypatch):
    ViewState(tmp_path / "a.zarr", tmp_path / "state").keep_place({"run": "one"})
    monkeypatch.chdir(tmp_path)
    assert ViewState(viewstate.Path("a.zarr"), tmp_path / "state").place() == {"run": "one"}


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'{"version": 99}', b"\xff\xfe", b'{"version": 1, "kept": 3}', b"[" * 30_000, b"0" * 70_000],
)
def test_an_unreadable_file_is_a_fresh_start(tmp_path, raw: bytes):
    state = ViewState(tmp_path / "a.zarr", tmp_path / "state")
    state.keep_view("one", VIEW)
    [path] = (tmp_path / "state").iterdir()
    path.write_bytes(raw)
    assert state.view("one") is None
    state.keep_view("one", VIEW)
    assert state.view("one") == VIEW


def test_another_version_is_not_read(tmp_path):
    state = ViewState(tmp_path / "a.zarr", tmp_path / "state")
    state.keep_view("one", VIEW)
    [path] = (tmp_path / "state").iterdir()
    kept = json.loads(path.read_text())
    assert path.stat().st_mode & 0o077 == 0, "of nobody else's business"
    path.write_text(json.dumps({**kept, "version": kept["version"] + 1}))
    assert state.view("one") is None


def test_several_apps_keep_what_the_others_keep(tmp_path):
    folder = tmp_path / "state"

    def look(app: int) -> None:
        state = ViewState(tmp_path / "a.zarr", folder)
        for number in range(20):
            state.keep_view(f"run-{app}-{number}", HeatView(layer=str(number)))
            state.keep_view("same", HeatView(layer=f"{app}-{number}"))

    apps = [threading.Thread(target=look, args=(app,)) for app in range(4)]
    for app in apps:
        app.start()
    for app in apps:
        app.join()
    state = ViewState(tmp_path / "a.zarr", folder)
    assert all(state.view(f"run-{app}-{n}") == HeatView(layer=str(n)) for app in range(4) for n in range(20))
    assert state.view("same") in [HeatView(layer=f"{app}-19") for app in range(4)]
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_the_folder_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(viewstate, "KEPT", 5)
    state = ViewState(tmp_path / "a.zarr", tmp_path / "state")
    for number in range(9):
        state.keep_view(str(number), VIEW)
        for path in (tmp_path / "state").iterdir():  # each older than the next, whatever the clock's grain
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9))
    assert len(list((tmp_path / "state").iterdir())) == 5
    assert [number for number in range(9) if state.view(str(number))] == [4, 5, 6, 7, 8]
    state.keep_view("8", HeatView(marked=frozenset(map(str, range(10**5)))))
    assert state.view("8") == VIEW, "what is too large is not kept"


def test_a_folder_that_cannot_be_written_keeps_nobody_from_working(tmp_path):
    (tmp_path / "state").write_text("no folder")
    state = ViewState(tmp_path / "a.zarr", tmp_path / "state")
    state.keep_view("one", VIEW)
    assert state.view("one") is None


def test_only_what_changed_is_written(tmp_path):
    folder = tmp_path / "state"
    memory = Remembering(tmp_path / "a.zarr", folder)
    assert (memory.run, memory.theme, memory.view("one"), memory.changed) == (None, None, None, False)
    memory.keep_view("one", VIEW)
    memory.keep_place(run="one")
    memory.keep_theme("nord")
    assert memory.changed
    memory.write()
    assert not memory.changed
    assert len(list(folder.iterdir())) == 3
    again = Remembering(tmp_path / "a.zarr", folder)
    assert (again.run, again.theme, again.view("one")) == ("one", "nord", VIEW)
    again.keep_view("one", VIEW)
    again.keep_place(run="one")
    assert not again.changed
    fresh = Remembering(tmp_path / "a.zarr", folder, fresh=True)
    assert (fresh.run, fresh.theme, fresh.view("one")) == (None, None, None)


def test_how_the_table_was_looked_at_comes_back_beside_where_one_was(tmp_path):
    memory = Remembering(tmp_path / "a.zarr", tmp_path / "state")
    assert memory.table == TableView()
    view = TableView("resnet error<5%", "error", True, "one")
    memory.keep_table(view)
    memory.keep_place(run="one")
    memory.write()
    again = Remembering(tmp_path / "a.zarr", tmp_path / "state")
    assert (again.table, again.run) == (view, "one")
    again.keep_table(view)
    assert not again.changed
    assert Remembering(tmp_path / "b.zarr", tmp_path / "state").table == TableView(), "of another store"
    assert Remembering(tmp_path / "a.zarr", tmp_path / "state", fresh=True).table == TableView()


@pytest.mark.parametrize(
    ("kept", "understood"),
    [
        (None, TableView()),
        ([1, 2], TableView()),
        ({}, TableView()),
        ({"filter": 3, "sort": "colour", "descending": "yes", "run": 7}, TableView()),
        ({"filter": "\x1b[31mred", "sort": "error"}, TableView(sort="error")),
        ({"filter": "a" * 5_000, "run": "one"}, TableView(run="one")),
        ({"filter": "(((", "descending": True}, TableView("(((", descending=True)),
        ({"sort": ["error"]}, TableView()),
    ],
)
def test_a_look_at_the_table_is_understood_as_far_as_it_can_be(kept: object, understood: TableView):
    assert TableView.from_json(kept) == understood
