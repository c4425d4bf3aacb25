"""`lyrx ls` and what `lyrx check` reports, as text."""

import io

import fakes
from lyrx.explorer import listing
from lyrx.store import Cell, Store
from lyrx.store.check import Report, check_store
from rich.console import Console


def test_a_complete_run_says_how_exact_it_is(tmp_path):
    store = Store.open_or_create(tmp_path / "s.zarr")
    fakes.complete_run(store)
    fakes.kinds_run(store, created=fakes.START + 1)
    fakes.partial_run(store, created=fakes.START + 2)
    rows, errors = listing.rows(store)
    assert errors == []
    out = io.StringIO()
    listing.show(store, rows, Console(file=out, width=120))
    table = [line for line in out.getvalue().splitlines() if "fcn" in line]
    assert [line.split("FCN")[0].split(None, 1)[1].strip() for line in table] == [
        "complete",
        "complete, 18/73 exact",
        "interrupted",
    ]
    assert [row["progress"]["measured"] for row in rows] == [57, 73, 19]


def test_a_check_says_what_it_wrote_anew_and_what_it_left(tmp_path, capsys):
    store = Store.open_or_create(tmp_path / "s.zarr")
    run = fakes.complete_run(store)
    chunk = run.probe().chunk(Cell(1, 2))
    chunk.write_bytes(b"torn")
    for writing, said in ((True, "not yet as committed, while a live process writes"), (False, "written anew")):
        report = Report()
        if writing:
            with run.writing("somebody"):
                list(check_store(store, report))
        else:
            list(check_store(store, report))
        listing.show_report(report)
        first, last = capsys.readouterr().out.splitlines()
        assert first.startswith(said)
        assert str(chunk) in first
        assert last.endswith("all whole.")
    report = Report()
    list(check_store(store, report))
    listing.show_report(report)
    assert len(capsys.readouterr().out.splitlines()) == 1
