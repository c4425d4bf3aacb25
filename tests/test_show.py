"""The heatmap as text."""

import io
import math

import fakes
import pytest
from lyrx.explorer.core.picture import Picture, take_picture
from lyrx.explorer.show import print_heatmap, render, shorten
from lyrx.store import Cell, Estimate, Store
from rich.console import Console


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open_or_create(tmp_path / "s.zarr")


@pytest.fixture(scope="session")
def complete(tmp_path_factory) -> Picture:
    """A complete run, as read once."""
    return take_picture(fakes.complete_run(Store.open_or_create(tmp_path_factory.mktemp("complete") / "s.zarr")))


def text(picture: Picture, metric: str = "error", width: int = 80, colours: str | None = None) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=colours, force_terminal=bool(colours), highlight=False)  # type: ignore[arg-type]
    console.print(render(picture, metric))
    return stream.getvalue()


def test_four_layers_and_ten_columns_fit_80_columns(complete):
    lines = text(complete).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.split()[:1] == ["fc1"]]
    assert rows == ["fc1            89.9±1.8   77.8  53.4  36.9  25.6   5.0   1.6   1.5   1.5   1.5"]
    heads = next(line for line in lines if "random" in line)
    assert heads.split() == ["random", "0", "1", "2", "3", "8", "20", "40", "90", "100"]


def test_layers_that_were_not_replayed_on_some_batches_are_told(store):
    run = fakes.complete_run(store)
    probe = run.probe()
    cell = Cell(1, 2)
    estimate, record = probe.read(cell), probe.results().records[cell]
    kept = {key: record[key] for key in ("wrong", "worse", "better") if key in record}
    probe.write(cell, estimate, **kept, evaluator="full", full=10, reason="recording failed (OSError: x)")
    said = " ".join(text(take_picture(run)).split())
    assert "Measured by full forwards in part: fc2 [reinitialise] (recording failed (OSError: x))" in said
    # Where the layer is not replayed at all that is all that is said.
    probe.write_fallback("fc2", "reinitialise", "it differs")
    said = " ".join(text(take_picture(run)).split())
    assert "Measured by full forwards: " in said
    assert "in part" not in said


def test_it_tells_what_it_is_about(complete):
    shown = text(complete)
    assert "fcn-3x256  FCN 3 x 256 on MNIST  ·  complete" in shown
    assert "test error 1.52 %, n = 10,000" in shown
    assert "re-initialised at checkpoint" in shown
    assert "whole network" in shown
    assert "mean ± standard deviation of 3 draws" in shown
    assert "critical   fc1, fc2" in shown
    assert "robust     fc3, output" in shown


def test_rows_stand_in_order_of_depth_and_the_whole_network_apart(complete):
    lines = text(complete).splitlines()
    starts = [line.split()[0] if line.split() else "" for line in lines]
    first = starts.index("fc1")
    assert starts[first : first + 6] == ["fc1", "fc2", "fc3", "output", "", "whole"]


def test_partial_missing_and_damaged_have_marks(store):
    run = fakes.partial_run(store)
    fakes.damage(run, Cell(0, 2))
    shown = text(take_picture(run))
    row = next(line for line in shown.splitlines() if line.startswith("fc1"))
    assert "~9" in row, "one draw of three"
    assert "×" in row
    assert row.count("·") == 6
    assert "53.4" not in row, "a damaged cell is never a number"
    assert "· not measured   ~ estimate   × damaged" in shown


def test_estimates_are_told_from_exact_numbers(store):
    run = fakes.partial_run(store)
    lines = text(take_picture(run)).splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("fc", "output"))}
    assert rows["fc1"] == ["~91.4", "~77.8", "~53.4", "~36.9", *"······"], "one draw of three; 4,000 of 10,000 examples"
    assert rows["fc2"][0].startswith("94.4±"), "three draws on all examples"
    assert next(line for line in lines if line.startswith("whole")).split()[2:4] == ["90.4", "15.0"]
    widest = max((e.high - e.low) / 2 for e in run.probe().results().estimates.values())
    assert lines[-1] == f"13 of 57 cells exact, 38 not measured; widest interval ±{100 * widest:.1f} points"


def test_a_picture_that_is_exact_says_so(complete):
    shown = text(complete)
    assert shown.splitlines()[-1] == "All 57 cells exact"
    assert "~" not in shown.replace("~ estimate", "")


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_kind_of_column_has_its_place(store, width: int):
    picture = take_picture(fakes.kinds_run(store))
    lines = text(picture, width=width).splitlines()
    assert max(map(len, lines)) <= width
    end = next(i for i, line in enumerate(lines) if line.startswith("test error"))
    heads = [line for line in lines[3:end] if line.split()[-1:] == ["100"] or line.lstrip().startswith("random")]
    assert " ".join(heads).split() == [column.label for column in picture.columns]
    for head in heads:
        title = lines[lines.index(head) - 1]
        if "re-initialised" in title:
            start = title.index("re-initialised at checkpoint")
            before = head[:start].split()
            assert not [label for label in before if label.isdecimal()], "it stands above checkpoints only"
            assert all(label.isdecimal() for label in head[start:].split())
    # Numbers end below their heads, one free column at the right; draws have their spread.
    first = lines[lines.index(heads[0]) + 1]
    assert "89.9±" in first
    assert "9.9±" in first
    zero = heads[0].index("zero") + 4
    assert first[:zero].endswith("~96.7")
    assert lines[lines.index(first) + 5].startswith("fc2+fc3")
    assert lines[lines.index(first) + 4] == "", "a blank line before what is joint"


def test_a_wide_spread_keeps_a_blank_before_the_next_column(store):
    run = fakes.kinds_run(store)
    for draw, error in enumerate((0.4, 0.95, 0.99)):
        run.probe().write(Cell(3, 0, draw), fakes.estimate(error, n=1_000), durable=False)
    rows = [
        line
        for line in text(take_picture(run), width=120).splitlines()
        if line.startswith(("fc1", "fc2 ", "fc3", "output"))
    ]
    assert rows[3].split()[:3] == ["output", "~78.0±33.0", "~10.2±0.3"]
    assert len({row.index("~", row.index("~") + 1) for row in rows[:4]}) == 1, "the next column stands straight"


def test_meanings_verdicts_and_fallbacks_of_every_kind(store):
    run = fakes.kinds_run(store)
    shown = text(take_picture(run), width=100)
    for line in (
        "random: re-randomised", "shuffle: weights in another order", "zero: weights set to 0",
        "where ± stands: mean ± standard deviation of 2 to 3 draws",
        "At checkpoint 0 (robust: at most 5 points above the trained network):",
        "Set to zero:", "Shuffled:", "With noise of 0.1:", "50 % of the way from 0:",
        "undecided  fc2+fc3",
        "Measured by full forwards: output (its input is altered in place)",
    ):  # fmt: skip
        assert line in shown.splitlines(), line
    assert "Re-randomised:" not in shown
    run.probe().write_fallback("fc1", "zero", "\x1b[31mred")
    run.probe().write_fallback("fc1", "noise", "\x1b[31mred")
    assert shown.count("\x1b") == 0
    last = text(take_picture(run), width=150).splitlines()[-1]
    assert last.endswith(r"fc1 [noise, zero] (\x1b[31mred); output (its input is altered in place)")
    assert "Note:" not in shown
    run.probe().write_note("batches", "examples know of \x1b[31m each other")
    assert text(take_picture(run), width=150).splitlines()[-1] == r"Note: examples know of \x1b[31m each other"


def test_a_language_model_is_told_with_loss_and_perplexity(store):
    facts = {"classes": 10, "positions": 16}
    picture = take_picture(fakes.complete_run(store, "words", data_facts=facts))
    assert picture.baseline is not None
    loss = picture.baseline.loss
    said = f"next-token test error 1.52 %, loss {loss:.3f} nats, perplexity {math.e**loss:.1f}, n = 10,000"
    assert said in text(picture, width=120)
    assert "erplexity" not in text(take_picture(fakes.complete_run(store)), width=120)


def test_a_probe_of_one_kind_only(store):
    info = fakes.probe_info(fakes.FCN_SIZES, columns=(fakes.KINDS[3], fakes.KINDS[-1]), checkpoints=(100,))
    run = store.create_run(fakes.run_info("pruned"), info)
    fakes.commit_cells(run.probe())
    shown = text(take_picture(run))
    assert "Set to zero (robust: at most 5 points above the trained network):" in shown
    assert "At checkpoint" not in shown
    assert shown.splitlines()[4].split() == ["zero", "100"]


def test_a_run_without_results_says_so(store):
    shown = text(take_picture(fakes.training_run(store)))
    assert "interrupted, epoch 42 of 100" in shown
    assert "trained network: not measured yet" in shown
    assert "critical" not in shown


def test_more_columns_than_fit_come_in_groups(complete):
    lines = text(complete, width=50).splitlines()
    assert max(map(len, lines)) <= 50
    assert sum(line.startswith("fc1 ") for line in lines) > 1
    digits = [word for line in lines if line.startswith("fc1 ") for word in line.split()[1:]]
    assert digits == ["89.9±1.8", "77.8", "53.4", "36.9", "25.6", "5.0", "1.6", "1.5", "1.5", "1.5"]


def test_digits_are_the_same_with_and_without_colours(complete):
    import re

    coloured = text(complete, colours="truecolor")
    assert "\x1b[" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line for line in plain.splitlines() if "fc" in line] == [
        line for line in text(complete).splitlines() if "fc" in line
    ]


@pytest.mark.parametrize("metric", ["loss", "agreement", "l2", "linf"])
def test_other_metrics(complete, metric: str):
    shown = text(complete, metric)
    assert max(map(len, shown.splitlines())) <= 80
    assert "±" not in shown, "the spread is that of the errors"
    row = next(line for line in shown.splitlines() if line.startswith("fc1"))
    assert len(row.split()) == (10 if metric in ("l2", "linf") else 11)


def test_infinite_and_undefined_losses_are_words(store):
    run = fakes.training_run(store)
    run.probe().write(Cell(0, 1), Estimate(0.1, 0.1, 0.1, float("inf"), 0.9, 10, 10))
    run.probe().write(Cell(0, 2), Estimate(0.1, 0.1, 0.1, float("nan"), 0.9, 10, 10))
    row = next(line for line in text(take_picture(run), "loss").splitlines() if line.startswith("fc1"))
    assert row.split()[2:4] == ["inf", "nan"]


def test_names_from_files_are_inert(store):
    run = fakes.complete_run(store, fakes.EVIL, model="[red]m", data="\x1b]0;title\x07")
    shown = text(take_picture(run))
    assert "\x1b" not in shown
    assert "\\x1b[31m[bold]x[/bold]\\x1b[0m" in shown
    assert "[red]m" in shown


def test_long_names_keep_their_end():
    assert shorten("encoder.layers.11.attention", 14) == "….11.attention"
    assert shorten("short", 14) == "short"
    assert shorten("a\x1bb", 14) == "a\\x1bb"


def test_print_heatmap_prints_to_the_console_given(complete):
    stream = io.StringIO()
    print_heatmap(complete, "error", Console(file=stream, width=100))
    assert "fc1" in stream.getvalue()
