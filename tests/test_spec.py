"""Specs: what is wrong is said with its place, what is allowed, and the nearest right name."""

from pathlib import Path

import pytest
from lyrx.engine.errors import SpecError
from lyrx.engine.spec import Spec, differences, identity
from lyrx.engine.specfile import load_spec, make_spec
from lyrx.store import LyrxError

BASE = {
    "run": {"name": "x"},
    "model": {"name": "fcn"},
    "data": {"name": "digits"},
    "train": {"epochs": 50},
}

TEXT = '[run]\nname = "x"\n[model]\nname = "fcn"\n[data]\nname = "digits"\n[train]\nepochs = 50\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "spec.toml"
    path.write_text(TEXT)
    return path


def test_defaults_are_the_papers(file: Path):
    spec = load_spec(file)
    assert spec.train.kept() == (0, 1, 2, 3, 8, 20, 40, 50)
    assert (spec.train.optimizer, spec.train.momentum, spec.train.gamma, spec.train.batch_size) == (
        "sgd",
        0.9,
        0.2,
        128,
    )
    assert spec.probe.granularity == "layer"
    assert spec.resolved()["train"]["checkpoints"] == [0, 1, 2, 3, 8, 20, 40, 50]


def test_the_first_and_the_last_checkpoint_are_always_kept():
    spec = make_spec({**BASE, "train": {"epochs": 9, "checkpoints": [4, 2, 4]}})
    assert spec.train.kept() == (0, 2, 4, 9)
    assert spec.probe_checkpoints() == (0, 2, 4, 9)
    chosen = make_spec({**BASE, "train": {"epochs": 9, "checkpoints": [4, 2]}, "probe": {"checkpoints": [2]}})
    assert chosen.probe_checkpoints() == (2, 9)


def test_the_learning_rate_drops_after_its_milestones():
    spec = make_spec({**BASE, "train": {"epochs": 100, "lr": 0.1, "milestones": [30, 60, 90], "gamma": 0.2}})
    lrs = [spec.train.lr_at(epoch) for epoch in (1, 30, 31, 60, 61, 90, 91, 100)]
    assert lrs == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.004, 0.0008, 0.0008])


def test_a_resolved_spec_is_a_spec_and_resolves_to_itself(file: Path):
    resolved = load_spec(file, ["train.milestones=[3, 4]", "probe.draws=5"]).resolved()
    assert make_spec(resolved).resolved() == resolved


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["train.epochs=0"], ["--set train.epochs=0", "train.epochs", "greater than or equal to 1"]),
        (["train.epochs=abc"], ["train.epochs", "valid integer", "'abc'"]),
        (["train.epochs=2.5"], ["train.epochs", "integer"]),
        (["train.lr=0"], ["train.lr", "greater than 0"]),
        (["train.lr=nan"], ["train.lr", "finite"]),
        (["train.checkpoints=[0, 51]"], ["51", "0 to 50"]),
        (["train.checkpoints=[-1]"], ["-1", "0 to 50"]),
        (["train.epohcs=3"], ["unknown key 'train.epohcs'", "Did you mean 'epochs'?", "batch_size"]),
        (["trian.epochs=3"], ["unknown section 'trian'", "Did you mean 'train'?"]),
        (["model.name=fnc"], ["unknown model 'fnc'", "Did you mean 'fcn'?"]),
        (["model.wdith=3"], ["unknown key 'model.wdith'", "Did you mean 'width'?", "depth"]),
        (["model.width=0"], ["model.width", "1"]),
        (["data.name=mnits"], ["unknown data set 'mnits'", "Did you mean 'mnist'?", "digits"]),
        (["data.root=x"], ["unknown key 'data.root'"]),
        (["data.name=arrays"], ["'data.root' is missing"]),
        (["probe.granularity=layers"], ["'layer', 'module', 'block' or 'patterns'", "Did you mean 'layer'?"]),
        (["probe.granularity=patterns"], ["patterns"]),
        (["probe.checkpoints=[5]"], ["5 is not kept", "[0, 1, 2, 3, 8, 20, 40, 50]"]),
        (["train.milestones=[4, 2]"], ["ascending"]),
        (["train.optimizer=sdg"], ["'sgd', 'adam' or 'adamw'", "Did you mean 'sgd'?"]),
        (["nonsense"], ["section.key=value"]),
        (["train.epochs.deeper=3"], ["no section"]),
        (["model.name=not a module:f"], ["package.module:function"]),
        (["run.name="], ["run.name", "at least 1"]),
        (["run.seed=-1"], ["run.seed", "0"]),
    ],
)
def test_what_is_wrong_is_said(file: Path, overrides: list[str], said: list[str]):
    with pytest.raises(SpecError) as caught:
        load_spec(file, overrides)
    assert caught.value.exit_code == 2
    for part in said:
        assert part in str(caught.value)


def test_errors_name_the_file(file: Path, tmp_path: Path):
    file.write_text(TEXT + "epoch = 3\n")
    with pytest.raises(SpecError, match=r"spec\.toml: unknown key 'train\.epoch'"):
        load_spec(file)
    file.write_text(TEXT + "x = \n")
    with pytest.raises(SpecError, match=r"spec\.toml is not valid TOML"):
        load_spec(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="UTF-8"):
        load_spec(file)
    with pytest.raises(SpecError, match="there is no spec file"):
        load_spec(tmp_path / "missing.toml")
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path)
    file.write_text("")
    with pytest.raises(SpecError, match="section 'run' is missing"):
        load_spec(file)
    file.write_text("train = 3\n")
    with pytest.raises(LyrxError):
        load_spec(file)


def test_a_name_with_escape_sequences_stays_inert_in_messages(file: Path):
    with pytest.raises(SpecError) as caught:
        load_spec(file, ["model.name=\x1b[31mred", "ru\x1bn.x=3"])
    assert "\x1b" not in str(caught.value)


def test_identity_leaves_out_where_and_how():
    here = make_spec({**BASE, "data": {"name": "mnist", "root": "a"}}).resolved()
    there = make_spec(
        {**BASE, "data": {"name": "mnist", "root": "b"}, "run": {"name": "y", "device": "cpu"}}
    ).resolved()
    sections = ("run", "model", "data", "train")
    assert differences(identity(here, sections), identity(there, sections)) == []
    other = make_spec({**BASE, "data": {"name": "mnist", "root": "a"}, "train": {"epochs": 50, "lr": 0.5}}).resolved()
    assert differences(identity(here, sections), identity(other, sections)) == ["train.lr: 0.1, now 0.5"]


def test_every_example_is_a_valid_spec():
    examples = sorted((Path(__file__).parent.parent / "examples").rglob("*.toml"))
    assert len(examples) >= 2
    for path in examples:
        assert isinstance(load_spec(path), Spec)
