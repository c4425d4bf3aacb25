"""Taking a comparison away from the app, by keys and by mouse; what is written against the two runs' own estimates."""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from statistics import fmean

import comparable
import pytest
from comparable import FIRST, WORSE
from comparing import opened, screen
from driving import app, line, screen_text, settle
from lyrx.explorer.core.copying import cell_line, command, row_tsv
from lyrx.explorer.core.picture import Picture, take_picture
from lyrx.explorer.screens.compare import CompareScreen
from lyrx.explorer.widgets.choice import Choice, places
from lyrx.store import Store
from PIL import Image
from taking import choice, dialog, path
from textual.pilot import Pilot

NAME = f"{WORSE}-minus-{FIRST}-error"


@pytest.fixture(scope="module")
def filled_here(tmp_path_factory):
    path = tmp_path_factory.mktemp("taken") / "lyrx.zarr"
    comparable.fill(path)
    return path


@pytest.fixture
def store(filled_here, state, tmp_path, monkeypatch):
    """The store; what is written goes to a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return filled_here


async def asked(pilot: Pilot, *keys: str) -> None:
    await pilot.press(*keys, "w")
    await settle(pilot)


def independent(a: Picture, b: Picture, layer: str, label: str) -> tuple[float, float, float, float] | None:
    """(difference, low, high, level) of the errors at a place, from the draws' own numbers; None without both."""
    ends = []
    for picture in (a, b):
        names = [None, *picture.layer_names]
        row = None if layer == "whole network" else names.index(layer) - 1
        column = [column.label for column in picture.columns].index(label)
        cell = picture.cells.get((row, column))
        if cell is None or not cell.draws:
            return None
        ends.append(cell.draws)
    (old, new), levels = ends, (1.0, 0.95, 0.9)
    value = fmean(draw.error for draw in new) - fmean(draw.error for draw in old)
    low = fmean(draw.low for draw in new) - fmean(draw.high for draw in old)
    high = fmean(draw.high for draw in new) - fmean(draw.low for draw in old)
    rough = sum(any(draw.n < draw.total for draw in draws) for draws in ends)
    return value, low, high, levels[rough]


def of(store: Path, run: str) -> Picture:
    return take_picture(Store.open(store).run(run))


def number(text: str) -> float | None:
    return float(text) if text else None


async def test_enter_writes_the_whole_difference_as_csv_and_the_note_says_where(store):
    async with app(store).run_test(size=(80, 24)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await asked(pilot)
        assert (choice(pilot, "what"), choice(pilot, "format")) == ("difference B − A", "CSV")
        assert path(pilot).value == f"{NAME}.csv"
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, CompareScreen)
        assert "wrote " in line(pilot, "#note")
    lines = list(csv.DictReader(io.StringIO(Path(f"{NAME}.csv").read_text(), newline="")))
    a, b = of(store, FIRST), of(store, WORSE)
    assert {line["layer"] for line in lines} == {"fc1", "fc2", "fc3", "output", "whole network"}, "'skip' is B's alone"
    assert len(lines) == 4 * 10 + 9
    open_signs = 0
    for row in lines:
        expected = independent(a, b, row["layer"], row["column"])
        told = [number(row[key]) for key in ("difference", "difference_low", "difference_high", "difference_level")]
        if expected is None:
            assert told == [None] * 4
            assert row["state_b"] == "not measured"
            continue
        assert told == pytest.approx(list(expected))
        value, low, high, _ = expected
        sign = "higher" if low > 0 else "lower" if high < 0 else "equal" if low == high == 0 else "open"
        assert row["sign"] == sign
        open_signs += sign == "open"
        assert value == pytest.approx(float(row["value_b"]) - float(row["value_a"]))
    assert open_signs > 5


async def test_the_difference_as_json_by_keys_from_the_difference_turned_round(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await asked(pilot, "D", "r", "m")
        assert choice(pilot, "what") == "difference A − B"
        await pilot.press("tab", "right")
        await pilot.pause()
        assert path(pilot).value == f"{FIRST}-minus-{WORSE}-loss.json"
        await pilot.press("enter")
        await settle(pilot)
    found = json.loads(Path(f"{FIRST}-minus-{WORSE}-loss.json").read_text())
    assert (found["metric"], found["a"]["run"], found["b"]["run"]) == ("loss", WORSE, FIRST)
    first, worse = of(store, FIRST), of(store, WORSE)
    seen = 0
    for place in found["places"]:
        name = None if place["layer"] is None else found["layers"][place["layer"]]
        values = []
        for picture in (worse, first):
            row = None if name is None else picture.layer_names.index(name)
            cell = picture.cells.get((row, place["column"]))
            values.append(fmean(draw.loss for draw in cell.draws) if cell else None)
        if None in values:
            assert place["difference"] is None
        else:
            assert place["difference"] == pytest.approx(values[1] - values[0])
            seen += 1
    assert seen == 4 * 10 + 9 - 1


@pytest.mark.parametrize(
    ("steps", "suffix", "start"),
    [(2, ".svg", b"<?xml"), (3, ".png", b"\x89PNG"), (4, ".txt", f"B − A: {WORSE} − {FIRST}".encode())],
    ids=["svg", "png", "txt"],
)
async def test_the_map_as_a_picture_and_as_text(store, steps: int, suffix: str, start: bytes):
    async with app(store).run_test(size=(80, 24)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await asked(pilot)
        await pilot.press("tab", *["right"] * steps, "enter")
        await settle(pilot)
    data = Path(NAME + suffix).read_bytes()
    assert data.startswith(start)
    if suffix == ".svg":
        said = [str(text.text) for text in ElementTree.fromstring(data).iter("{http://www.w3.org/2000/svg}text")]
        for word in ("−12.0", "skip (only B)", "whole network", "−50", "+50"):
            assert word in said
    elif suffix == ".txt":
        first = next(line for line in data.decode().splitlines() if line.startswith("fc1 "))
        assert first.split()[2] == "−12.0"
    else:
        assert Image.open(io.BytesIO(data)).width > 400


async def test_all_runs_and_the_screen_by_mouse(store):
    async with app(store).run_test(size=(100, 30)) as pilot:
        await opened(pilot, FIRST, WORSE, "fcn-kinds")
        before = [row.rstrip() for row in screen_text(pilot)]
        await asked(pilot)
        await click(pilot, "what", 1)
        assert choice(pilot, "what") == "all runs"
        assert path(pilot).value == f"{FIRST}-{WORSE}-fcn-kinds.csv"
        await write(pilot)
        assert isinstance(pilot.app.screen, CompareScreen)
        lines = list(csv.DictReader(io.StringIO(Path(f"{FIRST}-{WORSE}-fcn-kinds.csv").read_text(), newline="")))
        assert {line["run"] for line in lines} == {FIRST, WORSE, "fcn-kinds"}
        picture = of(store, WORSE)
        told = {(line["layer"], line["column"]): line["error"] for line in lines if line["run"] == WORSE}
        for (layer, column), cell in picture.cells.items():
            name = "whole network" if layer is None else picture.layer_names[layer]
            assert float(told[name, picture.columns[column].label]) == pytest.approx(fmean(d.error for d in cell.draws))
        # The note has changed: the screen as it is now.
        await pilot.press("right")
        await settle(pilot)
        before = [row.rstrip() for row in screen_text(pilot)]
        await asked(pilot)
        await click(pilot, "what", 2)
        assert choice(pilot, "what") == "screenshot"
        await click(pilot, "format", 2)
        assert "letter by letter" in line(pilot, "#about")
        await write(pilot)
    assert Path("comparison-screen.txt").read_text().splitlines() == before


async def click(pilot: Pilot, name: str, number: int) -> None:
    """Click one of the choices on a line."""
    found = dialog(pilot).query_one(f"#{name}", Choice)
    start, end = places(found.titles, found.size.width)[number]
    await pilot.click(f"#{name}", offset=((start + end) // 2, 0))
    await pilot.pause()


async def write(pilot: Pilot) -> None:
    """Click `write` in the line of keys."""
    rows = screen_text(pilot)
    y = next(number for number, row in enumerate(rows) if "⏎ write" in row or "enter write" in row)
    await pilot.click(offset=(rows[y].index("write"), y))
    await settle(pilot)


async def test_nothing_is_written_over_without_a_question(store):
    there = Path(f"{NAME}.csv")
    there.write_text("precious")
    async with app(store).run_test(size=(80, 24)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await asked(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert there.read_text() == "precious"
        assert "is there already (8 bytes)" in line(pilot, "#told")
        await pilot.press("escape")
        await settle(pilot)
        assert there.read_text() == "precious"
        await asked(pilot)
        await write(pilot)
        assert there.read_text() == "precious", "by mouse neither"
        await write(pilot)
        assert there.read_text().startswith("layer,column,metric")


async def test_what_is_folded_and_sorted_is_drawn_so_and_the_table_has_every_layer(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, "vit-b16", "vit-b16-again")
        await asked(pilot, "Z")
        name = path(pilot).value.removesuffix(".csv")
        await pilot.press("tab", "right", "right", "enter")
        await settle(pilot)
        await asked(pilot)
        await pilot.press("enter")
        await settle(pilot)
        layers = screen(pilot).shown[0].layer_names
    drawn = Path(f"{name}.svg").read_text()
    assert "(3)</text>" in drawn
    assert "attention</text>" not in drawn
    table = list(csv.DictReader(io.StringIO(Path(f"{name}.csv").read_text(), newline="")))
    assert {line["layer"] for line in table} == {*layers, "whole network"}


async def test_without_a_difference_there_are_the_runs_and_the_screen(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, "vit-b16")
        await asked(pilot)
        assert [offer.title for offer in dialog(pilot).offers] == ["all runs", "screenshot"]
        await pilot.press("escape", "escape")
        await settle(pilot)
        await opened(pilot, "no-such-run", "neither-this-one")
        await asked(pilot)
        assert [offer.title for offer in dialog(pilot).offers] == ["screenshot"]
        await pilot.press("right", "right", "enter")
        await settle(pilot)
    assert "no-such-run" in Path("comparison-screen.txt").read_text()


# Copying


async def to(pilot: Pilot, layer: str, label: str) -> None:
    """The cursor of the heatmap that counts goes there."""
    screen(pilot).leader.go_to(layer, label)
    await settle(pilot)


def at(picture: Picture, layer: str, label: str) -> tuple[int, int]:
    return picture.layer_names.index(layer), [column.label for column in picture.columns].index(label)


async def test_the_chosen_runs_cell_row_and_command_are_copied_by_keys(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await to(pilot, "fc2", "0")
        for run, letter in ((FIRST, "A"), (WORSE, "B")):
            picture = of(store, run)
            spot = at(picture, "fc2", "0")
            await pilot.press("y")
            assert pilot.app.clipboard == cell_line(picture, *spot)
            assert f"copied {letter}'s cell: {run}" in line(pilot, "#note")
            await pilot.press("Y")
            assert pilot.app.clipboard == row_tsv(picture, "error", [spot[0]])
            await pilot.press("u")
            assert pilot.app.clipboard == command(picture, store.absolute(), *spot)
            await pilot.press("tab")
            await settle(pilot)


async def test_the_cell_is_that_of_the_run_that_was_clicked_and_the_row_that_of_the_metric(store):
    async with app(store).run_test(size=(200, 50)) as pilot:
        await opened(pilot, FIRST, WORSE)
        worse = screen(pilot).panes()[1].map
        await pilot.click(worse, offset=(worse.size.width // 2, 4))
        await settle(pilot)
        assert screen(pilot).chosen == 1
        await pilot.press("m", "y")
        assert pilot.app.clipboard.startswith(f"{WORSE}, probe ")
        await pilot.press("Y")
        picture, key = of(store, WORSE), screen(pilot).leader.row_key
        assert pilot.app.clipboard == row_tsv(picture, "loss", [picture.layer_names.index(str(key))])


async def test_the_whole_networks_row_and_a_layer_that_one_run_lacks(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await pilot.press("G", "Y")
        assert pilot.app.clipboard == row_tsv(of(store, FIRST), "error", [None])
        before = pilot.app.clipboard
        await to(pilot, "skip", "8")
        for key in ("y", "Y", "u"):
            await pilot.press(key)
            assert "A has no such layer: tab goes to the next run" in line(pilot, "#note")
        assert pilot.app.clipboard == before
        await pilot.press("tab", "y")
        worse = of(store, WORSE)
        assert pilot.app.clipboard == cell_line(worse, *at(worse, "skip", "8"))


async def test_a_folded_row_is_its_layers_and_its_cell_the_worst_of_them(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, "vit-b16", "vit-b16-again")
        await pilot.press("Z")
        await settle(pilot)
        await pilot.press("down")
        picture, row, label = of(store, "vit-b16"), screen(pilot).leader.row, screen(pilot).leader.column_label
        assert row is not None
        assert len(row.layers) > 1
        await pilot.press("Y")
        assert pilot.app.clipboard == row_tsv(picture, "error", row.layers)
        await pilot.press("y")
        column = [column.label for column in picture.columns].index(str(label))
        worst = max(row.layers, key=lambda layer: picture.value("error", layer, column) or 0)
        assert pilot.app.clipboard == cell_line(picture, worst, column)


async def test_of_a_difference_it_is_copied_with_both_cells_and_both_commands(store):
    first, worse = of(store, FIRST), of(store, WORSE)
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await pilot.press("D")
        await to(pilot, "fc2", "0")
        await pilot.press("y")
        found = independent(first, worse, "fc2", "0")
        assert found is not None
        value, low, high, level = found
        ends = "exact" if level == 1 else f"{100 * low:+.2f} to {100 * high:+.2f} (≥ {100 * level:.0f} %)"
        said = f"B − A, fc2 at checkpoint 0: difference of the error {100 * value:+.2f} points, {ends}; "
        cells = [cell_line(picture, *at(picture, "fc2", "0")) for picture in (first, worse)]
        assert pilot.app.clipboard == f"{said}A: {cells[0]}; B: {cells[1]}"
        await pilot.press("u")
        commands = [command(picture, store.absolute(), *at(picture, "fc2", "0")) for picture in (first, worse)]
        assert pilot.app.clipboard == " && ".join(commands)
        await pilot.press("Y")
        table = [row.split("\t") for row in pilot.app.clipboard.splitlines()]
        assert table[0][0] == "error"
        assert [row[0] for row in table[1:]] == [
            "fc2 B − A", "fc2 B − A low", "fc2 B − A high", "fc2 A", "fc2 B",
        ]  # fmt: skip
        for number, label in enumerate(table[0][1:], start=1):
            told = independent(first, worse, "fc2", label)
            assert told is not None
            assert [float(row[number]) for row in table[1:4]] == pytest.approx(list(told[:3]))
            assert float(table[5][number]) - float(table[4][number]) == pytest.approx(told[0])
        # Turned round it is the other way round.
        await pilot.press("r", "y")
        assert pilot.app.clipboard.startswith("A − B, fc2 at checkpoint 0: ")
        assert f"difference of the error −{100 * value:.2f} points" in pilot.app.clipboard
        await to(pilot, "skip", "0")
        await pilot.press("y")
        assert "unknown (it needs a number in both)" in pilot.app.clipboard
        await pilot.press("u")
        assert "no command measures this difference: A has no such place" in line(pilot, "#note")


async def test_where_there_is_no_cell_nothing_is_copied_and_why_is_said(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await pilot.press("K")
        for key in ("y", "Y", "u"):
            await pilot.press(key)
            assert "no cell among the curves" in line(pilot, "#note")
        await pilot.press("escape")
        await settle(pilot)
        await opened(pilot, FIRST, "vit-b16")
        for keys in (("y",), ("D", "y"), ("u",)):
            await pilot.press(*keys)
            assert "no layer in common" in line(pilot, "#note")
        assert pilot.app.clipboard == ""


async def test_copying_is_in_help_and_palette_and_works_from_there_by_mouse(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await to(pilot, "fc1", "8")
        await pilot.press("question_mark")
        await settle(pilot)
        said = "\n".join(screen_text(pilot))
        for words in ("copy the cell", "copy the row", "copy the command for the cell"):
            assert words in said
        await pilot.press("escape", "ctrl+p", *"copy the row")
        await settle(pilot)
        await pilot.click("#found", offset=(4, 0))
        await settle(pilot)
        picture = of(store, FIRST)
        assert pilot.app.clipboard == row_tsv(picture, "error", [picture.layer_names.index("fc1")])
