"""The words typed after `/`, and the order of the table of runs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lyrx.explorer.core.query import KEYS, NUMBERS, ordered, parse
from lyrx.explorer.core.runrow import RunRow, kind_of, patience, share, span, state_words

NOW = 1_000_000_000.0
DAY = 86_400.0

BASE = RunRow(
    "resnet18-seed1", "ResNet-18", "CIFAR-10", "complete", 0.048, 100, 100, 57, 57, 57, layers=20, checkpoints=9,
    planned=9, created=NOW - DAY, touched=NOW - 60, trained=True, epoch_seconds=20.0,
)  # fmt: skip
ROWS = [
    BASE,
    replace(BASE, name="resnet18-seed2", status="training", error=0.31, epoch=12, cells=0, exact=0, open=57,
            trained=False, created=NOW - 600),
    replace(BASE, name="vit", model="ViT-B/16", data="ImageNet", status="probing", error=0.22, layers=50, cells=40,
            exact=10, open=30, created=NOW - 3 * DAY),
    replace(BASE, name="fcn one", model="FCN 3 x 256", data="MNIST", status="interrupted", error=None, epoch=None,
            failure="CUDA out of memory", layers=4, trained=False, created=NOW - 30 * DAY),
    replace(BASE, name="mixer", model="Mixer-B/16", status="probing", touched=NOW - 7200, created=NOW - 9 * DAY),
    replace(BASE, name="old", status="interrupted", error=0.05, exact=3, open=5, cells=55, created=NOW - 400 * DAY),
    replace(BASE, name="new", status=None, error=None, epoch=None, cells=0, wanted=0, created=NOW - 1),
]  # fmt: skip


def found(text: str) -> list[str]:
    query = parse(text)
    assert not query.problem, query.problem
    return [row.name for row in query.select(ROWS, NOW)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", [row.name for row in ROWS]),
        ("   ", [row.name for row in ROWS]),
        ("RESNET", ["resnet18-seed1", "resnet18-seed2", "old", "new"]),
        ("resnet seed", ["resnet18-seed1", "resnet18-seed2"]),
        ("seed imagenet", []),
        ('"n one"', ["fcn one"]),
        ('"n one', ["fcn one"]),
        ("error<0.05", ["resnet18-seed1", "mixer"]),
        ("error<5%", ["resnet18-seed1", "mixer"]),
        ("error<=5%", ["resnet18-seed1", "mixer", "old"]),
        ("error<5e-2 -mixer", ["resnet18-seed1"]),
        ("error>.2", ["resnet18-seed2", "vit"]),
        ("epoch>=10 epoch<20", ["resnet18-seed2"]),
        ("layers>20", ["vit"]),
        ("layers=4", ["fcn one"]),
        ("cells<57 cells>0", ["vit", "old"]),
        ("missing=2", ["old"]),
        ("age<2d", ["resnet18-seed1", "resnet18-seed2", "new"]),
        ("age<15min", ["resnet18-seed2", "new"]),
        ("age>1y", ["old"]),
        ("state:running", ["resnet18-seed2", "vit", "mixer"]),
        ("state:run", ["resnet18-seed2", "vit", "mixer"]),
        ("state:failed", ["fcn one"]),
        ("state:stalled", ["mixer"]),
        ("state:interrupted", ["old"]),
        ("state!=running state!=complete", ["fcn one", "old", "new"]),
        ("-state:running -state:complete", ["fcn one", "old", "new"]),
        ("model:resnet", ["resnet18-seed1", "resnet18-seed2", "old", "new"]),
        ("name:resnet data:cifar", ["resnet18-seed1", "resnet18-seed2"]),
        ("model!=resnet", ["vit", "fcn one", "mixer"]),
        ('model:"3 x"', ["fcn one"]),
        ("-resnet", ["vit", "fcn one", "mixer"]),
        ("resnet -", ["resnet18-seed1", "resnet18-seed2", "old", "new"]),
        ("cells", []),
        ("noise:1", []),
    ],
)
def test_what_is_meant(text: str, names: list[str]):
    assert found(text) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("eror<5", ["'eror'", "error, epoch"]),
        ("error<", ["error<5%"]),
        ("error<x", ["'x' is no number"]),
        ("epoch<5%", ["'5%' is no number"]),
        ("age<2", ["unit", "age<2d"]),
        ("age<2q", ["unit"]),
        ("state:", ["running, training, probing"]),
        ("state:dead", ["'dead'", "failed"]),
        ("state<3", ["state:3"]),
        ("model<3", ["model:word"]),
    ],
)
def test_what_is_wrong_is_said_and_the_rest_counts(text: str, words: list[str]):
    query = parse(f"resnet {text} seed1")
    for word in words:
        assert word in query.problem
    assert [row.name for row in query.select(ROWS, NOW)] == ["resnet18-seed1"]


@given(st.text(max_size=40) | st.text("erosatmdl<>=:!-%. \"'05d", max_size=20))
def test_nothing_typed_raises_and_what_is_found_is_some_of_the_runs_in_order(text: str):
    query = parse(text)
    chosen = query.select(ROWS, NOW)
    assert [row for row in ROWS if row in chosen] == chosen


@given(st.sampled_from(sorted(NUMBERS)), st.sampled_from(["<", "<=", ">", ">=", "=", "!="]), st.integers(0, 200))
def test_a_number_and_its_contrary_are_all_runs_that_have_the_number(field: str, sign: str, number: int):
    contrary = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "!=", "!=": "="}[sign]
    unit = "d" if field == "age" else ""
    one, other = found(f"{field}{sign}{number}{unit}"), found(f"{field}{contrary}{number}{unit}")
    assert not set(one) & set(other)
    assert set(one) | set(other) == {row.name for row in ROWS if NUMBERS[field](row, NOW) is not None}


@given(st.text(max_size=12))
def test_minus_is_the_contrary_of_a_word(word: str):
    quoted = '"' + word.replace('"', "") + '"'
    if quoted != '""':
        assert sorted(found(quoted) + found(f"-{quoted}")) == sorted(row.name for row in ROWS)


# Order


@pytest.mark.parametrize(
    ("column", "first", "last"),
    [
        ("run", "fcn one", "vit"),
        ("state", "resnet18-seed2", "new"),
        ("model", "fcn one", "vit"),
        ("data", "resnet18-seed1", "fcn one"),
        ("layers", "fcn one", "vit"),
        ("epochs", "resnet18-seed2", "new"),
        ("error", "resnet18-seed1", "new"),
        ("age", "new", "old"),
    ],
)
def test_columns_sort(column: str, first: str, last: str):
    names = [row.name for row in ordered(ROWS, column, NOW)]
    assert (names[0], names[-1]) == (first, last)


@pytest.mark.parametrize("column", KEYS)
def test_turned_round_the_unknown_still_stand_last(column: str):
    up, down = ordered(ROWS, column, NOW), ordered(ROWS, column, NOW, reverse=True)
    assert sorted(row.name for row in up) == sorted(row.name for row in down)
    unknown = [row for row in ROWS if KEYS[column](row, NOW) is None]
    assert up[len(ROWS) - len(unknown) :] == down[len(ROWS) - len(unknown) :] == unknown


def test_numbers_in_names_count():
    rows = [replace(BASE, name=f"seed-{n}") for n in (10, 2, 1)]
    assert [row.name for row in ordered(rows, "run", NOW)] == ["seed-1", "seed-2", "seed-10"]


# States


def test_silence_becomes_a_stall_when_it_is_longer_than_epochs_take():
    training = replace(ROWS[1], touched=NOW - 500)
    assert kind_of(training, NOW) == "training"
    assert kind_of(replace(training, touched=NOW - 700), NOW) == "stalled"
    slow = replace(training, touched=NOW - 700, epoch_seconds=1_000.0)
    assert patience(slow) == 3_000
    assert kind_of(slow, NOW) == "training"
    first = replace(training, touched=NOW - 3_000, epoch=0)
    assert kind_of(first, NOW) == "training", "nobody knows yet how long an epoch takes"
    assert kind_of(replace(ROWS[2], touched=NOW - 1_000), NOW) == "probing"


def test_states_in_words_get_shorter():
    for row, longest in zip(
        ROWS,
        ["● complete", "◐ training epoch 12/100, 12 %", "◑ probing 47 %", "✗ failed CUDA out of memory",
         "◌ stalled at 100 %, 2 h silent", "○ interrupted 91 %", "· …"],
        strict=True,
    ):  # fmt: skip
        words = ["".join(pair) for pair in state_words(row, NOW)]
        assert words[0].strip() == longest
        assert len(words[-1]) == 1
        assert all(word.startswith(words[-1]) for word in words)
    assert share(ROWS[1]) == 0.12


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (3 * 3600, "3 h"), (50 * 3600, "2 d"),
     (400 * DAY, "400 d"), (800 * DAY, "2 y")],
)  # fmt: skip
def test_spans_of_time(seconds: float, text: str):
    assert span(seconds) == text
