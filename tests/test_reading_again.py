"""A heatmap is read again while it grows: what has not changed is not made anew, and nothing old is shown."""

import json
from pathlib import Path

import fakes
import pytest
from lyrx.explorer.core.picture import take_picture
from lyrx.store import Cell, DamagedError, Probe, Run, Store


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return fakes.partial_run(Store.open_or_create(tmp_path / "s.zarr"))


@pytest.fixture
def probe(run: Run) -> Probe:
    return run.probe()


def committed(probe: Probe) -> Cell:
    return next(cell for cell in probe.results().estimates if cell.layer is not None)


def test_only_what_was_committed_anew_is_another_object(run: Run, probe: Probe):
    cell = committed(probe)
    before = take_picture(run, probe)
    assert take_picture(run, probe, before).cells == before.cells
    probe.write(cell, fakes.estimate(0.123, n=1_000))
    after = take_picture(run, probe, before)
    assert after.cells == take_picture(run, Run(run.path).probe(probe.info.id)).cells
    place = (cell.layer, cell.column)
    assert after.cells[place].draws[cell.draw].error == 0.123
    assert {at for at, found in after.cells.items() if found is not before.cells[at]} == {place}


def test_what_is_damaged_or_withdrawn_since_is_not_shown(run: Run, probe: Probe):
    cell = committed(probe)
    place = (cell.layer, cell.column)
    before = take_picture(run, probe)
    path = probe.record(cell)
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole.replace(b'"values":[0.', b'"values":[1.', 1))
    damaged = take_picture(run, probe, before)
    assert damaged.cells[place].damaged
    assert not damaged.cells[place].measured
    path.unlink()
    path.write_bytes(whole)
    assert take_picture(run, probe, damaged).cells == before.cells
    for draw in range(before.cells[place].expected):
        probe.withdraw(Cell(cell.layer, cell.column, draw))
    assert place not in take_picture(run, probe, before).cells


def test_another_probe_takes_nothing_over(run: Run, probe: Probe):
    before = take_picture(run, probe)
    again = Run(run.path).probe(probe.info.id)
    assert all(one is not before.cells[at] for at, one in take_picture(run, again, before).cells.items())


@pytest.mark.parametrize("indent", [None, 1])
def test_a_record_is_believed_for_what_it_says_not_for_how_it_is_laid_out(probe: Probe, indent: int | None):
    cell = committed(probe)
    path = probe.record(cell)
    value = json.loads(path.read_bytes())
    other = dict(reversed(value.items()))
    path.unlink()
    path.write_text(json.dumps(other, indent=indent))
    assert probe.read(cell) is not None
    for changed in ({"time": value["time"] + 1}, {"extra": 1}, {"seal": 7}, {"seal": "é" * 64}, {"seal": "0" * 64}):
        path.unlink()
        path.write_text(json.dumps({**value, **changed}, indent=indent))
        with pytest.raises(DamagedError, match="does not say what was committed"):
            probe.read(cell)


def test_one_byte_of_a_record_as_it_was_written(probe: Probe):
    cell = committed(probe)
    path = probe.record(cell)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        path.unlink()
        path.write_bytes(changed)
        with pytest.raises(DamagedError):
            probe.read(cell)
