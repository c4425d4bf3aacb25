"""`lyrx ls` and what `lyrx check` reports, as text."""

import io
from dataclasses import replace

import fakes
from lyrx.explorer import listing
from lyrx.explorer.core.picture import take_picture
from lyrx.explorer.core.texts import state_text
from lyrx.store import Cell, Store
from lyrx.store.check import Report, check_store
from rich.console import Console


def test_a_complete_run_says_how_exact_it_is(tmp_path):
    store = Store.open_or_create(tmp_path / "s.zarr")
    fakes.complete_run(store)
    fakes.kinds_run(store, created=fakes.START + 1)
    fakes.partial_run(store, created=fakes.START + 2)
    further = fakes.complete_run(store, "fcn-further", created=fakes.START + 3)
    probe = further.create_probe(replace(further.probe().info, granularity="block", fingerprint="b" * 64, created=9e9))
    fakes.commit_cells(probe, probe.info.all_cells()[:19])
    rows, errors = listing.rows(store)
    assert errors == []
    out = io.StringIO()
    listing.show(store, rows, Console(file=out, width=120))
    table = [line for line in out.getvalue().splitlines() if "fcn" in line]
    assert [line.split("FCN")[0].split(None, 1)[1].strip() for line in table] == [
        "complete",
        "complete, 18/73 exact",
        "interrupted",
        "complete, further probe 19/57",
    ]
    assert [row["progress"]["measured"] for row in rows] == [57, 73, 19, 19]
    assert [row["status"] for row in rows] == ["complete", "complete", "interrupted", "complete"]
    # Where such a probe is looked at, it is said how much of it there is, and of the first one that it is whole.
    assert state_text(take_picture(further)) == "complete, of this probe 19/57 cells"
    assert state_text(take_picture(further, further.probe("layer"))) == "complete"


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
