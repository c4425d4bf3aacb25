"""Taking numbers away from the app: the dialog that writes files, and what goes to the clipboard."""

import csv
import io
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import fakes
import pytest
from driving import app, heatmap, line, screen_of, screen_text, settle
from lyrx.explorer.core.copying import cell_line, command, row_tsv
from lyrx.explorer.screens.heatmap import HeatmapScreen
from lyrx.explorer.widgets.choice import Choice, places
from lyrx.explorer.widgets.heatmap import Heatmap
from PIL import Image
from taking import choice, dialog, path
from textual.pilot import Pilot

RUN = "fcn-3x256"


async def opened(pilot: Pilot, *keys: str) -> None:
    await settle(pilot)
    await pilot.press(*keys, "w")
    await settle(pilot)


async def test_enter_writes_the_whole_heatmap_as_csv_and_the_note_says_where(own):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert (choice(pilot, "what"), choice(pilot, "format")) == ("whole heatmap", "CSV")
        assert path(pilot).value == "fcn-3x256-error.csv"
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, HeatmapScreen)
        written = Path("fcn-3x256-error.csv")
        note = line(pilot, "#note")
        assert f"wrote {written.absolute()}" in note
        assert "(CSV, " in note
        assert len(list(csv.DictReader(io.StringIO(written.read_text())))) == 49


@pytest.mark.parametrize(
    ("steps", "suffix"),
    [(1, ".csv"), (2, ".json"), (3, ".svg"), (4, ".png"), (5, ".txt")],
    ids=lambda value: str(value),
)
async def test_every_format_by_keys(own, steps: int, suffix: str):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot, "m")
        await pilot.press("tab", *["right"] * steps)
        await pilot.pause()
        assert path(pilot).value == f"fcn-3x256-loss{suffix}"
        await pilot.press("enter")
        await settle(pilot)
        data = Path(f"fcn-3x256-loss{suffix}").read_bytes()
        starts = {
            ".csv": b"run,probe,metric",
            ".json": b"{",
            ".svg": b"<?xml",
            ".png": b"\x89PNG",
            ".txt": b"fcn-3x256",
        }
        assert data.startswith(starts[suffix])


async def test_by_mouse(own):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        shot = dialog(pilot).query_one("#what", Choice)
        start, end = places(shot.titles, shot.size.width)[2]
        await pilot.click("#what", offset=((start + end) // 2, 0))
        await pilot.pause()
        assert (choice(pilot, "what"), choice(pilot, "format")) == ("screenshot", "SVG")
        assert path(pilot).value == "fcn-3x256-screen.svg"
        form = dialog(pilot).query_one("#format", Choice)
        await pilot.click("#format", offset=(places(form.titles, form.size.width)[2][0], 0))
        await pilot.pause()
        assert choice(pilot, "format") == "text"
        rows = screen_text(pilot)
        y = next(number for number, row in enumerate(rows) if "⏎ write" in row or "enter write" in row)
        await pilot.click(offset=(rows[y].index("write"), y))
        await settle(pilot)
        assert "test error" in Path("fcn-3x256-screen.txt").read_text()


async def test_what_is_on_the_screen_is_written_and_nothing_else(own):
    async with app(own, "vit-b16").run_test(size=(64, 16)) as pilot:
        await opened(pilot)
        below = screen_of_below(pilot)
        shown = below.query_one(Heatmap).scene
        assert shown is not None
        seen = {shown.rows[row].name for row in below._on_screen()[0]} - {"whole network"}
        await pilot.press("right", "enter")
        await settle(pilot)
        lines = list(csv.DictReader(io.StringIO(Path("vit-b16-error-part.csv").read_text())))
        picture = screen_of(pilot).picture
        assert picture is not None
        assert 0 < len(seen) < len(picture.layer_names)
        assert {row["layer"] for row in lines} == seen | {"whole network"}
        text = "\n".join(screen_text(pilot))
        assert all(name[-5:] in text for name in seen)


def screen_of_below(pilot: Pilot) -> HeatmapScreen:
    below = pilot.app.screen_stack[-2]
    assert isinstance(below, HeatmapScreen)
    return below


async def test_json_is_always_whole(own):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("tab", "right", "right", "shift+tab", "right")
        await pilot.pause()
        form = dialog(pilot).query_one("#format", Choice)
        assert "JSON" not in form.titles
        assert form.chosen == 0


async def test_a_file_that_is_there_is_written_over_only_when_asked_twice(own):
    there = Path("fcn-3x256-error.csv")
    there.write_text("precious")
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert there.read_text() == "precious"
        assert "is there already (8 bytes)" in line(pilot, "#told")
        await pilot.press("tab", "tab", "end", *["backspace"] * 4, "x", "enter")
        await settle(pilot)
        assert Path("fcn-3x256-errorx").exists(), "another name is written at once"
        assert there.read_text() == "precious"
        await pilot.press("w", "enter")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert there.read_text().startswith("run,probe")


@pytest.mark.parametrize(
    ("name", "said"), [("no/such/a.csv", "does not exist"), ("", "name a file"), ("lyrx.zarr", "is a folder")]
)
async def test_a_wrong_path_is_told_in_words_and_can_be_mended(own, name: str, said: str):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        path(pilot).value = name
        await pilot.press("enter")
        await settle(pilot)
        assert said in line(pilot, "#told")
        path(pilot).value = "good.csv"
        await pilot.press("enter")
        await settle(pilot)
        assert Path("good.csv").exists()


async def test_a_disk_that_is_full_and_a_library_that_fails_end_nothing(own, monkeypatch):
    from lyrx.explorer.screens import heatmap_take

    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot)

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", full)
            await pilot.press("enter")
            await settle(pilot)
        assert "No space left on device" in line(pilot, "#told")
        assert not list(Path().glob("fcn*"))

        def broken(*_, **__):
            raise ZeroDivisionError("oh\x1b[31m")

        monkeypatch.setattr(heatmap_take, "encode", broken)
        await pilot.press("enter")
        await settle(pilot)
        assert "ZeroDivisionError: oh\\x1b[31m" in line(pilot, "#told")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, HeatmapScreen)


async def test_a_name_of_ones_own_keeps_but_for_its_suffix(own):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        path(pilot).value = "mine.csv"
        await pilot.press("tab", "right", "right")
        await pilot.pause()
        assert path(pilot).value == "mine.json"


async def named(pilot: Pilot, name: str) -> None:
    """Type another name, from the field where the dialog begins."""
    dialog(pilot).query_one("#path").focus()
    await pilot.press("end", "ctrl+u", *name)
    await settle(pilot)


@pytest.mark.parametrize(
    ("name", "title", "start"),
    [
        ("x.svg", "SVG", b"<?xml"), ("X.PNG", "PNG", b"\x89PNG"), ("a.b.json", "JSON", b"{"),
        ("t.txt", "text", RUN.encode()), ("x.csv", "CSV", b"run,probe,layer"), ("x.dat", "CSV", b"run,probe,layer"),
        ("x", "CSV", b"run,probe,layer"),
    ],
)  # fmt: skip
async def test_the_format_follows_the_suffix_that_is_typed(own, name: str, title: str, start: bytes):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await named(pilot, name)
        assert path(pilot).value == name
        assert choice(pilot, "format") == title
        if title != "CSV":
            suffix = name[-5:].lower() if title == "JSON" else name[-4:].lower()
            assert line(pilot, "#told") == f"The name ends in {suffix}: the format is {title} now."
            assert dialog(pilot).form.about in line(pilot, "#about")
        await pilot.press("enter")
        await settle(pilot)
        assert f"({title}, " in line(pilot, "#note")
    assert Path(name).read_bytes().startswith(start)


async def test_a_table_of_either_kind_ends_in_csv_and_is_not_changed_by_its_name(own):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("tab", "right")
        await named(pilot, "mine.csv")
        assert choice(pilot, "format") == "wide CSV"


async def test_a_suffix_that_this_part_cannot_be_is_refused_with_what_it_can_be(own):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        what = dialog(pilot).query_one("#what", Choice)
        await pilot.click("#what", offset=(places(what.titles, what.size.width)[1][0] + 2, 0))
        await pilot.pause()
        assert choice(pilot, "what") == "on screen"
        await named(pilot, "part.json")
        refused = (
            "'on screen' cannot be JSON, as .json says. Choose another of what there is, "
            "or end the name in .csv, .svg, .png, .txt."
        )
        for _ in range(2):
            assert line(pilot, "#told") == refused
            await pilot.press("enter")
            await settle(pilot)
        assert not Path("part.json").exists()
        # Choosing the whole heatmap changes nothing of the name but its suffix, and it can be typed then.
        await pilot.click("#what", offset=(places(what.titles, what.size.width)[0][0] + 2, 0))
        await pilot.pause()
        await named(pilot, "part.json")
        await pilot.press("enter")
        await settle(pilot)
    assert Path("part.json").read_bytes().startswith(b"{")


@pytest.mark.parametrize("suffix", ["svg", "png", "txt"])
async def test_a_screenshot_shows_the_screen_below_the_dialog(own, suffix: str):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        before = [row.rstrip() for row in screen_text(pilot)]
        await opened(pilot)
        await pilot.press("right", "right", "tab", *["right"] * ["svg", "png", "txt"].index(suffix), "enter")
        await settle(pilot)
        data = Path(f"fcn-3x256-screen.{suffix}").read_bytes()
    if suffix == "txt":
        assert data.decode().splitlines() == before
    elif suffix == "svg":
        root = ElementTree.fromstring(data)
        said = "".join(str(text.text) for text in root.iter("{http://www.w3.org/2000/svg}text")).replace("\xa0", " ")
        assert "fcn-3x256" in said
        assert "whole network" in said
        assert "whole heatmap" not in said, "the dialog is not in the picture"
        assert b"font-face" not in data, "nothing is fetched"
    else:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        assert image.width % 80 == 0
        assert image.height % 24 == 0
        colours = {colour for _, colour in image.getcolors(1_000_000)}
        assert (255, 215, 95) in colours or len(colours) > 50


async def test_nothing_to_write_yet_is_said(own):
    async with app(own, RUN).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        screen_of(pilot).picture = None
        await pilot.press("w")
        await settle(pilot)
        assert "nothing to write yet" in line(pilot, "#note")
        await pilot.press("y", "Y", "u")
        assert pilot.app.clipboard == ""


# The table of runs


@pytest.mark.parametrize("steps", [0, 1], ids=["csv", "json"])
async def test_the_table_of_runs_as_lyrx_ls_tells_it(own, steps: int):
    import json

    from lyrx.explorer.jsonout import run_json
    from lyrx.store import Store

    async with app(own).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("tab", *["right"] * steps, "enter")
        await settle(pilot)
        assert "wrote " in line(pilot, "#note")
    names = ["fcn-3x256", "fcn-again", "resnet18", "vit-b16", fakes.EVIL]
    told = [run_json(Store.open(own).run(name)) for name in names]
    if steps:
        assert json.loads(Path("runs.json").read_text()) == told
        return
    text = Path("runs.csv").read_text()
    assert "\x1b" not in text
    for row, value in zip(csv.DictReader(io.StringIO(text)), told, strict=True):
        assert row["status"] == value["status"]
        assert row["error"] == ("" if value["error"] is None else repr(value["error"]))
        assert row["progress.measured"] == str(value["progress"]["measured"])


async def test_an_empty_table_and_a_store_that_is_gone(tmp_path, state, monkeypatch):
    import shutil

    from lyrx.store import Store

    monkeypatch.chdir(tmp_path)
    Store.open_or_create(Path("s.zarr"))
    async with app(Path("s.zarr")).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        shutil.rmtree("s.zarr")
        await pilot.press("enter")
        await settle(pilot)
        assert "there is no store" in line(pilot, "#told")


# Copying


async def test_a_cell_a_row_and_a_command_are_copied_and_told(shown):
    async with app(shown, "fcn-again").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("down", "right")
        picture = screen_of(pilot).picture
        assert picture is not None
        at = heatmap(pilot).position
        await pilot.press("y")
        assert pilot.app.clipboard == cell_line(picture, *at)
        assert "copied the cell: fcn-again" in line(pilot, "#note")
        await pilot.press("Y")
        assert pilot.app.clipboard == row_tsv(picture, "error", [at[0]])
        assert "copied the row: error random 0 1" in line(pilot, "#note")
        await pilot.press("u")
        assert pilot.app.clipboard == command(picture, shown.absolute(), *at)
        assert "copied the command: lyrx probe --exact --store" in line(pilot, "#note")


async def test_the_terminal_gets_it_by_osc_52(shown, monkeypatch):
    import base64

    async with app(shown, RUN).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        driver = pilot.app._driver
        assert driver is not None
        sent: list[str] = []
        monkeypatch.setattr(driver, "write", sent.append)
        await pilot.press("y")
        (found,) = [text for text in sent if text.startswith("\x1b]52;c;")]
        assert base64.b64decode(found[7:].rstrip("\a")).decode() == pilot.app.clipboard


async def test_the_whole_networks_row_and_a_joint_one(tmp_path, state):
    from lyrx.store import Store

    fakes.kinds_run(Store.open_or_create(tmp_path / "s.zarr"))
    async with app(tmp_path / "s.zarr", "fcn-kinds").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("G", "end", "Y")
        assert pilot.app.clipboard.splitlines()[1].startswith("whole network\t")
        await pilot.press("y")
        assert "whole network at checkpoint 100: error" in pilot.app.clipboard
        await pilot.press("k", "u")
        assert "--joint fc2,fc3" in pilot.app.clipboard
        await pilot.press("y")
        assert "fc2+fc3 at checkpoint 100" in pilot.app.clipboard


async def test_a_folded_row_is_its_layers_and_its_cell_the_worst_of_them(shown):
    async with app(shown, "vit-b16").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("Z")
        await settle(pilot)
        picture, layers = screen_of(pilot).picture, [layer for layer, _ in screen_of(pilot).places_under_cursor()]
        assert picture is not None
        assert len(layers) > 1
        await pilot.press("Y")
        names = [line.split("\t")[0] for line in pilot.app.clipboard.splitlines()[1::2]]
        assert names == [picture.layer_names[layer] for layer in layers if layer is not None]
        column = heatmap(pilot).cursor[1]
        await pilot.press("y")
        worst = max(layers, key=lambda layer: picture.value("error", layer, column) or 0)
        assert pilot.app.clipboard == cell_line(picture, worst, column)


async def test_a_folded_heatmap_is_drawn_folded_and_its_table_has_every_layer(own):
    async with app(own, "vit-b16").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("Z", "C")
        await opened(pilot)
        await pilot.press("tab", "right", "right", "right", "enter")
        await settle(pilot)
        await pilot.press("w", "enter")
        await settle(pilot)
        picture = screen_of(pilot).picture
        assert picture is not None
    text = Path("vit-b16-error.svg").read_text()
    assert "(3)</text>" in text
    assert "encoder.layers.0.attention</text>" not in text
    lines = list(csv.DictReader(io.StringIO(Path("vit-b16-error.csv").read_text())))
    assert {row["layer"] for row in lines} == {*picture.layer_names, "whole network"}


async def test_names_that_steer_terminals_are_copied_harmless(shown):
    async with app(shown, fakes.EVIL).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for key in ("y", "Y", "u"):
            await pilot.press(key)
            assert "\x1b" not in pilot.app.clipboard
            assert "\x1b" not in line(pilot, "#note")


def test_choices_stand_beside_each_other_and_close_where_room_is_short():
    titles = ("whole heatmap", "on screen", "screenshot")
    assert places(titles, 60) == [(0, 15), (17, 28), (30, 42)]
    assert places(titles, 38) == [(0, 14), (15, 25), (26, 37)]
