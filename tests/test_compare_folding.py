"""Stages and blocks of runs that are compared fold as in the heatmap of one run; by hand, no terminal."""

import pytest
from compared import END, FIRST, picture
from compared import STAGES_A as A
from compared import STAGES_B as B
from lyrx.explorer.core.alignment import align
from lyrx.explorer.core.compare import (
    difference_scene,
    largest_line,
    line_rows,
    lines_of,
    scenes,
    worst_line,
)
from lyrx.explorer.core.marks import State
from lyrx.explorer.core.rows import FOLDED, folded_next, row_of_layer, rows, toggled
from lyrx.explorer.core.view import HeatView
from lyrx.store import Estimate

BLOCKS = frozenset({"one.0", "one.1", "two", "two.0", "tail", "tail.0"})


def shown(scene) -> dict[str, list[tuple[State, float | None]]]:
    found = {}
    for row, looks in zip(scene.rows, scene.looks, strict=True):
        numbers = [None if look.place.value is None else round(look.place.value, 6) for look in looks]
        found[row.name] = [(look.place.state, number) for look, number in zip(looks, numbers, strict=True)]
    return found


def test_a_folded_row_shows_each_runs_own_worst_layer():
    left, right = (shown(scene) for scene in scenes((A, B), HeatView(folded=BLOCKS)))
    assert list(left) == list(right) == [
        "stem", "one.0 (2)", "one.1 (3)", "two.0 (2)", "tail.0 (2) (only B)", "head", "whole network"
    ]  # fmt: skip
    assert left["one.0 (2)"][0] == (State.DONE, 0.6)
    assert right["one.0 (2)"][0] == (State.DONE, 0.5)
    assert left["one.1 (3)"][0] == (State.DONE, 0.3), "what a run lacks is no reason to doubt its number"
    assert right["one.1 (3)"][0] == (State.ESTIMATE, 0.7), "its worst is exact, but another one may still move"
    assert left["two.0 (2)"][0] == (State.ESTIMATE, 0.04), "the other one is missing"
    assert left["tail.0 (2) (only B)"] == [(State.UNAVAILABLE, None)] * 2
    assert right["tail.0 (2) (only B)"][0] == (State.DONE, 0.04)
    assert left["whole network"][0] == (State.DONE, 0.9)


def test_a_folded_row_of_the_difference_shows_its_largest_one_with_its_sign():
    scene = difference_scene(A, B, HeatView(folded=BLOCKS))
    found = shown(scene)
    # one.0: -0.1 and +0.25; one.1: 0, -0.1 (an estimate), and a layer that A lacks; two.0: +0.01, and one missing
    assert found["one.0 (2)"][0] == (State.DONE, 0.25)
    assert found["one.1 (3)"][0] == (State.ESTIMATE, -0.1)
    assert found["two.0 (2)"][0] == (State.ESTIMATE, 0.01)
    assert found["tail.0 (2) (only B)"][0] == (State.UNAVAILABLE, None)
    assert scene.scale == difference_scene(A, B, HeatView()).scale, "folding changes no colour"
    turned = shown(difference_scene(B, A, HeatView(folded=BLOCKS)))
    assert turned["one.0 (2)"][0] == (State.DONE, -0.25)
    assert turned["one.1 (3)"][0] == (State.ESTIMATE, 0.1)


def test_folded_rows_are_sorted_by_the_worst_or_most_different_of_their_layers():
    view = HeatView(folded=BLOCKS, order="criticality")
    # Means over the runs of the errors at checkpoint 0, each 0.02 above its rise: stem 0.475, one.0 0.55, one.1 0.7
    # (B's alone), two.0 0.9 (B's alone), tail.0 0.04, head 0.02.
    keys = [row.key.removeprefix(FOLDED) for row in scenes((A, B), view)[0].rows]
    assert keys == ["two.0", "one.1", "one.0", "stem", "tail.0", "head", ""]
    keys = [row.key.removeprefix(FOLDED) for row in difference_scene(A, B, view).rows]
    assert keys == ["one.0", "one.1", "stem", "two.0", "head", "tail.0", ""]


def test_it_folds_as_the_heatmap_of_one_run_does():
    alone = align((A,))
    plain = line_rows(alone)
    view = HeatView()
    for step in range(4):
        names = [row.name for row in scenes((A,), view)[0].rows]
        assert names == [row.name for row in rows(A, view)], step
        view = view.with_(folded=folded_next([row.key for row in plain], view.folded))
    folded = toggled(plain, HeatView(), plain[2])
    assert (folded.folded, folded.layer) == (frozenset({"one.0"}), f"{FOLDED}one.0")
    row = next(row for row in scenes((A,), folded)[0].rows if row.folded)
    back = toggled(plain, folded, row)
    assert (back.folded, back.layer) == (frozenset(), "one.0.conv1")


def test_a_row_of_one_run_alone_unfolds_in_the_heatmap_of_the_other():
    plain = line_rows(align((A, B)))
    view = HeatView(folded=BLOCKS)
    row = next(row for row in scenes((A, B), view)[0].rows if row.name.startswith("tail.0"))
    assert row.layers == (), "A has none of it"
    assert toggled(plain, view, row).folded == BLOCKS - {"tail.0"}
    assert toggled(plain, view, row).layer == "tail.0.norm"


def test_the_cursor_goes_along_when_all_is_folded_or_unfolded():
    plain = line_rows(align((A, B)))
    conv = next(row for row in plain if row.key == "one.1.conv2")
    assert row_of_layer(plain, BLOCKS, conv) == f"{FOLDED}one.1"
    assert row_of_layer(plain, BLOCKS | {"one"}, conv) == f"{FOLDED}one", "the outermost"
    group = next(row for row in scenes((A, B), HeatView(folded=BLOCKS))[0].rows if row.key == f"{FOLDED}one.1")
    assert row_of_layer(plain, frozenset(), group) == "one.1.conv1"
    network = scenes((A, B), HeatView())[0].rows[-1]
    assert row_of_layer(plain, BLOCKS, network) == network.key


def test_the_layer_that_is_told_of_is_the_one_whose_number_is_shown():
    known = align((A, B))
    left, right = scenes((A, B), HeatView(folded=BLOCKS))
    lines = lines_of(known, f"{FOLDED}one.0")
    assert [known.lines[line].name for line in lines] == ["one.0.conv1", "one.0.conv2"]
    assert known.lines[worst_line(known, A, 0, "error", left.scale, lines, 0)].name == "one.0.conv1"
    difference = difference_scene(A, B, HeatView(folded=BLOCKS))
    assert known.lines[largest_line(known, A, B, "error", difference.scale, lines, 0)].name == "one.0.conv2"
    lines = lines_of(known, f"{FOLDED}one.1")
    assert known.lines[worst_line(known, A, 0, "error", left.scale, lines, 0)].name == "one.1.conv1"
    assert known.lines[worst_line(known, B, 1, "error", right.scale, lines, 0)].name == "one.1.shortcut"
    assert known.lines[largest_line(known, A, B, "error", difference.scale, lines, 0)].name == "one.1.conv2"
    assert lines_of(known, "head") == (len(known.lines) - 1,)
    assert lines_of(known, "") == ()


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_no_number_is_the_worst(value: float):
    lost = Estimate(0.9, 0.9, 0.9, value, 0.1, 1000, 1000)
    broken = picture("c", {"one.0.a": [lost, 0.02], "one.0.b": [0.99, 0.02], "two": [0.1, 0.02]}, (FIRST, END))
    scene = scenes((broken,), HeatView(metric="loss", folded=frozenset({"one", "one.0"})))[0]
    place = scene.looks[0][0].place
    assert place.value is not None
    assert not place.value < float("inf")
    assert scene.looks[0][0].level is None
