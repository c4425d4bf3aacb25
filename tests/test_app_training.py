"""Starting a training from the app, following it and stopping it, by keys and by mouse."""

import os
import sys
from pathlib import Path

import fakes
import pytest
from driving import app, line, screen_text, settle, until
from lyrx.explorer import trainings
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.screens import training as training_screen
from lyrx.explorer.screens.heatmap import HeatmapScreen
from lyrx.explorer.screens.runs import RunsScreen
from lyrx.explorer.screens.start import SpecList, StartScreen
from lyrx.explorer.screens.training import TrainingScreen
from lyrx.explorer.widgets.confirm import Confirm
from lyrx.explorer.widgets.keybar import KeyBar
from lyrx.explorer.widgets.logview import LogView
from lyrx.store import Store
from running import batch, write_spec
from textual.pilot import Pilot
from textual.widgets import Input

FAKE = (sys.executable, str(Path(__file__).with_name("fake_training.py")))
KEYS = {" ": "space", "=": "equals_sign", ".": "full_stop", "/": "slash", "-": "minus", "_": "underscore"}


@pytest.fixture
def folder(tmp_path, state, monkeypatch):
    """A working folder with an empty store and specs; trainings are fakes, and end with the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainings, "LYRX", FAKE)
    Store.open_or_create(tmp_path / "s.zarr")
    (tmp_path / "examples" / "paper").mkdir(parents=True)
    write_spec(tmp_path / "examples" / "first.toml", run={"name": "first"})
    write_spec(tmp_path / "examples" / "paper" / "second.toml", run={"name": "second"})
    write_spec(tmp_path / "examples" / "paper" / "wrong.toml", train={"epcohs": 3})
    yield tmp_path
    for training in trainings.known(tmp_path / "s.zarr"):
        if training.alive():
            training.kill()


async def type_in(pilot: Pilot, text: str) -> None:
    await pilot.press(*(KEYS.get(character, character) for character in text))


def start_screen(pilot: Pilot) -> StartScreen:
    assert isinstance(pilot.app.screen, StartScreen)
    return pilot.app.screen


def shown(pilot: Pilot) -> TrainingScreen:
    assert isinstance(pilot.app.screen, TrainingScreen)
    return pilot.app.screen


async def open_start(pilot: Pilot) -> StartScreen:
    await settle(pilot)
    await pilot.press("n")
    await settle(pilot)
    return start_screen(pilot)


async def phase(pilot: Pilot, wanted: str) -> None:
    """Wait until the training on the screen is so far."""

    await until(pilot, lambda: isinstance(pilot.app.screen, TrainingScreen))

    def there() -> bool:
        shown(pilot).read()
        return shown(pilot).seen.phase == wanted

    await until(pilot, there)
    await settle(pilot)


async def test_specs_are_listed_filtered_and_checked(folder):
    async with app(folder / "s.zarr").run_test(size=(120, 36)) as pilot:
        screen = await open_start(pilot)
        text = "\n".join(screen_text(pilot))
        for words in ("examples/paper", "first.toml", "fcn · digits · 3 epochs", "second.toml", "wrong.toml"):
            assert words in text
        assert "● first  a new run" in line(pilot, "#checked-text")
        assert "$ " in line(pilot, "#checked-text")
        assert '"first"' in line(pilot, "#text")
        await pilot.press("down")
        await settle(pilot)
        assert "● second  a new run" in line(pilot, "#checked-text")
        await type_in(pilot, "wrong")
        await settle(pilot)
        assert screen.chosen is not None
        assert screen.chosen.name == "wrong.toml"
        assert "unknown key 'train.epcohs'. Did you mean 'epochs'?" in line(pilot, "#checked-text")
        await pilot.press("enter")
        await settle(pilot)
        assert "unknown key" in line(pilot, "#note")
        assert trainings.known(folder / "s.zarr") == [], "a wrong spec is not started"
        await type_in(pilot, " nothing")
        await settle(pilot)
        assert "No spec matches" in line(pilot, "#checked-text")
        await pilot.press("enter")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunsScreen)


async def test_options_are_checked_at_once(folder):
    async with app(folder / "s.zarr").run_test(size=(120, 36)) as pilot:
        screen = await open_start(pilot)
        screen.query_one("#options", Input).focus()
        await type_in(pilot, "train.epochs=9")
        await settle(pilot)
        assert "9 epochs" in line(pilot, "#checked-text")
        assert "--set train.epochs=9" in line(pilot, "#checked-text")
        await type_in(pilot, " run.nam=x")
        await settle(pilot)
        assert "--set run.nam=x: unknown key 'run.nam'. Did you mean 'name'?" in line(pilot, "#checked-text")
        await type_in(pilot, " oops")
        await settle(pilot)
        assert "'oops': write it as section.key=value" in line(pilot, "#checked-text")
        screen.query_one("#options", Input).value = ""
        processes = screen.query_one("#processes", Input)
        processes.value = "2"
        await settle(pilot)
        assert "nproc_per_node 2" in line(pilot, "#checked-text")


async def test_a_path_is_typed_and_completed(folder):
    (folder / "elsewhere").mkdir()
    write_spec(folder / "elsewhere" / "third.toml", run={"name": "third"})
    async with app(folder / "s.zarr").run_test(size=(120, 36)) as pilot:
        screen = await open_start(pilot)
        await type_in(pilot, "./else")
        await until(pilot, lambda: screen.query_one("#filter", Input)._suggestion)
        await pilot.press("right")
        await settle(pilot)
        assert screen.query_one("#filter", Input).value == "./elsewhere/"
        assert screen.chosen is not None
        assert screen.chosen.path == folder / "elsewhere" / "third.toml"
        await settle(pilot)
        assert "● third  a new run" in line(pilot, "#checked-text")
        await type_in(pilot, "no.toml")
        await settle(pilot)
        assert "there is no spec file elsewhere/no.toml" in line(pilot, "#checked-text")


async def test_a_file_that_is_edited_is_checked_again(folder):
    async with app(folder / "s.zarr").run_test(size=(120, 36)) as pilot:
        screen = await open_start(pilot)
        write_spec(folder / "examples" / "first.toml", run={"name": "renamed"})
        screen._look_again()
        await settle(pilot)
        assert "● renamed  a new run" in line(pilot, "#checked-text")


async def test_what_becomes_of_a_run_that_is_there(folder):
    batch(folder / "s.zarr", run={"name": "first"})
    async with app(folder / "s.zarr").run_test(size=(120, 36)) as pilot:
        screen = await open_start(pilot)
        assert "complete: there is nothing left to do" in line(pilot, "#checked-text")
        await pilot.press("enter")
        assert "nothing left to do" in line(pilot, "#note")
        options = screen.query_one("#options", Input)
        options.value = "train.epochs=4"
        await settle(pilot)
        assert "× first  refused" in line(pilot, "#checked-text")
        await pilot.press("enter")
        assert "another spec is in the store already" in line(pilot, "#note")
        options.value = "train.epochs=4 --fresh"
        await settle(pilot)
        assert "replaces the run of this name" in line(pilot, "#checked-text")
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, Confirm), "what is measured is not thrown away without asking"
        await pilot.press("n")
        assert trainings.known(folder / "s.zarr") == []
        options.value = "probe.draws=1"
        await settle(pilot)
        assert "goes on: it is trained, cells are missing" in line(pilot, "#checked-text")
        with Store.open(folder / "s.zarr").run("first").writing("test"):
            options.value = "probe.draws=3"
            await settle(pilot)
            assert f"is being written by process {os.getpid()}" in line(pilot, "#checked-text")


async def test_a_training_is_started_outlives_the_app_and_is_stopped(folder):
    async with app(folder / "s.zarr").run_test(size=(80, 24)) as pilot:
        await open_start(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await phase(pilot, "starting")
        pid = shown(pilot).seen.pid
    # The app has gone; a new one finds it.
    (training,) = trainings.known(folder / "s.zarr")
    assert training.pid == pid
    assert training.alive()
    fakes.training_run(Store.open(folder / "s.zarr"), "first")
    async with app(folder / "s.zarr").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("L")
        await until(pilot, lambda: shown(pilot).read() or "loading 100 %" in shown(pilot).seen.lines)
        await settle(pilot)
        assert shown(pilot).seen.pid == pid
        assert "new, 9 epochs" in "\n".join(screen_text(pilot))
        assert "epoch 42 of 100" in line(pilot, "#state")
        await pilot.press("x")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert training.alive(), "the answer with the focus is the safe one"
        await stop(pilot)
        await phase(pilot, "interrupted")
        assert "○ interrupted, as asked" in line(pilot, "#state")
        await pilot.press("x")
        assert "s goes on from there" in line(pilot, "#note")
        # And again, by the same command.
        await pilot.press("s")
        await phase(pilot, "starting")
        assert shown(pilot).seen.pid != pid
        await stop(pilot)
        await phase(pilot, "interrupted")
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, HeatmapScreen)


async def test_one_that_does_not_end_can_be_killed(folder, monkeypatch):
    monkeypatch.setattr(training_screen, "STOP_PATIENCE", 0.2)
    write_spec(folder / "examples" / "first.toml", run={"name": "stubborn"})
    async with app(folder / "s.zarr").run_test(size=(80, 24)) as pilot:
        await open_start(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await until(pilot, lambda: shown(pilot).read() or shown(pilot).seen.lines)
        await stop(pilot)
        await settle(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await settle(pilot)
        assert "has not ended within 0.2 s. Kill it?" in "\n".join(screen_text(pilot))
        await pilot.press("n")
        assert shown(pilot).seen.phase == "stopping"
        await pilot.press("x")
        await settle(pilot)
        await pilot.press("y")
        await phase(pilot, "interrupted")
        assert "killed, as asked" in line(pilot, "#state")


async def test_one_that_dies_at_once_says_why(folder):
    write_spec(folder / "examples" / "first.toml", run={"name": "dies"})
    async with app(folder / "s.zarr").run_test(size=(80, 24)) as pilot:
        await open_start(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await phase(pilot, "failed")
        assert "× failed: refused (exit code 2)" in line(pilot, "#state")
        assert "there is no data set here. Put it there." in line(pilot, "#note")
        assert not any("\x1b" in row for row in screen_text(pilot))


@pytest.mark.slow
async def test_by_mouse_alone(folder):
    fakes.training_run(Store.open(folder / "s.zarr"), "first")
    async with app(folder / "s.zarr").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await click_key(pilot, "new training")
        await settle(pilot)
        screen = start_screen(pilot)
        specs = screen.query_one(SpecList)
        await pilot.click(specs, offset=(4, 3))
        await settle(pilot)
        assert screen.chosen is not None
        assert screen.chosen.name == "second.toml"
        assert trainings.known(folder / "s.zarr") == [], "one click chooses only"
        await pilot.click("#options")
        assert screen.query_one("#options", Input).has_focus
        await pilot.click(specs, offset=(4, 3), times=2)
        await settle(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainingScreen))
        await settle(pilot)
        assert shown(pilot).seen.run == "second"
        await click_key(pilot, "stop")
        await settle(pilot)
        await pilot.click("#yes")
        await phase(pilot, "interrupted")
        await click_key(pilot, "start again")
        await phase(pilot, "starting")
        await click_key(pilot, "stop")
        await settle(pilot)
        await pilot.click("#no")
        await click_key(pilot, "back")
        await settle(pilot)
        assert isinstance(pilot.app.screen, RunsScreen)


async def test_the_keys_at_the_foot_are_those_of_every_other_screen(folder):
    async with app(Path("lyrx.zarr")).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("n")
        await settle(pilot)
        assert pilot.app.screen.query_one(KeyBar)
        assert "f1 help" in screen_text(pilot)[-1], "letters are typed here"
        assert "? help" not in screen_text(pilot)[-1]
        await click_key(pilot, "help")
        await settle(pilot)
        assert "next field" in line(pilot, "#help-text")
        await pilot.press("escape", "escape")
        await settle(pilot)
        await pilot.app.push_screen(TrainingScreen("nobody"))
        await settle(pilot)
        assert pilot.app.screen.query_one(KeyBar)
        foot = screen_text(pilot)[-1]
        assert all(words in foot for words in ("heatmap", "esc back", "? help"))
        assert "stop" not in foot, "there is nothing to stop"
        await click_key(pilot, "help")
        await settle(pilot)
        assert "copy the log" in line(pilot, "#help-text")


async def click_key(pilot: Pilot, words: str) -> None:
    """Click a key's description in the last line."""
    rows = screen_text(pilot)
    place = rows[-1].index(f" {words}") + 1
    await pilot.click(offset=(place, len(rows) - 1))


async def test_a_training_from_elsewhere_has_curves_and_no_log(own):
    run = Store.open(own).run("resnet18")
    with run.writing("batch"):
        async with app(own).run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            await pilot.press("j", "j", "L")
            await settle(pilot)
            assert "training, not from here" in line(pilot, "#state")
            assert f"written by process {os.getpid()} (batch)" in line(pilot, "#facts")
            assert line(pilot, "#note") == "stop it and read its log where it was started"
            assert "train loss" in "\n".join(screen_text(pilot))
            # What cannot be done from here has no key and no place to click, in the palette neither.
            assert "stop" not in screen_text(pilot)[-1]
            await pilot.press("x")
            await settle(pilot)
            assert isinstance(pilot.app.screen, TrainingScreen)
            await pilot.press("ctrl+p", *"stop")
            await settle(pilot)
            assert "stop" not in [command.title for command in pilot.app.screen._shown]  # pyright: ignore
            await pilot.press("escape")
            await pilot.press("u")
            assert "its command is not known" in line(pilot, "#note")
    async with app(own).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("j", "j", "L")
        await settle(pilot)
        assert "nothing is under way" in line(pilot, "#state")


async def test_the_log_is_followed_until_somebody_scrolls_up(folder):
    async with app(folder / "s.zarr").run_test(size=(80, 24)) as pilot:
        await open_start(pilot)
        await pilot.press("enter")
        await settle(pilot)
        screen = shown(pilot)
        log = screen.query_one(LogView)
        with trainings.known(folder / "s.zarr")[0].log.open("a") as file:
            file.writelines(f"line {number}\n" for number in range(100))
            file.flush()
            screen.read()
            await settle(pilot)
            assert log.following
            assert "line 99" in "\n".join(screen_text(pilot))
            await pilot.press("k")
            await settle(pilot)
            assert not log.following
            assert "G follows its end" in line(pilot, "#log-title")
            print("line 100", file=file, flush=True)
            screen.read()
            await settle(pilot)
            assert "line 100" not in "\n".join(screen_text(pilot))
            await pilot.press("G")
            await settle(pilot)
            assert log.following
            assert "line 100" in "\n".join(screen_text(pilot))
            await pilot.press("g")
            await settle(pilot)
            assert "line 99" not in "\n".join(screen_text(pilot))
            await pilot.press("G")
            await pilot.resize_terminal(50, 24)
            await settle(pilot)
            assert "line 100" in "\n".join(screen_text(pilot)), "the end stays in sight when the terminal changes"
        await pilot.press("y")
        assert "line 100" in pilot.app.clipboard
        await pilot.press("u")
        assert "batch" in pilot.app.clipboard


async def test_a_python_that_is_gone_is_said_and_the_app_stays(folder, monkeypatch):
    monkeypatch.setattr(trainings, "LYRX", (str(folder / "python"), "-m", "lyrx"))
    async with app(folder / "s.zarr").run_test(size=(80, 24)) as pilot:
        await open_start(pilot)
        assert "the spec cannot be checked: No such file" in line(pilot, "#checked-text")


async def test_a_state_folder_that_cannot_be_written_is_said(folder, monkeypatch):
    (folder / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "file"))
    async with app(folder / "s.zarr").run_test(size=(80, 24)) as pilot:
        await open_start(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, StartScreen)
        assert "the training's log cannot be kept in" in line(pilot, "#note")


async def test_a_check_is_given_up_when_the_choice_moves_on(folder):
    async with app(folder / "s.zarr").run_test(size=(80, 24)) as pilot:
        screen = await open_start(pilot)
        for key in ("down", "up", "down", "up", "down"):
            await pilot.press(key)
        assert screen.checked is None or screen.checked.run == "second"
        await settle(pilot)
        assert screen.checked is not None
        assert screen.checked.run == "second"


@pytest.mark.slow
async def test_a_real_training_outlives_the_app_and_goes_on(tmp_path, state, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Store.open_or_create("s.zarr")
    long = {"epochs": 100_000, "checkpoints": [1]}
    write_spec(tmp_path / "long.toml", run={"name": "long", "device": "cpu"}, train=long)
    write_spec(tmp_path / "short.toml", run={"name": "short", "device": "cpu"}, train={"epochs": 2, "checkpoints": []})
    try:
        async with real(tmp_path).run_test(size=(80, 24)) as pilot:
            await open_start(pilot)
            await pilot.press("enter")
            await until_phase(pilot, "working")
            pid = shown(pilot).seen.pid
        (training,) = trainings.known(tmp_path / "s.zarr")
        assert training.alive(), "the app has gone, it has not"
        async with real(tmp_path).run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            await pilot.press("L")
            await until_phase(pilot, "working")
            assert shown(pilot).seen.pid == pid
            assert any("long: epoch 1/100000" in one for one in shown(pilot).seen.lines)
            assert "epoch" in line(pilot, "#state")
            await stop(pilot)
            await until_phase(pilot, "interrupted")
            assert shown(pilot).seen.code == 130
            run = Store.open("s.zarr").run("long")
            assert run.status() == "interrupted"
            done = run.history.read()[0][-1].epoch
            assert done >= 1
            await pilot.press("s")
            await until_phase(pilot, "working")
            await until(pilot, lambda: shown(pilot).read() or len(shown(pilot).seen.lines) > 1)
            assert f"long: going on after epoch {done}, " in shown(pilot).seen.lines[0]
            await stop(pilot)
            await until_phase(pilot, "interrupted")
            await pilot.press("escape", "n")
            await settle(pilot)
            await type_in(pilot, "short")
            await settle(pilot)
            await pilot.press("enter")
            await settle(pilot)
            await until_phase(pilot, "done")
            assert Store.open("s.zarr").run("short").status() == "complete"
            assert shown(pilot).seen.code == 0
    finally:
        for training in trainings.known(tmp_path / "s.zarr"):
            if training.alive():
                training.kill()


def real(folder: Path) -> LyrxApp:
    return LyrxApp(folder / "s.zarr", warm_up=False, poll_seconds=0.2)


async def stop(pilot: Pilot) -> None:
    """Ask for the end of the training that is followed, and say yes when one is asked."""
    await pilot.press("x")
    await until(pilot, lambda: isinstance(pilot.app.screen, Confirm) and pilot.app.screen.focused)
    await pilot.press("y")
    await until(pilot, lambda: not isinstance(pilot.app.screen, Confirm))


async def until_phase(pilot: Pilot, wanted: str) -> None:
    """As `phase`, for what takes as long as importing torch takes."""
    await until(pilot, lambda: isinstance(pilot.app.screen, TrainingScreen))
    for _ in range(10):
        try:
            await until(
                pilot, lambda: isinstance(pilot.app.screen, TrainingScreen) and shown(pilot).seen.phase == wanted
            )
        except AssertionError:
            continue
        return
    raise AssertionError(f"{shown(pilot).seen}")
