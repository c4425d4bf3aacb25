"""The table of runs, followed: what is read, when, and what is kept for the next start."""

import os
import shutil
from dataclasses import replace

import fakes
import pytest
from lyrx.explorer.core.runrow import kind_of, state_words
from lyrx.explorer.tablefeed import RowCache, TableFeed
from lyrx.store import Cell, Store, StoreNotFoundError


def rows(feed: TableFeed) -> dict[str, object]:
    table = feed._last
    assert table is not None
    return {row.name: row for row in table.rows}


def test_a_row_says_what_the_store_holds(own):
    feed = TableFeed(own)
    table = feed.poll()
    assert table is not None
    assert table.unread == 0
    assert [row.name for row in table.rows] == ["fcn-3x256", "fcn-again", "resnet18", "vit-b16", fakes.EVIL]
    whole, half, training = table.rows[:3]
    assert (whole.status, whole.error, whole.epoch, whole.epochs) == ("complete", 0.0152, 100, 100)
    assert (whole.cells, whole.exact, whole.wanted, whole.open) == (57, 57, 57, 0)
    assert (whole.layers, whole.checkpoints, whole.planned, whole.trained) == (4, 9, 9, True)
    assert (whole.created, whole.epoch_seconds, whole.failure) == (fakes.START, 1.4, "")
    assert (half.status, half.cells) == ("interrupted", 19)
    assert (training.status, training.trained, training.checkpoints) == ("interrupted", False, 7)
    assert feed.poll() is None


def test_whatever_is_committed_shows_at_the_next_look(own):
    feed = TableFeed(own)
    feed.poll()
    store = Store.open(own)
    fakes.commit_cells(store.run("fcn-again").probe(), [Cell(2, 1)])
    assert feed.poll().rows[1].cells == 20
    fakes.commit_history(store.run("resnet18"), 43, since=43)
    assert feed.poll().rows[2].epoch == 43
    store.run("resnet18").failure.write("training", "no memory")
    assert feed.poll().rows[2].failure == "no memory"
    with store.run("resnet18").writing("train"):
        row = feed.poll().rows[2]
        assert row.status == "training"
        assert str(os.getpid()) in row.writer
        assert row.touched > fakes.START
        fakes.commit_history(store.run("resnet18"), 44, since=44)
        assert feed.poll().rows[2].epoch == 44
    assert feed.poll().rows[2].status == "interrupted"
    store.delete_run("resnet18")
    assert len(feed.poll().rows) == 4
    fakes.training_run(store, "resnet18", epochs_done=1)
    assert feed.poll().rows[2].epoch == 1


def test_a_run_stays_complete_while_a_further_probe_is_measured_in_part(own):
    run = Store.open(own).run("fcn-3x256")
    feed = TableFeed(own)
    feed.poll()
    newer = run.create_probe(replace(run.probe().info, granularity="block", fingerprint="b10c" * 16, created=9e9))
    row = feed.poll().rows[0]
    assert (row.status, row.cells, row.wanted, row.open) == ("complete", 0, 57, 57)
    assert state_words(row, fakes.START)[0] == ("● complete", ", further probe 0 %")
    fakes.commit_cells(newer, newer.info.all_cells()[:19])
    row = feed.poll().rows[0]
    assert state_words(row, fakes.START)[:2] == [("● complete", ", further probe 33 %"), ("● complete", "")]
    # Somebody who works on it is told, and what failed needs somebody.
    with run.writing("probe"):
        assert feed.poll().rows[0].status == "probing"
    assert kind_of(feed.poll().rows[0], fakes.START) == "complete"
    run.failure.write("probing", "no memory")
    assert kind_of(feed.poll().rows[0], fakes.START) == "failed"
    run.failure.clear()
    fakes.commit_cells(newer)
    row = feed.poll().rows[0]
    assert (row.status, row.open, state_words(row, fakes.START)[0]) == ("complete", 0, ("● complete", ""))


def test_a_run_that_breaks_and_is_mended(own):
    feed = TableFeed(own)
    feed.poll()
    about = own / "runs" / "vit-b16" / "zarr.json"
    whole = about.read_bytes()
    about.unlink()
    table = feed.poll()
    assert len(table.rows) == 4
    assert "no zarr.json" in table.problems[0]
    about.write_text("{")
    assert "vit-b16/zarr.json is damaged" in feed.poll().problems[0]
    assert feed.poll() is None
    about.write_bytes(whole)
    table = feed.poll()
    assert (len(table.rows), table.problems) == (5, ())


def test_a_store_that_goes_and_comes_back(own):
    feed = TableFeed(own)
    feed.poll()
    away = own.with_name("away")
    own.rename(away)
    for _ in range(2):
        with pytest.raises(StoreNotFoundError):
            feed.poll()
    away.rename(own)
    assert feed.poll() is None, "all is as it was"
    shutil.rmtree(own / "runs")
    assert feed.poll().rows == ()


def test_within_a_budget_runs_come_first_and_their_numbers_later(own):
    now = [0.0]

    def clock() -> float:
        now[0] += 1
        return now[0]

    feed = TableFeed(own, clock=clock)
    seen = [feed.poll(budget=3)]
    while feed.unread:
        seen.append(feed.poll(budget=3))
    assert len(seen) > 3
    assert 0 < len(seen[0].rows) < 5 or seen[0].unread
    tables = [table for table in seen if table]
    assert tables[-1] == TableFeed(own).poll()
    unread = [table for table in tables if any(row.status is None for row in table.rows)]
    assert unread
    assert all(row.model for table in tables for row in table.rows)
    # From then on every run is looked at again, a few at a time.
    fakes.commit_cells(Store.open(own).run("fcn-again").probe(), [Cell(2, 1)])
    for _ in range(10):
        feed.poll(budget=3)
    assert rows(feed)["fcn-again"].cells == 20


def test_of_a_store_never_seen_the_newest_runs_are_read_first(own):
    newest = sorted(path.name for path in (own / "runs").iterdir())
    newest = newest[1::2] + newest[::2]
    for age, folder in enumerate(newest):
        os.utime(own / "runs" / folder, (fakes.START - age, fakes.START - age))
    ticks = iter(range(1_000))
    feed = TableFeed(own, clock=lambda: float(next(ticks)))
    feed.poll(budget=2)
    assert list(feed._known) == newest[:2]


def test_the_next_start_knows_what_was_read_and_reads_only_what_changed(own, tmp_path, monkeypatch):
    # Settled: what changed a moment ago is not trusted for the next time.
    monkeypatch.setattr("lyrx.store.commits._SETTLED", -1)
    cache = RowCache(tmp_path / "cache" / "rows.json")
    with Store.open(own).run("resnet18").writing("train"):
        before = TableFeed(own, cache).poll()
    fakes.commit_cells(Store.open(own).run("fcn-again").probe(), [Cell(2, 1)])
    read: list[str] = []
    from lyrx.explorer import tablefeed

    make = tablefeed._row
    monkeypatch.setattr(tablefeed, "_row", lambda run, probe: read.append(run.name) or make(run, probe))
    feed = TableFeed(own, RowCache(cache.path))
    first = feed.poll(budget=0)
    assert [row.name for row in first.rows] == [row.name for row in before.rows]
    assert first.rows[0] == before.rows[0]
    assert first.rows[2].status is None, "whether it is still being trained is not known yet"
    assert first.unread == 5
    last = feed.poll()
    assert sorted(read) == ["fcn-again", "resnet18"]
    assert last.rows[1].cells == 20
    assert last.rows[2].status == "interrupted"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 99, "rows": {}}',
                                  '{"version": 1, "rows": {"a": [[1], null]}}'])  # fmt: skip
def test_a_cache_that_makes_no_sense_is_none(own, tmp_path, text: str):
    path = tmp_path / "rows.json"
    path.write_text(text)
    assert RowCache(path).load() == {}
    assert len(TableFeed(own, RowCache(path)).poll().rows) == 5


def test_a_cache_that_cannot_be_written_is_done_without(own, tmp_path):
    (tmp_path / "file").write_text("")
    assert TableFeed(own, RowCache(tmp_path / "file" / "rows.json")).poll() is not None


def test_the_cache_lies_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = RowCache.of(tmp_path / "a.zarr").path, RowCache.of(tmp_path / "b.zarr").path
    assert one.is_relative_to(tmp_path / "lyrx")
    assert one != other
