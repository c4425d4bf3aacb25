"""Rows and looks of a heatmap: folding, sorting, joint rows; and that nothing is worked out twice."""

import fakes
import pytest
from lyrx.explorer.core.marks import Place, State
from lyrx.explorer.core.picture import take_picture
from lyrx.explorer.core.rows import FOLDED, criticality, folded_next, groups, plain_rows, rows, toggled
from lyrx.explorer.core.survey import scene, survey
from lyrx.explorer.core.view import HeatView
from lyrx.store import Cell, Store

RESNET = ("conv1", *(f"layer{s}.{b}.conv{c}" for s in (1, 2) for b in (0, 1) for c in (1, 2)), "fc")


def test_groups_follow_the_dots_of_names():
    assert set(groups(RESNET)) == {"layer1", "layer2", "layer1.0", "layer1.1", "layer2.0", "layer2.1"}
    assert tuple(groups(RESNET)["layer2"]) == (5, 6, 7, 8)
    assert set(groups(("features.0", "features.3", "classifier.0", "classifier.3"))) == {"features", "classifier"}
    assert groups(("fc1", "fc2", "output")) == {}
    assert groups(("layers.0", "layers.1")) == {}, "a group of everything is none"


@pytest.fixture
def picture(tmp_path):
    store = Store.open_or_create(tmp_path / "s.zarr")
    run = store.create_run(fakes.run_info("resnet"), fakes.probe_info(list(RESNET)))
    fakes.commit_checkpoints(run, 100)
    probe = run.probe()
    fakes.commit_cells(probe)
    return take_picture(run)


def row_of(picture, view, layer):
    return next(row for row in rows(picture, view) if layer in row.layers)


def test_folding_goes_step_by_step_and_back(picture):
    view = toggled(plain_rows(picture), HeatView(), row_of(picture, HeatView(), 1))
    assert view.folded == {"layer1.0"}
    assert row_of(picture, view, 1).layers == (1, 2)
    assert toggled(plain_rows(picture), view, row_of(picture, view, 1)).folded == frozenset()
    step = folded_next(RESNET, frozenset())
    assert step == {"layer1.0", "layer1.1", "layer2.0", "layer2.1"}
    step = folded_next(RESNET, step)
    assert step >= {"layer1", "layer2"}
    assert folded_next(RESNET, step) == frozenset()
    assert toggled(plain_rows(picture), HeatView(), row_of(picture, HeatView(), 0)) == HeatView(), "in no group"


def test_the_most_critical_come_first_and_unknown_ones_last(tmp_path):
    store = Store.open_or_create(tmp_path / "s.zarr")
    run = store.create_run(fakes.run_info("x"), fakes.probe_info(["a.0", "a.1", "b", "c"]))
    probe = run.probe()
    for layer, error in ((0, 0.1), (1, 0.5), (3, 0.3)):
        probe.write(Cell(layer, 1), fakes.estimate(error))
    probe.write(Cell(None, 9), fakes.estimate(0.05))
    found = take_picture(run)
    assert criticality(found) == [pytest.approx(0.05), pytest.approx(0.45), float("-inf"), pytest.approx(0.25)]
    assert [row.name for row in rows(found, HeatView(order="criticality"))] == ["a.1", "c", "a.0", "b", "whole network"]
    folded = rows(found, HeatView(order="criticality", folded=frozenset({"a"})))
    assert [row.key for row in folded] == [FOLDED + "a", "c", "b", ""]


@pytest.mark.parametrize(("metric", "worst"), [("error", max), ("agreement", min)])
def test_a_folded_row_shows_the_worst_of_its_layers(picture, metric, worst):
    shown = scene(survey(picture, metric), HeatView(metric=metric, folded=frozenset({"layer1"})))
    for column in range(1, 10):
        values = [picture.value(metric, layer, column) for layer in (1, 2, 3, 4)]
        assert shown.looks[1][column].place.value == worst(values)


def test_rows_in_which_nothing_is_going_on_are_the_same_objects(picture):
    known = survey(picture, "error")
    before = scene(known, HeatView())
    after = scene(known, HeatView(), {(2, 3): Place(State.RUNNING, progress=0.5)})
    for row, (old, new) in enumerate(zip(before.looks, after.looks, strict=True)):
        assert (old is new) == (row != 2)
    assert after.looks[2][3].place.state is State.RUNNING
    assert after.looks[2][3].level == before.looks[2][3].level, "what is known stays behind it"
