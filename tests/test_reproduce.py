"""What is copied from a heatmap: a cell as a line, a row as a table, and a command that gives the very number again."""

import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import fakes
import pytest
from lyrx.engine.specfile import parse_override
from lyrx.explorer.cli import app
from lyrx.explorer.core.copying import cell_line, command, quoted, row_tsv, unlike
from lyrx.explorer.core.picture import Picture, take_picture
from lyrx.store import Cell, Run, Store
from running import batch
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Picture:
    return take_picture(fakes.kinds_run(Store.open_or_create(tmp_path_factory.mktemp("kinds") / "s.zarr")))


def test_a_cell_is_one_line_with_all_its_numbers(picture):
    line = cell_line(picture, 0, 7)
    assert line.startswith(f"fcn-kinds, probe {picture.probe.id}, fc1 at checkpoint 8: error ")
    cell = picture.cell(0, 7)
    assert cell is not None
    for part in (
        f"~{100 * cell.error:.2f} %",
        f"95 % interval {100 * cell.low:.2f} to {100 * cell.high:.2f} %",
        f"n = {cell.n:,} of 10,000",
        f"loss {cell.loss:.4g}",
        f"agreement {100 * cell.agreement:.2f} %",
        "distance from initialisation l2 ",
    ):
        assert part in line
    assert "\n" not in line
    drawn = cell_line(picture, 0, 0)
    known = picture.cell(0, 0)
    assert known is not None
    assert known.spread is not None
    assert f"mean of 3 draws ({' '.join(f'{100 * draw.error:.2f}' for draw in known.draws)})" in drawn
    assert f"standard deviation {100 * known.spread:.2f}" in drawn


def test_a_cell_without_a_number_says_so(picture):
    lacking = replace(picture, cells={}, distances={}, probe=replace(picture.probe, unavailable={(0, 6): "no fc1"}))
    assert cell_line(lacking, 1, 6).endswith("fc2 at checkpoint 0: not measured")
    assert cell_line(lacking, 0, 6).endswith("fc1 at checkpoint 0: not available (no fc1)")


def test_a_row_is_a_table_with_heads_and_states(picture):
    heads, values, states = (line.split("\t") for line in row_tsv(picture, "error", [0]).splitlines())
    assert heads == ["error", *(column.label for column in picture.columns)]
    assert values[0] == "fc1"
    assert [float(value) for value in values[1:]] == [picture.value("error", 0, c) for c in range(len(heads) - 1)]
    assert states[0] == "fc1 state"
    assert set(states[1:]) <= {"exact", "estimate"}
    network = row_tsv(picture, "error", [None]).splitlines()
    assert network[0].split("\t") == ["error", "0", "8", "100"]
    assert network[1].startswith("whole network\t")


@pytest.mark.parametrize("word", ["a b", "it's", "\x1b[31m\n$(touch x)`", "ü*?[", "\\", "'\n'", "-x", "a\u202eb"])
def test_words_come_back_from_a_shell_and_pasting_them_does_nothing_else(word: str):
    import subprocess

    text = quoted(word)
    assert text.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {text}"], capture_output=True, check=True)
    assert done.stdout.decode() == word


def plain(name: str, **settings: object) -> Picture:
    """A picture of a run whose spec has settings of its own, without any number."""
    info = fakes.probe_info({"fc1": 10, name: 20}, settings={"tolerance": 0.05, **settings})
    run = fakes.run_info("run it", spec={"probe": {"granularity": "layer", "draws": 3, "joint": [["a", "b"]]}})
    return Picture(run, info, "complete", {}, {}, (), ())


def test_names_are_patterns_only_where_they_are_escaped():
    words = shlex.split(command(plain("a[0]*"), Path("/s t/x.zarr"), 1, 2))
    assert words[:3] == ["lyrx", "probe", "--exact"]
    assert words[-1] == "run it"
    assert words[words.index("--store") + 1] == "/s t/x.zarr"
    assert words[words.index("--layers") + 1] == "a[[]0][*]"
    assert words[words.index("--at") + 1] == "1"
    assert parse_override(words[words.index("--set") + 1]) == ("probe.joint", []), "the spec's joint rows cost time"


def test_settings_that_differ_from_the_specs_are_said():
    picture = plain("x", norm_statistics="reestimated", norm_batches=7, precision="bf16")
    words = shlex.split(command(picture, Path("s"), 0, 1))
    said = dict(parse_override(word) for before, word in pairwise(words) if before == "--set")
    assert said == {
        "probe.norm_statistics": "reestimated",
        "probe.norm_batches": 7,
        "probe.precision": "bf16",
        "probe.joint": [],
    }
    rows = plain("x", granularity="patterns", patterns={'lo"w': ["fc*", "ü"]})
    rows = replace(rows, probe=replace(rows.probe, granularity="patterns"))
    words = shlex.split(command(rows, Path("s"), 0, 1))
    said = dict(parse_override(word) for before, word in pairwise(words) if before == "--set")
    assert said["probe.granularity"] == "patterns"
    assert said["probe.patterns"] == {'lo"w': ["fc*", "ü"]}


def test_a_run_whose_name_looks_like_an_option():
    picture = plain("x")
    text = command(replace(picture, run=replace(picture.run, name="-r")), Path("-s"), 0, 1)
    assert text.endswith(" -- -r")
    assert "--store=-s" in text


# The command gives the very number


@pytest.fixture(scope="module")
def probed(tmp_path_factory) -> tuple[Path, Run]:
    """A trained run with drawn columns, others, and a joint row; cells are estimates or exact, as they came."""
    store = tmp_path_factory.mktemp("reproduce") / "s.zarr"
    run, _ = batch(
        store,
        run={"name": "it's [a] run"},
        probe={"draws": 2, "at": ["random", "noise:0.5", "0", "1", "path:0.5"], "joint": [["fc1", "fc2"]]},
    )
    return store, run


def again(text: str, run: Run) -> Picture:
    """Run the command line that was copied; the picture of the probe that it made."""
    before = {probe.info.id for probe in run.probes()}
    program, *words = shlex.split(text)
    assert program == "lyrx"
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    made = [probe for probe in run.probes() if probe.info.id not in before]
    assert len(made) == 1, text
    return take_picture(run, made[0])


@pytest.mark.parametrize(
    ("layer", "column"),
    [("fc1", "0"), ("fc2", "random"), ("output", "noise:0.5"), ("fc1+fc2", "1"), ("fc1+fc2", "random"), (None, "1")],
)
def test_the_command_gives_the_very_number(probed, layer: str | None, column: str):
    store, run = probed
    picture = take_picture(run, run.probes()[0])
    row = None if layer is None else picture.layer_names.index(layer)
    at = [head.label for head in picture.columns].index(column)
    known = picture.cell(row, at)
    assert known is not None
    made = again(command(picture, store, row, at), run)
    found = made.cell(
        None if layer is None else made.layer_names.index(layer), [head.label for head in made.columns].index(column)
    )
    assert found is not None
    if unlike(picture, row, at):
        assert len({draw.n for draw in known.draws}) > 1, "draws that saw different numbers of examples"
        assert found.exact
    else:
        assert (found.error, found.n, found.total) == (known.error, known.n, known.total)
        assert [draw.error for draw in found.draws] == [draw.error for draw in known.draws]
        assert found.loss == pytest.approx(known.loss, rel=1e-5)
    assert len([one for one in made.probe.layers if not one.joint]) == 1, "one row, not all of them"


def test_the_command_of_an_estimate_sees_the_same_examples(probed):
    store, run = probed
    probe = run.probes()[0]
    picture = take_picture(run, probe)
    # An estimate of the engine's own: 64 of the examples.
    at = [head.label for head in picture.columns].index("1")
    made = again(command(_limited(picture, 64), store, 0, at), run)
    estimate = made.cell(0, [head.label for head in made.columns].index("1"))
    assert estimate is not None
    assert (estimate.n, estimate.exact) == (64, False)
    column = [head.label for head in made.columns].index("1")
    text = command(made, store, 0, column)
    assert "--examples 64" in text
    # It is the probe that there is already: nothing to measure, and the same number.
    done = CliRunner().invoke(app, shlex.split(text)[1:])
    assert done.exit_code == 0, done.output
    same = take_picture(run, run.probe(made.probe.id)).cell(0, column)
    assert same is not None
    assert same.error == estimate.error


def _limited(picture: Picture, examples: int) -> Picture:
    """The picture of a probe that looks at so many examples, before anything is measured."""
    settings = {**picture.probe.settings, "examples": examples}
    return replace(picture, cells={}, probe=replace(picture.probe, settings=settings))


def test_a_cell_not_measured_yet_has_a_command_too(probed):
    store, run = probed
    picture = take_picture(run, run.probes()[0])
    text = command(replace(picture, cells={}), store, 0, 2)
    assert "--exact" in text
    assert Cell(0, 2) in picture.probe.cells()
