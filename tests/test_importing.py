"""Runs whose checkpoints come from files: what is asked for, what is stored, and what a missing head does to cells."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lyrx.engine.batch import run_batch, run_probe
from lyrx.engine.building import build_model
from lyrx.engine.errors import DataNotFoundError, ModelError, RunConflictError, SpecError
from lyrx.engine.events import WeightsRead
from lyrx.engine.specfile import make_spec
from lyrx.explorer.core.marks import State, place
from lyrx.explorer.core.picture import take_picture
from lyrx.explorer.jsonout import picture_json
from lyrx.explorer.show import render
from lyrx.store import (
    Cell,
    Column,
    NotAvailableError,
    NotCommittedError,
    Run,
    Store,
)
from lyrx.store.check import Report, check_store
from lyrx.store.checkpoints import CheckpointError
from rich.console import Console
from running import SPEC, lyrx
from small import PROBE, run_info, weights
from torch import nn

MODEL = {"name": "fcn", "width": 8, "depth": 2}


def network(classes: int, seed: int) -> nn.Module:
    from lyrx.engine.models import model_spec

    return build_model(model_spec(MODEL), (1, 8, 8), classes, seed)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The initialisation with a head of 15 classes, a checkpoint in between, and the trained network."""
    made = {}
    for name, classes in {"0": 15, "3": 10, "final": 10}.items():
        made[name] = str(tmp_path / f"{name}.pt")
        torch.save(network(classes, seed=len(made)).state_dict(), made[name])
    return made


def spec_of(files: dict[str, Any], **sections: dict[str, Any]) -> dict[str, Any]:
    values = {
        "run": {**SPEC["run"]},
        "model": {**MODEL},
        "data": {**SPEC["data"]},
        "probe": {"draws": 2, "exact": True},
    }
    for section, keys in sections.items():
        values[section] = {**values.get(section, {}), **keys}
    return {**values, "train": {**values.get("train", {}), "imported": files}}


def carried_out(store: Path, values: dict[str, Any], *, fresh: bool = False) -> tuple[Run, list[Any]]:
    events: list[Any] = []
    run_batch([make_spec(values)], store, fresh=fresh, observer=events.append)
    return Store.open(store).run("r"), events


def test_epochs_and_checkpoints_follow_from_the_files(tmp_path: Path):
    spec = make_spec(spec_of({"final": "b.pt", "3": "m.pt", "0": "a.pt"}))
    assert (spec.train.epochs, spec.train.kept()) == (4, (0, 3, 4))
    assert spec.train.imported["0"] == str(Path("a.pt").absolute())
    assert [column.label for column in spec.columns()] == ["random", "0", "3", "4"]
    # What is stored with a run says the same.
    assert make_spec(spec.resolved()) == spec
    # Without an initialisation there is no checkpoint 0.
    alone = make_spec(spec_of({"final": "b.pt"}))
    assert (alone.train.epochs, alone.train.kept()) == (1, (1,))
    assert make_spec(spec_of({"0": "a", "90": "b"})).train.kept() == (0, 90)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (spec_of({"0": "a.pt"}), r"train\.imported: has no trained network"),
        (spec_of({"fnal": "a.pt"}), r"train\.imported: 'fnal' is no checkpoint.*Did you mean 'final'"),
        (spec_of({"-1": "a.pt", "final": "b.pt"}), r"'-1' is no checkpoint"),
        (spec_of({"1": "a.pt", "01": "b.pt"}), "two files for checkpoint 1"),
        (spec_of({"final": 3}), "is written"),
        (spec_of({"final": "b.pt"}, train={"lr": 0.5}), r"train\.lr: says how to train"),
        (spec_of({"final": "b.pt"}, train={"epochs": 7}), r"train\.epochs: says how to train"),
        (spec_of({"final": "b.pt"}, train={"epohcs": 7}), r"unknown key 'train\.epohcs'. Did you mean 'epochs'"),
        (spec_of({"final": "b.pt"}, probe={"at": ["0"]}), r"probe\.at: 0 is not kept"),
    ],
)
def test_specs_that_do_not_fit_together_are_refused(values: dict[str, Any], said: str):
    with pytest.raises(SpecError, match=said):
        make_spec(values)


def test_a_head_of_other_classes_has_no_checkpoint_0(tmp_path: Path, files: dict[str, str]):
    run, events = carried_out(tmp_path / "s", spec_of(files))
    read = [event for event in events if isinstance(event, WeightsRead)]
    assert [(event.checkpoint, event.absent) for event in read] == [
        ("0", ("output.weight", "output.bias")),
        ("3", ()),
        ("4", ()),
    ]
    # What was in the files is in the store.
    for epoch, name, seed in ((0, "0", 1), (3, "3", 2), (4, "final", 3)):
        state = torch.load(files[name])
        names = [key for key in state if epoch or not key.startswith("output")]
        for key, array in run.checkpoints.read(epoch, names).items():
            assert torch.equal(torch.from_numpy(array), state[key]), (epoch, seed, key)
    assert run.checkpoints.absent(0)["output.bias"] == f"its shape is [10], in {files['0']} it is [15]"
    assert run.checkpoints.absent(4) == {}
    with pytest.raises(NotAvailableError, match=r"'output\.weight' has no checkpoint 0 .*\[15, 8\]"):
        run.checkpoints.read(0, ["output.weight"])
    with pytest.raises(NotAvailableError):
        run.checkpoints.read(0)
    # The whole network has an error wherever it is whole, the one of its own predictions.
    data = make_spec(spec_of(files)).data.load()
    mean, std = data.mean_std
    x = (torch.from_numpy(data.test_inputs).float() - mean) / std
    for epoch, seed in ((3, 2), (4, 3)):
        wrong = network(10, seed).eval()(x).argmax(1) != torch.from_numpy(data.test_targets)
        assert run.history.at(epoch).test_error == pytest.approx(wrong.double().mean().item())  # type: ignore[union-attr]
    assert run.history.at(0) is None
    assert run.status() == "complete"


def test_cells_that_need_it_are_not_available_and_say_why(tmp_path: Path, files: dict[str, str]):
    run, _ = carried_out(tmp_path / "s", spec_of(files, probe={"joint": [["fc2", "output"], ["fc1", "fc2"]]}))
    probe = run.probe()
    column = [column.label for column in probe.info.columns].index("0")
    names = [layer.name for layer in probe.info.layers]
    assert names == ["fc1", "fc2", "output", "fc2+output", "fc1+fc2"]
    reason = f"its shape is [10, 8], in {files['0']} it is [15, 8]"
    assert probe.info.unavailable == {
        (2, column): f"output.weight has no checkpoint 0 (nor has output.bias): {reason}",
        (3, column): f"output.weight has no checkpoint 0 (nor has output.bias): {reason}",
        (None, column): f"output.weight has no checkpoint 0 (nor has output.bias): {reason}",
    }
    cells = probe.info.all_cells()
    assert not [cell for cell in cells if (cell.layer, cell.column) in probe.info.unavailable]
    assert {cell.layer for cell in cells if cell.column == column} == {0, 1, 4}
    assert set(probe.results().estimates) == set(cells)
    assert probe.progress().complete
    assert probe.progress().total == len(cells) == 5 * 2 + 3 + 5 * 2 + 2
    # An available cell is what the network does with the file's values in place of its own.
    data = make_spec(spec_of(files)).data.load()
    mean, std = data.mean_std
    x = (torch.from_numpy(data.test_inputs).float() - mean) / std
    model, start = network(10, 3).eval(), torch.load(files["0"])
    model.load_state_dict({**model.state_dict(), **{name: start[name] for name in ("fc2.weight", "fc2.bias")}})
    error = (model(x).argmax(1) != torch.from_numpy(data.test_targets)).double().mean().item()
    assert probe.read(Cell(1, column)).error == pytest.approx(error)  # type: ignore[union-attr]


def test_every_view_tells_not_available_from_not_measured(tmp_path: Path, files: dict[str, str]):
    run, _ = carried_out(tmp_path / "s", spec_of(files))
    picture = take_picture(run)
    column = [column.label for column in picture.columns].index("0")
    states = {layer: place(picture, "error", layer, column).state for layer in (0, 1, 2, None)}
    assert states == {0: State.DONE, 1: State.DONE, 2: State.UNAVAILABLE, None: State.UNAVAILABLE}
    # A distance from an initialisation that is not there is none, at no checkpoint.
    for metric in ("l2", "linf"):
        assert place(picture, metric, 2, column + 1).state is State.UNAVAILABLE
        assert picture.value(metric, 2, column + 1) is None
        assert place(picture, metric, 1, column + 1).state is State.DONE
    value = json.loads(json.dumps(picture_json(picture), allow_nan=False))
    assert [(one["layer"], one["column"]) for one in value["unavailable"]] == [(2, column), (None, column)]
    assert "output.weight has no checkpoint 0" in value["unavailable"][0]["reason"]
    assert not [cell for cell in value["cells"] if (cell["layer"], cell["column"]) == (2, column)]
    assert value["distances"]["l2"][2] == [None, None, None]
    assert all(isinstance(number, float) for number in value["distances"]["l2"][1])
    assert value["exact"] is True
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(picture))
    text = console.export_text()
    row = next(line for line in text.splitlines() if line.startswith("output"))
    assert row.split()[2] == "–"
    assert "– not available" in text
    assert "Not available: output (output.weight has no checkpoint 0" in text


def test_distances_are_those_of_what_is_there(tmp_path: Path, files: dict[str, str]):
    run, _ = carried_out(tmp_path / "s", spec_of(files))
    l2, linf = run.probe().results().distances[4]
    start, end = torch.load(files["0"]), torch.load(files["final"])
    moved = torch.cat([(end[name] - start[name]).flatten() for name in ("fc2.weight", "fc2.bias")]).double()
    assert l2[1] == pytest.approx(float(moved.norm()) / math.sqrt(len(moved)))
    assert linf[1] == pytest.approx(float(moved.abs().max()))
    assert math.isnan(l2[2])


def test_the_files_are_not_needed_any_more(tmp_path: Path, files: dict[str, str]):
    store = tmp_path / "s"
    carried_out(store, spec_of(files))
    for path in files.values():
        Path(path).unlink()
    _, events = carried_out(store, spec_of(files))
    assert [type(event).__name__ for event in events] == ["RunOpened", "RunClosed"]
    probe = run_probe(store, "r", {"probe.at": ["0", "path:0.5", "zero"]}, observer=lambda event: None)
    place_of = {column.label: index for index, column in enumerate(probe.info.columns)}
    layers = {(layer, column) for layer, column in probe.info.unavailable}
    assert layers == {(2, place_of["0"]), (2, place_of["path:0.5"]), (None, place_of["0"])}
    assert probe.read(Cell(2, place_of["zero"])) is not None
    report = Report()
    list(check_store(Store.open(store), report))
    assert report.damaged == []
    with pytest.raises(DataNotFoundError, match="no weights file"):
        carried_out(store, spec_of(files), fresh=True)


def test_an_import_that_was_interrupted_goes_on(tmp_path: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    from lyrx.store.checkpoints import Checkpoints

    append, seen = Checkpoints.append, []

    def failing(self: Checkpoints, epoch: int, *arguments: Any) -> None:
        if epoch == 4 and not seen:
            seen.append(epoch)
            raise KeyboardInterrupt
        append(self, epoch, *arguments)

    monkeypatch.setattr(Checkpoints, "append", failing)
    with pytest.raises(KeyboardInterrupt):
        carried_out(tmp_path / "s", spec_of(files))
    run = Store.open(tmp_path / "s").run("r")
    assert run.checkpoints.committed() == [0, 3]
    assert run.status() == "interrupted"
    torch.save(network(10, seed=9).state_dict(), files["final"])
    with pytest.raises(RunConflictError, match=r"begun with other weights than .*final\.pt holds now"):
        carried_out(tmp_path / "s", spec_of(files))
    torch.save(network(10, seed=3).state_dict(), files["final"])
    run, events = carried_out(tmp_path / "s", spec_of(files))
    assert [event.checkpoint for event in events if isinstance(event, WeightsRead)] == ["4"]
    assert run.status() == "complete"


def test_without_an_initialisation_there_are_no_distances(tmp_path: Path, files: dict[str, str]):
    run, _ = carried_out(tmp_path / "s", spec_of({"final": files["final"]}))
    probe = run.probe()
    assert [column.label for column in probe.info.columns] == ["random", "1"]
    assert probe.results().distances == {}
    assert run.status() == "complete"


def test_a_trained_network_that_is_not_whole_is_refused(tmp_path: Path, files: dict[str, str]):
    with pytest.raises(ModelError, match=r"not whole: 'output\.weight' is missing: its shape is \[10, 8\]"):
        carried_out(tmp_path / "s", spec_of({"final": files["0"]}))
    with pytest.raises(SpecError, match=r"model\.weights says what training starts from"):
        carried_out(tmp_path / "s", spec_of(files, model={"weights": files["3"]}))
    carried_out(tmp_path / "s", spec_of(files))
    with pytest.raises(RunConflictError, match=r"train\.imported"):
        carried_out(tmp_path / "s", spec_of({**files, "3": files["final"]}))
    assert Store.open(tmp_path / "s").run("r").trained


def test_training_starts_from_a_file(tmp_path: Path, files: dict[str, str]):
    values = spec_of({})
    del values["train"]["imported"]
    values["train"] = {"epochs": 1, "batch_size": 32, "lr": 0.01}
    values["model"]["weights"] = files["0"]
    run, events = carried_out(tmp_path / "s", values)
    told = next(event for event in events if isinstance(event, WeightsRead))
    assert (told.checkpoint, told.absent) == ("start", ("output.weight", "output.bias"))
    start, kept = torch.load(files["0"]), run.checkpoints.read(0)
    assert torch.equal(torch.from_numpy(kept["fc1.weight"]), start["fc1.weight"])
    assert kept["output.weight"].shape == (10, 8)
    assert run.probe().info.unavailable == {}  # what the file lacked was fresh, and that is checkpoint 0
    assert run.info.origins["start"]["file"] == files["0"]
    # A fresh draw is no copy of the file.
    fresh = {c: e for c, e in run.probe().results().estimates.items() if c.layer == 0 and c.column == 0}
    assert len({estimate.loss for estimate in fresh.values()}) == 2
    # Other weights in the same file are another run.
    torch.save(network(15, seed=8).state_dict(), files["0"])
    Path(tmp_path / "s" / "runs" / "r" / "checkpoint" / "commits" / "1.json").unlink()
    with pytest.raises(RunConflictError, match=r"begun with other weights than .*0\.pt holds now"):
        carried_out(tmp_path / "s", values)


@pytest.mark.slow
def test_the_command_line_imports_and_refuses(tmp_path: Path, files: dict[str, str]):
    pairs = ", ".join(f'"{name}" = "{path}"' for name, path in files.items())
    spec = tmp_path / "s.toml"
    spec.write_text(
        f'[run]\nname = "r"\ndevice = "cpu"\n[model]\nname = "fcn"\nwidth = 8\ndepth = 2\n[data]\nname = "digits"\n'
        f"[train]\nimported = {{{pairs}}}\n[probe]\ndraws = 1\n"
    )
    done = lyrx("batch", spec, "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert f"checkpoint 0: {files['0']}; it lacks output.weight, output.bias" in said
    assert "checkpoint 4: " in said
    assert "Not available: output" in said
    Path(files["3"]).write_bytes(b"no")
    with pytest.raises(ModelError, match="cannot be read as weights") as error:
        carried_out(tmp_path / "other", spec_of(files))
    assert error.value.exit_code == 2
    assert not (tmp_path / "other").exists()


def test_the_store_takes_no_final_checkpoint_that_lacks_something(tmp_path: Path):
    run = Store.open_or_create(tmp_path / "s").create_run(run_info(), PROBE)
    some = {name: value for name, value in weights(1).items() if name != "fc2.weight"}
    with run.writing("test"):
        with pytest.raises(CheckpointError, match=r"tensors differ in \['fc2\.weight'\]"):
            run.checkpoints.append(0, some, "a" * 64)
        with pytest.raises(CheckpointError, match=r"final checkpoint .* lacks \['fc2\.weight'\]"):
            run.checkpoints.append(2, some, "a" * 64, {"fc2.weight": "gone"})
        run.checkpoints.append(0, some, "a" * 64, {"fc2.weight": "of another shape"})
    with pytest.raises(NotAvailableError, match=r"'fc2\.weight' has no checkpoint 0 in run 'small': of another shape"):
        run.checkpoints.read(0, ["fc2.weight"])
    assert run.checkpoints.read(0, ["fc1.bias"])["fc1.bias"].shape == (4,)
    assert run.checkpoints.verify(0) == []
    with pytest.raises(NotCommittedError):
        run.checkpoints.absent(2)


def test_a_probe_keeps_what_is_unavailable(tmp_path: Path):
    info = replace(PROBE, unavailable={(1, 1): "no head", (None, 1): "not whole"}, fingerprint="e" * 64)
    assert type(info).from_json(json.loads(json.dumps(info.to_json()))) == info
    assert type(PROBE).from_json({k: v for k, v in PROBE.to_json().items() if k != "unavailable"}) == PROBE
    assert info.columns[1] == Column("reinitialise", 0)
    assert [cell for cell in PROBE.all_cells() if cell not in info.all_cells()] == [Cell(None, 1), Cell(1, 1)]
