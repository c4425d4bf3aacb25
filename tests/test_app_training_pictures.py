"""How starting and following a training looks: every picture was looked at before it was accepted."""

import json
from pathlib import Path

import fakes
import pytest
from driving import app, settle
from lyrx.engine.specfile import load_spec
from lyrx.explorer import trainings, watching
from lyrx.explorer.core.specs import Checked
from lyrx.explorer.detached import exit_path, log_path
from lyrx.explorer.paths import trainings_folder
from lyrx.explorer.screens import start as start_screen
from lyrx.explorer.screens import training as training_screen
from lyrx.store import Store
from running import write_spec
from textual.pilot import Pilot

NAME = Path("lyrx.zarr")
SIZES = pytest.mark.parametrize(
    "size", [(50, 24), (80, 24), (120, 36), (200, 50)], ids=["50x24", "80x24", "120x36", "200x50"]
)
NOW = 1_767_225_600.0

SPEC = """\
# A fully connected network on the digits.

[run]
name = "{name}"
seed = 0

[model]
name = "fcn"
depth = 3
width = 256

[data]
name = "digits"

[train]
epochs = 60
batch_size = 32
lr = 0.1
milestones = [20, 40, 54]
checkpoints = [0, 1, 2, 3, 8, 20, 40, 60]
"""


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """A working folder whose paths are the same on every machine, wherever they are shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ".local" / "state"))
    monkeypatch.setattr(watching, "now", lambda: NOW)
    monkeypatch.setattr(start_screen, "shown_folder", lambda: "/home/anna/nets")
    monkeypatch.setattr(training_screen, "shown_home", lambda: str(tmp_path))
    return tmp_path


# Choosing a spec


def specs(folder: Path) -> None:
    Store.open_or_create(NAME)
    (folder / "examples" / "paper").mkdir(parents=True)
    (folder / "examples" / "quickstart.toml").write_text(SPEC.format(name="quickstart"))
    for name, model, data in (
        ("fcn-mnist", "fcn", "mnist"), ("resnet18-cifar10", "resnet18", "cifar10"),
        ("transformer-lm1b", "transformer", "lm1b"), ("vgg16-cifar10", "vgg16", "cifar10"),
        ("vit-imagenet", "timm:vit_base_patch16_224", "imagenet"),
    ):  # fmt: skip
        write_spec(folder / "examples" / "paper" / f"{name}.toml", model={"name": model}, data={"name": data})
    (folder / "mine.toml").write_text(SPEC.format(name="mine").replace("epochs", "epcohs"))
    (folder / "broken.toml").write_text('[run\nname = "\x1b[31mbroken"\n')


def existing(folder: Path, state: str) -> Checked:
    """The answer where a run 'quickstart' is there, that another spec made or that can go on."""
    return Checked(
        run="quickstart",
        state=state,
        refused="" if state == "goes on" else (
            "a run 'quickstart' with another spec is in the store already. They differ in train.epochs: 80, now 60; "
            "train.lr: 0.05, now 0.1. Give this one another name (--set run.name=NAME), or replace that one with "
            "--fresh."
        ),
        epochs_done=42,
        columns=("random", "0", "1", "2", "3", "8", "20", "40", "60"),
        spec=load_spec(folder / "examples" / "quickstart.toml").resolved(),
    )  # fmt: skip


START = {
    "valid": (specs, ("down", "down")),
    "invalid": (specs, ("down",)),
    "not-toml": (specs, ()),
    "filtered": (specs, ("m", "i", "n")),
    "options": (specs, (*"quick", "tab", *"probe", "full_stop", *"draws", "equals_sign", "5")),
}


async def choose(pilot: Pilot, keys: tuple[str, ...]) -> None:
    await settle(pilot)
    await pilot.press("n")
    await settle(pilot)
    await pilot.press(*keys)
    await settle(pilot)


@SIZES
@pytest.mark.parametrize("picture", START)
def test_picture_of_choosing_a_spec(desk, snap_compare, picture: str, size: tuple[int, int]):
    make, keys = START[picture]
    make(desk)
    assert snap_compare(app(NAME), terminal_size=size, run_before=lambda pilot: choose(pilot, keys))


@SIZES
@pytest.mark.parametrize("state", ["goes on", "refused"])
def test_picture_of_a_spec_whose_run_is_there(desk, monkeypatch, snap_compare, state: str, size: tuple[int, int]):
    specs(desk)
    answer = existing(desk, state)

    async def check(*_: object) -> Checked:
        return answer

    monkeypatch.setattr(start_screen.SpecChecker, "check", check)
    keys = tuple("quick")
    assert snap_compare(app(NAME), terminal_size=size, run_before=lambda pilot: choose(pilot, keys))


@SIZES
def test_picture_without_specs(desk, snap_compare, size: tuple[int, int]):
    Store.open_or_create(NAME)
    assert snap_compare(app(NAME), terminal_size=size, run_before=lambda pilot: choose(pilot, ()))


# Following a training

LOG = [
    "2026-01-01 00:59:00 resnet18: new, 100 epochs on cuda; in no layer: relu (ReLU), maxpool (Identity)",
    *(
        f"2026-01-01 00:59:{int(1.4 * number):02} resnet18: epoch {number}/100: "
        f"train loss {2.1 / (number + 1):.4f}, lr 0.1, test error {90 / (number + 1):.2f} %, 1.40 s"
        + (", checkpoint kept" if number in fakes.CHECKPOINTS else "")
        for number in range(1, 43)
    ),
]


def record(run: str, lines: list[str], code: int | None = None, **changes) -> None:
    """A training as if it had been started from an app."""
    store, command = Path.cwd() / NAME, [*trainings.LYRX, "batch", f"examples/{run}.toml", "--store", str(NAME)]
    path = trainings_folder() / f"{run}-20260101-005856-5eed.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "run": run, "store": str(store), "spec": f"examples/{run}.toml", "command": command, "cwd": str(Path.cwd()),
        "started": NOW - 64, "host": trainings.socket.gethostname(), "pid": 4711, "created": NOW - 64,
    }  # fmt: skip
    path.write_text(json.dumps({**facts, **changes}))
    log_path(path).write_text("\n".join(lines) + "\n")
    if code is not None:
        exit_path(path).write_text(json.dumps({"code": code, "ended": NOW - 1}))


def training(monkeypatch, state: str) -> str:
    """A store and a record in this state; returns the run's name."""
    store = Store.open_or_create(NAME)
    monkeypatch.setattr(trainings.Training, "_process", lambda self: object())
    if state == "starting":
        record("quickstart", [])
        fakes.training_run(store, "resnet18")
        return "quickstart"
    if state == "complete":
        fakes.complete_run(store, "resnet18")
        record("resnet18", [*LOG, "2026-01-01 01:00:00 resnet18: complete, 63.0 s"], 0)
        return "resnet18"
    fakes.training_run(store, "resnet18")
    if state == "under-way":
        monkeypatch.setattr("lyrx.store.Run.writer", lambda self: "process 4711 (batch)")
        record("resnet18", LOG)
    elif state == "interrupted":
        told = "lyrx: interrupted. What was finished is kept; the same command goes on from there."
        record("resnet18", [*LOG, told], 130, asked_to_stop=NOW - 2)
    elif state == "failed":
        told = "lyrx: run 'resnet18' failed: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 " \
               "has a total capacity of 23.65 GiB of which 1.06 GiB is free. What was finished is kept."  # fmt: skip
        record("resnet18", [*LOG, told], 1)
    elif state == "no-log":
        monkeypatch.setattr("lyrx.store.Run.writer", lambda self: "process 812 on gpubox (batch)")
    return "resnet18"


STATES = ("starting", "under-way", "complete", "interrupted", "failed", "no-log")


@SIZES
@pytest.mark.parametrize("state", STATES)
def test_picture_of_a_training(desk, monkeypatch, snap_compare, state: str, size: tuple[int, int]):
    run = training(monkeypatch, state)

    async def show(pilot: Pilot) -> None:
        await settle(pilot)
        await pilot.app.push_screen(training_screen.TrainingScreen(run))
        await settle(pilot)
        await settle(pilot)

    assert snap_compare(app(NAME), terminal_size=size, run_before=show)


@SIZES
def test_picture_of_stopping(desk, monkeypatch, snap_compare, size: tuple[int, int]):
    run = training(monkeypatch, "under-way")

    async def show(pilot: Pilot) -> None:
        await settle(pilot)
        await pilot.app.push_screen(training_screen.TrainingScreen(run))
        await settle(pilot)
        await pilot.press("x")
        await settle(pilot)

    assert snap_compare(app(NAME), terminal_size=size, run_before=show)
