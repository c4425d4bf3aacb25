"""What is said of a cell, and the figures beside it: numbers checked by hand."""

import math
from dataclasses import replace
from pathlib import Path

import fakes
import fakes_figures
import pytest
from lyrx.explorer.core.cellpanel import bar_top, cell_text, meaning, seconds_text, worst
from lyrx.explorer.core.marks import Place, State
from lyrx.explorer.core.picture import Picture, take_picture
from lyrx.explorer.core.plot import Series
from lyrx.explorer.core.plots import FIGURES, layer_plot, next_figure, number, weights_plot, weights_wanted
from lyrx.explorer.core.sidelayout import side_layout
from lyrx.explorer.core.sizes import parameters_of, share_text, size_of
from lyrx.explorer.core.words import perplexity_text
from lyrx.store import NOISE, PATH, REINITIALISE, RERANDOMISE, SHUFFLE, ZERO, Cell, Column, Estimate, Store
from lyrx.store.histogram import compare


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cells") / "lyrx.zarr"
    made = Store.open_or_create(path)
    fakes_figures.fcn_run(made)
    fakes_figures.resnet_run(made)
    fakes_figures.tied_run(made)
    fakes.kinds_run(made)
    fakes.partial_run(made)
    return path


def picture(store: Path, name: str = "fcn-weights") -> Picture:
    return take_picture(Store.open(store).run(name))


def said(
    picture: Picture, layer, column: int, width: int = 60, height: int | None = None, over=None, message="", **more
):
    return cell_text(picture, layer, column, over, message, width, height, **more).plain


# The panel


def test_everything_that_is_known_of_an_estimate(store):
    text = said(picture(store), 0, 2)
    estimate = Store.open(store).run("fcn-weights").probe().read(Cell(0, 2))
    assert estimate is not None
    assert estimate.n < estimate.total
    for words in (
        "fc1 at checkpoint 1", f"~{100 * estimate.error:.2f} %", " critical ",
        f"{100 * estimate.low:.2f} to {100 * estimate.high:.2f} %", f"±{50 * (estimate.high - estimate.low):.1f}",
        f"{estimate.n:,} of 10,000", "replay  enter: all of them", "6.52 % baseline + 5", f"{estimate.loss:.3f}",
        f"agreement {100 * estimate.agreement:.1f} %", "2-norm/√n", "∞-norm", "12,608 weights 58.4 % of 21,578",
        "0.23 s on cpu", "fp32", "seed 17", "replay", "put back to what it was after epoch 1",
    ):  # fmt: skip
        assert words in text.replace("\n" + " " * 10, " "), words


def test_what_is_to_be_known_of_all_numbers_stands_at_each(store):
    of = replace(picture(store), notes=("what it says of an example depends on \x1b the others",))
    text = said(of, 0, 2, width=40)
    assert "note      what it says of an example" in text
    assert r"depends on \x1b the others" in text
    assert "note" not in said(picture(store), 0, 2)
    assert "note" not in said(replace(of, cells={}), 0, 2), "where there is no number there is nothing to note"


def test_the_perplexity_of_a_language_model_and_of_nothing_else(store):
    plain = picture(store)
    of = replace(plain, run=replace(plain.run, data_facts={"positions": 16}))
    for layer in (0, None):
        cell = of.cell(layer, 2)
        assert cell is not None
        assert f"perplexity {math.e**cell.loss:.1f}\n" in said(of, layer, 2)
        assert "perplexity" not in said(plain, layer, 2)
    assert [perplexity_text(loss) for loss in (0.0, 2.0, 1e6, math.nan)] == [
        "1.0",
        "7.4",  # e^2 = 7.389
        "out of all bounds",
        "not a number",
    ]


def test_the_bar_shows_estimate_interval_and_limit(store):
    shot = picture(store)
    line = next(line for line in said(shot, 1, 2, 60).splitlines() if "●" in line)
    assert line.endswith(" 20 %")
    scale = line[10 : -len(" 20 %")]
    cell, baseline = shot.cell(1, 2), shot.baseline
    assert cell is not None
    assert baseline is not None
    at = lambda value: int(value / 0.2 * len(scale))  # noqa: E731
    assert scale.index("●") == at(cell.error)
    assert scale.index("┃") == at(baseline.error + 0.05)
    assert (scale.index("━"), scale.rindex("━")) == (at(cell.low), at(cell.high))


@pytest.mark.parametrize(("high", "top"), [(0.0, 0.1), (0.09, 0.1), (0.091, 0.2), (0.3, 0.5), (0.46, 1), (1, 1)])
def test_the_bar_ends_at_a_round_number(high: float, top: float):
    assert bar_top(high) == top


def test_draws_are_told_with_mean_spread_and_seeds(store):
    text = said(picture(store), 0, 0)
    probe = Store.open(store).run("fcn-weights").probe()
    draws = [probe.read(Cell(0, 0, draw)) for draw in range(3)]
    assert " ".join(f"{100 * draw.error:.1f}" for draw in draws if draw) in text
    assert "mean of 3 draws ± " in text
    assert "3: seed 1000005" in text
    assert "fresh values from the model's own" in text


def test_what_old_records_lack_is_said(store):
    text = said(picture(store, "fcn-again"), 0, 2)
    assert "precision not recorded" in text
    assert "seed not recorded" in text
    assert "by        not recorded" in text
    bare = picture(store)
    cell = bare.cells[0, 2]
    text = said(replace(bare, cells={**bare.cells, (0, 2): replace(cell, seconds=None)}), 0, 2)
    assert "time      not recorded" in text


def test_why_a_cell_was_not_replayed_is_told(store):
    text = said(picture(store, "fcn-kinds"), 3, 6)
    assert "full forwards of the whole network" in text
    assert "its input is altered in place" in text


def test_a_joint_row_names_its_layers(store):
    shot = picture(store, "fcn-kinds")
    text = said(shot, 4, 6)
    assert "fc2+fc3" in text
    assert "together  fc2, fc3" in text


def test_a_sentence_that_is_cut_says_so(store):
    shot = picture(store)
    whole = said(shot, 0, 2, 48).splitlines()
    cut = said(shot, 0, 2, 48, len(whole) - 1).splitlines()
    assert whole[:-2] == cut[:-1]
    assert cut[-1] == f"{whole[-2]} …"
    assert "…" not in "\n".join(whole)
    narrow = said(shot, 0, 2, len(whole[-2]), len(whole) - 1)
    assert all(len(line) <= len(whole[-2]) for line in narrow.splitlines())


@pytest.mark.parametrize("height", range(1, 24))
@pytest.mark.parametrize("width", [30, 36, 50, 80])
def test_the_most_important_lines_stay_where_there_are_few(store, width: int, height: int):
    shot = picture(store)
    lines = said(shot, 0, 2, width, height).splitlines()
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    for place, words in enumerate(["fc1", "critical", "49.47 to 57.41 %", "512 of 10,000", "loss"], start=1):
        assert (words in "\n".join(lines)) or height < place, words


def test_what_is_going_on_comes_before_everything(store):
    shot = picture(store)
    running = said(shot, 0, 2, 40, 2, Place(State.RUNNING, progress=0.42))
    assert running.splitlines()[1] == "running, 42 % of examples seen"
    failed = said(shot, 0, 2, 40, 4, Place(State.FAILED), "the worker died: killed by SIGKILL\x1b[31m")
    assert failed.splitlines()[1].startswith("failed: the worker died")
    assert "\x1b" not in failed
    assert "~53.44 %" in failed


def test_a_cell_that_was_never_measured(store):
    text = said(picture(store, "fcn-again"), 3, 5)
    assert "not measured yet" in text
    assert "enter measures it" in text
    assert "2-norm" in text, "its weights are there"


def test_a_folded_row_shows_its_worst_layer_and_lists_all(store):
    shot = picture(store, "resnet18-real")
    group = [index for index, name in enumerate(shot.layer_names) if name.startswith("layer3.")]
    at = worst(shot, group, 1)
    errors = {layer: shot.value("error", layer, 1) or 0 for layer in group}
    assert errors[at] == max(errors.values())
    text = said(shot, group, 1, 60, name="layer3")
    assert text.startswith("layer3 at checkpoint 0")
    assert f"worst is  {shot.layer_names[at]}" in text
    verdicts = [shot.verdict(layer, 1) for layer in group]
    assert f"of 5      {verdicts.count('critical')} critical, {verdicts.count('robust')} robust" in text
    listed = text.splitlines()[-5:]
    assert [line.split()[1] for line in listed] == [
        shot.layer_names[layer] for layer in sorted(group, key=lambda layer: -errors[layer])
    ]
    assert f"{sum(shot.probe.layers[layer].parameters for layer in group):,} weights" in text


def test_a_folded_row_of_which_half_is_missing(store):
    shot = picture(store, "gpt-tied")
    group = [1, 2, 3]
    text = said(shot, group, 1, 60, name="blocks")
    assert "2 not measured" in text
    assert text.splitlines()[-1].endswith("–")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (Column(REINITIALISE, 0), "untouched initialisation"),
        (Column(REINITIALISE, 8), "after epoch 8"),
        (Column(REINITIALISE, 100), "the baseline"),
        (Column(RERANDOMISE, draws=3), "mean of 3 draws"),
        (Column(NOISE, draws=1, scale=0.5), "0.5 times"),
        (Column(ZERO), "set to zero"),
        (Column(SHUFFLE), "another order"),
        (Column(PATH, 8, alpha=0.25), "25 % of the straight way from epoch 8"),
    ],
)
def test_what_a_column_means(column: Column, words: str):
    assert words in meaning(column, 100)


def test_durations():
    texts = [seconds_text(seconds) for seconds in (0.001, 0.42, 12.34, 150, 7_200)]
    assert texts == ["less than 0.01 s", "0.42 s", "12.3 s", "2.5 min", "2.0 h"]


def test_sizes_and_shares(store):
    tied = picture(store, "gpt-tied")
    assert size_of(tied) == parameters_of(fakes_figures.tied_tensors())
    block = 288 * 96 + 288 + 96 * 96 + 96 + 2 * 384 * 96 + 384 + 96
    assert size_of(tied) == 512 * 96 + 64 * 96 + 3 * (block + 192)
    assert size_of(tied, [1, 1]) == tied.probe.layers[1].parameters, "once, however often it is named"
    assert [share_text(part, 100_000) for part in (0, 5, 40, 1_234, 50_000, 99_999, 100_000)] == [
        "0 %", "<0.01 %", "0.04 %", "1.23 %", "50.0 %", "100 %", "100 %",
    ]  # fmt: skip


# The figures


def test_figures_come_one_after_the_other():
    assert next_figure(FIGURES[0]) == FIGURES[1]
    assert next_figure(FIGURES[-1]) == FIGURES[0]
    assert next_figure("unheard of") == FIGURES[0]


def test_a_layers_curve_has_its_intervals_and_the_draws(store):
    shot = picture(store)
    plot = layer_plot(shot, 0, 60, 2)
    own, network, draws = plot.series
    probe = Store.open(store).run("fcn-weights").probe()
    cells = [probe.read(Cell(0, column)) for column in range(1, 10)]
    assert own.y == [100 * cell.error for cell in cells if cell]
    assert list(zip(own.low, own.high, strict=True)) == [(100 * c.low, 100 * c.high) for c in cells if c]
    assert network.y[0] == pytest.approx(90.21, abs=0.5)
    assert (draws.x, draws.line, draws.dots) == ([-1, -1, -1], False, True)
    assert [y / 100 for y in draws.y] == pytest.approx([probe.read(Cell(0, 0, draw)).error for draw in range(3)])  # type: ignore[union-attr]
    assert plot.level == pytest.approx(6.52)
    assert (plot.here, plot.x) == (1.0, (-1, 8))
    assert layer_plot(shot, 0, 60, 0).here == -1.0


def test_a_curve_of_several_layers_is_the_worst_at_each_checkpoint(store):
    shot = picture(store, "resnet18-real")
    group = [0, 5, 12, 20]
    own = layer_plot(shot, group, 60, 1, name="some").series[0]
    for place, column in enumerate(range(1, 10)):
        assert own.y[place] == 100 * max(shot.value("error", layer, column) or 0 for layer in group)
    assert own.label == "worst of some"


def test_a_band_is_drawn_only_where_it_is_wider_than_its_line():
    nan = float("nan")
    series = Series("", "accent", range(7), [1] * 7, low=[1, 0, 1, 1, 1, nan, 0], high=[1, 2, 1, 1, 1, nan, 2])
    assert series.bands() == [([0, 1, 2], [1, 0, 1], [1, 2, 1]), ([6], [0], [2])]
    assert Series("", "accent", [0, 1], [1, 1]).bands() == []


def test_which_weights_belong_to_a_cell(store):
    shot = picture(store)
    assert weights_wanted(shot, [0], 5) == (("fc1.weight",), 8, 0, "")
    assert weights_wanted(shot, [0, 1], 9) == (("fc1.weight", "fc2.weight"), 100, 0, "")
    assert weights_wanted(shot, [0], 1)[1:3] == (100, 0), "at the initialisation itself: the trained ones beside it"
    assert weights_wanted(shot, [0], 0)[1:3] == (100, 0), "where no checkpoint is put back, too"
    assert "choose a layer" in weights_wanted(shot, [], 5)[3]
    assert "checkpoint 8 is not in the store yet" in weights_wanted(replace(shot, committed=[0, 1]), [0], 5)[3]


def test_a_histogram_stands_over_that_of_the_initialisation(store):
    shot = picture(store)
    compared = compare(Store.open(store).run("fcn-weights").checkpoints, ["fc1.weight"], 8, 0)
    plot = weights_plot(shot, [0], 5, compared, "", 60)
    now, start = plot.series
    assert now.y[1::2][:-1] == [float(count) for count in compared.now.counts]
    assert start.high[1::2][:-1] == [float(count) for count in compared.other.counts]
    assert plot.left == (0, max(*compared.now.counts, *compared.other.counts))
    text = "\n".join(plot.foot)
    for value in (compared.now.mean, compared.now.std, compared.other.minimum, compared.other.maximum, compared.moved):
        assert number(value) in text
    assert "12,544 weights of fc1.weight" in text
    assert "left out: bias" in text
    assert all(len(line) <= 60 for line in plot.foot)
    assert weights_plot(shot, [0], 5, None, "", 60).empty == "reading the weights …"
    assert weights_plot(shot, [0], 5, None, "it is damaged", 60).empty == "it is damaged"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.0012, "-0.0012"), (0.31, "0.31"), (12.5, "12.5"), (3e-8, "3e-8"), (12_345.0, "1.2e4")],
)
def test_numbers_are_short(value: float, text: str):
    assert number(value) == text


# The room


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((78, 8), (True, 32, 8, 1)), ((118, 14), (True, 47, 14, 1)), ((198, 14), (True, 48, 14, 3)),
        ((60, 46), (False, 60, 14, 3)), ((60, 20), (False, 60, 10, 1)), ((48, 8), (False, 48, 8, 0)),
    ],
)  # fmt: skip
def test_words_and_figures_share_the_room(size: tuple[int, int], expected: tuple[bool, int, int, int]):
    layout = side_layout(*size, lambda width: 14)
    assert (layout.across, layout.text_width, layout.text_height, layout.figures) == expected
    if layout.across:
        assert layout.text_width + layout.figures * (layout.figure_width + 2) <= size[0]


def test_where_there_is_no_room_for_both_they_take_turns():
    words, figure = (side_layout(48, 8, lambda width: 14, figure=asked) for asked in (False, True))
    assert (words.figures, words.exclusive) == (0, True)
    assert (figure.figures, figure.text_height, figure.figure_width) == (1, 2, 48)


def test_an_estimate_without_numbers_draws_no_bar(store):
    shot = picture(store)
    broken = replace(shot.cells[0, 2], draws=(Estimate(float("nan"), 0, 1, float("nan"), 0, 5, 10),))
    text = said(replace(shot, cells={**shot.cells, (0, 2): broken}), 0, 2)
    assert "nan" in text
    assert "●" not in text
