"""Runs side by side and their differences, by hand; no terminal."""

import math
from dataclasses import replace

import fakes
import pytest
from compared import END, FIRST, LATER, RANDOM, known, picture
from lyrx.explorer.core import ramp
from lyrx.explorer.core.alignment import align, merged
from lyrx.explorer.core.compare import (
    Difference,
    difference,
    difference_scene,
    rounded_up,
    scenes,
    signed,
)
from lyrx.explorer.core.compare_numbers import spearman, summary
from lyrx.explorer.core.compare_text import (
    all_pairs,
    difference_text,
    place_text,
    summary_text,
    warnings,
)
from lyrx.explorer.core.curves import Trained, curves_plot
from lyrx.explorer.core.marks import State
from lyrx.explorer.core.picture import METRICS
from lyrx.explorer.core.rows import rows
from lyrx.explorer.core.view import HeatView
from lyrx.store import REINITIALISE, ZERO, Column, Estimate, Layer
from scipy import stats

A = picture(
    "a", {"fc1": [0.8, 0.3, 0.02], "fc2": [0.2, 0.02, 0.02], "fc3": [0.02, 0.02, 0.02], "old": [0.5, 0.1, 0.02]}
)
B = picture(
    "b", {"fc1": [0.7, 0.3, 0.03], "new": [0.4, 0.1, 0.02], "fc2": [0.05, 0.02, 0.02], "fc3": [0.12, 0.02, 0.02]}
)


# Alignment


def test_names_are_merged_in_the_order_of_both():
    assert merged([["a", "b", "d"], ["a", "c", "d", "e"]]) == ["a", "c", "b", "d", "e"]
    assert merged([["stem", "one", "two", "head"], ["stem", "one", "extra", "head"]]) == [
        "stem", "one", "extra", "two", "head",
    ]  # fmt: skip
    assert merged([["b"], ["a", "b", "c"]]) == ["a", "b", "c"], "what comes first there comes first"
    assert merged([["a", "b"], ["b", "a"]]) == ["a", "b"], "where runs disagree the first one's order holds"
    assert merged([["a"], ["b"], ["b", "c", "a"]]) == ["b", "c", "a"]
    assert merged([]) == []


def test_layers_of_one_run_alone_are_kept_and_told_as_such():
    aligned = align((A, B))
    assert [line.title for line in aligned.lines] == ["fc1", "new (only B)", "fc2", "fc3", "old (only A)"]
    assert [line.layers for line in aligned.lines] == [(0, 0), (None, 1), (1, 2), (2, 3), (3, None)]
    assert [line.name for line in aligned.common_lines] == ["fc1", "fc2", "fc3"]
    three = align((A, B, A))
    assert [line.title for line in three.lines][-1] == "old (only A, C)"


def test_columns_are_those_of_all_runs_or_of_any():
    short = picture("c", {"fc1": [0.9, 0.6, 0.02]}, (RANDOM, FIRST, END), checkpoints=(0, 100))
    aligned = align((A, short))
    assert [column.label for column in aligned.columns] == ["0", "100"]
    assert aligned.places == ((0, 1), (2, 2))
    assert aligned.left_out == ("random", "8")
    both = align((A, short), every_column=True)
    assert [column.label for column in both.columns] == ["random", "0", "8", "100"]
    assert both.places == ((None, 0), (0, 1), (1, None), (2, 2))
    assert (both.left_out, both.common_columns) == ((), (1, 3))
    assert both.column("8") == 2
    assert both.column("9") is None


def test_nothing_in_common_is_said_in_words():
    other = picture("c", {"conv1": [0.9, 0.6, 0.02]})
    assert "no layer in common" in align((A, other)).problem()
    columns = picture("c", {"fc1": [0.9]}, (Column(REINITIALISE, 7),), checkpoints=(7,))
    assert "no column in common" in align((A, columns)).problem()
    assert align((A, B)).problem() == ""


# Differences


def test_a_difference_of_exact_numbers_is_exact():
    found = difference(A, B, "error", (0, 0), (0, 0))
    assert found is not None
    assert found.value == pytest.approx(-0.1)
    assert (found.low, found.high, found.level, found.sign, found.exact) == (
        found.value,
        found.value,
        1.0,
        "lower",
        True,
    )
    same = difference(A, B, "error", (0, 1), (0, 1))
    assert same is not None
    assert same.sign == "equal"
    loss = difference(A, B, "loss", (0, 0), (0, 0))
    assert loss is not None
    assert loss.exact
    assert loss.value == pytest.approx(-0.2)


def test_a_difference_of_estimates_has_the_conservative_interval():
    a = picture("a", {"fc1": [known(0.5, 100, half=0.1), 0.3, known(0.2, 100, half=0.05)]})
    b = picture("b", {"fc1": [known(0.7, 100, half=0.05), known(0.3, 100, half=0.02), known(0.5, 100, half=0.04)]})
    open_ = difference(a, b, "error", (0, 0), (0, 0))
    assert open_ is not None
    # 0.65 - 0.6 and 0.75 - 0.4; each fails with at most 5 %, both hold with at least 90 %
    assert (open_.low, open_.high) == (pytest.approx(0.05), pytest.approx(0.35))
    assert (open_.level, open_.sign) == (0.9, "higher")
    one = difference(a, b, "error", (0, 1), (0, 1))
    assert one is not None
    assert (one.low, one.high, one.level, one.sign) == (pytest.approx(-0.02), pytest.approx(0.02), 0.95, "open")
    far = difference(b, a, "error", (0, 2), (0, 2))
    assert far is not None
    assert far.sign == "lower"
    loss = difference(a, b, "loss", (0, 0), (0, 0))
    assert loss is not None
    assert (loss.low, loss.high, loss.level, loss.sign) == (None, None, None, "open")


def test_the_interval_of_a_difference_holds_as_often_as_it_says():
    """Both ends of 95 % intervals that fail as often as they may: the difference's fails in at most 10 % of cases."""
    import random

    draw = random.Random(5)
    failed = 0
    for _ in range(4_000):
        sides = []
        for truth in (0.4, 0.6):
            # An interval of half width 1 around an estimate that is off by more with probability 5 %.
            off = draw.uniform(-1, 1) if draw.random() > 0.05 else draw.choice((-1.5, 1.5))
            sides.append(Estimate(truth + off, truth + off - 1, truth + off + 1, 0.0, 0.0, 5, 10))
        a, b = (picture("x", {"fc1": [side, None, None]}) for side in sides)
        found = difference(a, b, "error", (0, 0), (0, 0))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        failed += not found.low <= 0.2 <= found.high
    assert failed / 4_000 < 0.1


def test_there_is_no_difference_without_both_numbers_and_none_of_infinities():
    half = picture("h", {"fc1": [None, 0.3, 0.02]})
    assert difference(half, A, "error", (0, 0), (0, 0)) is None
    lost = picture("l", {"fc1": [Estimate(0.9, 0.9, 0.9, math.inf, 0.1, 10, 10), 0.3, 0.02]})
    found = difference(lost, lost, "loss", (0, 0), (0, 0))
    assert found is not None
    assert math.isnan(found.value)
    assert found.sign == "open"


def test_distances_are_known():
    a = replace(A, distances={0: ((0.0,) * 4, (0.0,) * 4), 8: ((0.1,) * 4, (0.3,) * 4)})
    b = replace(B, distances={0: ((0.0,) * 4, (0.0,) * 4), 8: ((0.25,) * 4, (0.3,) * 4)})
    found = difference(a, b, "l2", (0, 1), (0, 1))
    assert found is not None
    assert found.exact
    assert found.value == pytest.approx(0.15)


# What is drawn


def test_sides_have_the_same_rows_columns_and_scale():
    loud = picture("c", {"fc1": [Estimate(0.9, 0.9, 0.9, 40.0, 0.1, 10, 10), 0.3, 0.02]})
    left, right = scenes((A, loud), HeatView(metric="loss"))
    assert left.scale == right.scale
    assert left.scale.high == 40.0
    assert [row.key for row in left.rows] == [row.key for row in right.rows] == ["fc1", "fc2", "fc3", "old", ""]
    assert right.rows[1].name == "fc2 (only A)"
    assert [look.place.state for look in right.looks[1]] == [State.UNAVAILABLE] * 3
    assert left.looks[1][0].place.value == pytest.approx(0.4)
    assert right.rows[1].layers == ()
    assert left.key != right.key


def test_the_most_critical_layers_of_all_runs_first():
    rows = [row.key for row in scenes((A, B), HeatView(order="criticality"))[0].rows]
    # means of the errors at checkpoint 0, each 0.02 above its rise:
    # fc1 0.75, old 0.5 (A alone), new 0.4, fc2 0.125, fc3 0.07
    assert rows == ["fc1", "old", "new", "fc2", "fc3", ""]


def test_how_critical_a_layer_is_means_the_same_as_in_the_heatmap_of_one_run():
    zero = Column(ZERO)
    errors = {"fc1": [0.3, 0.05, 0.02, 0.3], "fc2": [0.1, 0.05, 0.02, 0.7], "fc3": [None, 0.9, 0.02, None]}
    one = picture("one", errors, (FIRST, LATER, END, zero))
    view = HeatView(order="criticality")
    # The largest rise over checkpoint 0 and zero: fc1 0.28, fc2 0.68; fc3 has neither and is last.
    alone = [row.key for row in rows(one, view)]
    assert alone == ["fc2", "fc1", "fc3", ""]
    assert [row.key for row in scenes((one,), view)[0].rows] == alone
    # A rise is over that run's own trained network: 0.5 - 0.4 = 0.1 of fc1, 0.58 of fc2, 0.5 of fc3.
    worse = picture("worse", {"fc1": [0.5], "fc2": [0.98], "fc3": [0.9]}, (FIRST, END), network=(0.9, 0.4),
                    checkpoints=(0, 100))  # fmt: skip
    # Means: fc2 0.63, fc3 0.5 (the second run's alone), fc1 0.19; by the errors fc3 would be the first.
    assert [row.key for row in scenes((one, worse), view)[0].rows] == ["fc2", "fc3", "fc1", ""]


def test_the_difference_map():
    scene = difference_scene(A, B, HeatView())
    assert [row.key for row in scene.rows] == ["fc1", "new", "fc2", "fc3", "old", ""]
    fc1, new, fc2, fc3, _, network = scene.looks
    assert [look.place.value for look in fc1] == [pytest.approx(-0.1), 0, pytest.approx(0.01)]
    assert {look.place.state for look in new} == {State.UNAVAILABLE}
    assert fc2[0].place.value == pytest.approx(-0.15)
    assert [look.place.value for look in network] == [0, 0, 0]
    assert (scene.scale.low, scene.scale.high) == (-0.2, 0.2), "0.15, rounded up"
    assert [look.level for look in fc1] == [7 - 4, 7, 7], (
        "-0.1 of 0.2 is the fourth of seven levels, 0.01 is as good as none"
    )
    assert fc3[0].level == 7 + 4
    assert scene.metric.text(fc1[0].place.value) == "−10.0"
    assert scene.metric.text(0.01) == "+1.0"
    assert scene.metric.text(0.00001) == "0.0"
    assert scene.scale.ramp is ramp.DIVERGING
    assert scene.scale.ends(scene.metric) == ("−20", "+20")
    by_size = difference_scene(A, B, HeatView(order="criticality"))
    assert [row.key for row in by_size.rows] == ["fc2", "fc1", "fc3", "new", "old", ""]


def test_a_difference_is_an_estimate_where_one_side_is():
    rough = picture("r", {"fc1": [known(0.5, 100, half=0.1), None, 0.02]})
    states = [look.place.state for look in difference_scene(A, rough, HeatView()).looks[0]]
    assert states == [State.ESTIMATE, State.MISSING, State.DONE]
    damaged = replace(A, cells={**A.cells, (0, 0): replace(A.cells[0, 0], damaged=True)})
    assert difference_scene(damaged, rough, HeatView()).looks[0][0].place.state is State.DAMAGED


def test_the_scale_of_equal_runs_and_of_single_ends():
    assert difference_scene(A, A, HeatView()).scale.high == 0.01
    assert [rounded_up(value) for value in (0.011, 0.02, 0.021, 0.3, 1.0, 7)] == [0.02, 0.02, 0.05, 0.5, 1.0, 10]


def test_signed_numbers_fit():
    for name, value in [("error", -1.0), ("error", 0.0312), ("loss", -0.1234), ("loss", 1234.5), ("l2", 1e-9)]:
        assert len(signed(METRICS[name]).text(value, 6)) <= 6


def test_verdicts_are_compared_in_words():
    scene = difference_scene(A, B, HeatView(metric="verdict"))
    told = {
        row.key: [scene.metric.text(look.place.value, 6) for look in looks]
        for row, looks in zip(scene.rows, scene.looks, strict=True)
    }
    assert told["fc1"] == ["same"] * 3
    assert told["fc2"][0] == "better"
    assert told["fc3"][0] == "worse"
    assert told["old"] == [""] * 3
    assert [scene.metric.text(value, 3) for value in (0.5, 0, -1)] == ["+", "=", "−"]
    assert scene.scale.ends(scene.metric) == ("− better", "+ worse")


# In a few numbers


def test_a_summary_by_hand():
    found = summary(A, B, "error")
    # fc1: -0.1, 0, 0.01; fc2: -0.15, 0, 0; fc3: 0.1, 0, 0
    assert (found.places, found.mean, found.largest) == (9, pytest.approx(0.36 / 9), pytest.approx(0.15))
    assert found.where == ("fc2", "0")
    assert (found.higher, found.lower) == (2, 2)
    # criticality 0.8, 0.2, 0.02 against 0.7, 0.05, 0.12: ranks 3 2 1 and 3 1 2
    assert (found.correlation, found.ranked) == (pytest.approx(0.5), 3)
    # limits are 0.07: fc2 at 0 is critical in A and robust in B, fc3 the other way round
    told = {(change.layer, change.column): (change.before, change.after) for change in found.changes}
    assert told == {("fc2", "0"): ("critical", "robust"), ("fc3", "0"): ("robust", "critical")}
    assert found.judged == 9
    assert sorted(found.counted()) == [("critical", "robust", 1), ("robust", "critical", 1)]


def test_a_summary_of_what_has_nothing_in_common():
    other = picture("c", {"conv1": [0.9, 0.6, 0.02]})
    found = summary(A, other, "error")
    assert (found.places, found.mean, found.largest, found.where, found.correlation) == (0, None, None, None, None)
    assert "over 0 places" in summary_text(found, (0, 1), 60).plain


@pytest.mark.parametrize("seed", range(5))
def test_the_rank_correlation_is_scipys(seed: int):
    import random

    draw = random.Random(seed)
    first = [round(draw.random(), 1) for _ in range(30)]  # with ties
    second = [round(0.5 * value + 0.5 * draw.random(), 1) for value in first]
    found = spearman(first, second)
    assert found == pytest.approx(stats.spearmanr(first, second).statistic)


def test_a_rank_correlation_that_is_not_defined():
    assert spearman([1.0], [2.0]) is None
    assert spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert spearman([1.0, 2.0], [5.0, 9.0]) == pytest.approx(1.0)


# In words


def panel(pictures, name, column=0, metric="error", pairs=((0, 1),), width=60) -> list[str]:
    shown = [one for one in pictures if one is not None]
    return place_text(pictures, align(shown), name, column, metric, pairs, width).plain.split("\n")


def test_the_panel_has_every_runs_numbers_and_the_difference():
    rough = picture("rough", {"fc1": [known(0.75, 100, half=0.1), 0.3, 0.02]})
    lines = panel((A, rough), "fc1", width=78)
    assert lines[0] == "fc1 at checkpoint 0"
    assert lines[1].split() == ["A", "a", "80.00", "%", "exact", "n", "=", "1,000", "critical"]
    assert lines[2].split() == ["B", "rough", "~75.00", "%", "65.00", "to", "85.00", "100", "of", "1,000", "critical"]
    assert lines[3].split() == ["B", "−", "A", "−5.00", "−15.00", "to", "+5.00", "≥", "95", "%", "sign", "open"]


@pytest.mark.parametrize("width", [30, 36, 48, 60, 78, 100])
def test_the_panel_is_as_wide_as_it_may_be(width: int):
    rough = picture("a-run-with-a-long-name-indeed", {"fc1": [known(0.75, 100, half=0.1), 0.3, 0.02]})
    lines = panel((A, rough, B), "fc1", pairs=all_pairs(3), width=width)
    assert len(lines) == 7
    assert max(map(len, lines)) <= width
    assert "~75.00 %" in lines[2]


def test_the_panel_says_what_is_not_there():
    half = picture("half", {"fc1": [None, 0.3, 0.02]})
    lines = panel((A, half, None), "fc1", pairs=((0, 1), (0, 2)))
    assert "not measured" in lines[2]
    assert "nothing to show" in lines[3]
    assert "needs a number in both" in lines[4]
    assert "has no such place" in panel((A, half), "fc3")[2]
    network = panel((A, B), None, 1)
    assert network[0] == "whole network at checkpoint 8"
    assert "equal" in network[3]


def test_words_of_a_summary():
    said = summary_text(summary(A, B, "error"), (0, 1), 80).plain
    for words in ("B − A", "over 9 places", "4.00 points", "15.00 points at fc2, 0", "2 higher, 2 lower", "0.50",
                  "2 of 9 changed", "1 × critical → robust", "fc3, 0: robust → critical"):  # fmt: skip
        assert words in said, words
    assert all(len(line) <= 40 for line in summary_text(summary(A, B, "error"), (0, 1), 40).plain.split("\n"))
    assert len(summary_text(summary(A, B, "error"), (0, 1), 40, lines=3).plain.split("\n")) == 3


def test_differences_in_words():
    assert difference_text("error", -0.01234) == "−1.23"
    assert difference_text("error", 0.000001) == "0.00"
    assert difference_text("loss", 0.5) == "+0.500"
    assert Difference(1.0).sign == "open"


def test_what_stands_between_like_and_like_is_said():
    assert warnings((A, B), align((A, B))) == []
    facts = {"classes": 10, "test_examples": 500}
    other = replace(A, run=replace(A.run, data="CIFAR-10", data_facts=facts))
    assert warnings((A, B, other), align((A, B, other))) == [
        "measured on different data: A, B MNIST (10,000 examples); C CIFAR-10 (500 examples)"
    ]
    as_many = replace(A, run=replace(A.run, data="CIFAR-10"))
    assert warnings((as_many, B), align((as_many, B))) == ["measured on different data: A CIFAR-10; B MNIST"]
    block = replace(A, probe=replace(A.probe, granularity="block", settings={"tolerance": 0.1}))
    said = warnings((A, block), align((A, block)))
    assert said == [
        "different granularities: A: layer, B: block",
        "different tolerances of verdicts: A: 5 points, B: 10 points",
    ]
    short = picture("c", {"fc1": [0.9, 0.02]}, (FIRST, END), checkpoints=(0, 100))
    assert warnings((A, short), align((A, short))) == ["columns that not all have: 8"]


# Curves


def test_curves_bear_letters_at_places_of_their_own():
    runs = [Trained("a", 100, fakes.history(100)), None, Trained("b", 50, fakes.history(20))]
    plot = curves_plot(runs, "error", 80)
    first, last = plot.series
    assert (first.letter, last.letter) == ("A", "C")
    assert plot.x == (0, 100)
    assert plot.left == (0, 100)
    assert not set(first.marked) & set(last.marked)
    assert first.colour != last.colour
    assert len(first.marked) == 5
    loss = curves_plot(runs, "loss", 80)
    assert all(math.isfinite(loss.series[0].y[index]) for index in loss.series[0].marked)
    assert curves_plot([None], "loss", 80).series == ()
    assert curves_plot([Trained("a", 3)], "loss", 80).series[0].marked == ()


def test_layers_without_a_name_of_their_own_run_are_joint_if_one_is():
    joint = replace(A.probe, layers=(*A.probe.layers, Layer("fc1+fc2", ("x",), 3, ("fc1", "fc2"))))
    assert align((replace(A, probe=joint), B)).lines[-1].joint


@pytest.mark.parametrize("width", [20, 31, 38, 40, 46, 49, 50, 59, 60, 69, 79, 80, 119])
def test_no_run_is_left_out_of_what_is_said_above_the_curves(width: int):
    runs = [Trained(name, 3, fakes.history(3)) for name in ("a", "a-run-with-a-long-name", "another-long-name")]
    plot = curves_plot(runs, "error", width)
    labels = [series.label for series in plot.series]
    line = "  ".join([plot.title, *(f"{one.mark} {one.label}".rstrip() for one in plot.series)])
    assert [series.letter for series in plot.series] == ["A", "B", "C"]
    assert len(line) <= max(width, len("test error, %") + 15)
    if width >= 80:
        assert labels == [run.name for run in runs]
    elif any(labels):
        assert all(run.name.endswith(label.removeprefix("…")) for run, label in zip(runs, labels, strict=True))
        assert min(map(len, labels[1:])) >= 5
