"""Specs: what is wrong is said with its place, what is allowed, and the nearest right name."""

import shlex
from pathlib import Path

import pytest
from lyrx.engine.errors import SpecError
from lyrx.engine.spec import Spec, differences, identity
from lyrx.engine.specfile import load_spec, make_spec, stored_spec
from lyrx.store import LyrxError

EXAMPLES = Path(__file__).parent.parent / "examples"

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
    lrs = [spec.train.lr_at(7 * (epoch - 1), 7) for epoch in (1, 30, 31, 60, 61, 90, 91, 100)]
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
        (["train.optimizer=my-sgd"], ["train.optimizer", "pattern"]),
        (["train.schedule=rsqrt"], ["train.warmup", "at least 1 step"]),
        (["train.schedule=cosine", "train.milestones=[3]"], ["train.milestones", "schedule = 'steps'"]),
        (["train.accumulate=129"], ["train.accumulate", "not so many parts"]),
        (["train.label_smoothing=1"], ["train.label_smoothing", "less than 1"]),
        (["train.clip=0"], ["train.clip", "greater than 0"]),
        (["train.precision=fp32"], ["'no', 'bf16' or 'fp16'"]),
        (["nonsense"], ["section.key=value"]),
        (["train.epochs.deeper=3"], ["no section"]),
        (["model.name=not a module:f"], ["package.module:function"]),
        (["run.name="], ["run.name", "at least 1"]),
        (["run.seed=-1"], ["run.seed", "0"]),
        (['probe.at=["nosie:0.1"]'], ["--set probe.at", "'nosie:0.1' is no column", "Did you mean 'noise'?", "EPOCH"]),
        (['probe.at=["zero", "7"]'], ["--set probe.at", "7 is not kept", "[0, 1, 2, 3, 8, 20, 40, 50]"]),
        (['probe.at=["path:7:0.5"]'], ["probe.at: 7 is not kept"]),
        (["probe.at=[]"], ["probe.at", "at least 1"]),
        (["probe.at=zero"], ["probe.at", "list"]),
        (["probe.at=[true]"], ["probe.at", "string"]),
        (['probe.at=["random"]', "probe.draws=0"], ["--set probe.draws=0: probe.draws", "draw random numbers"]),
        (['probe.at=["0"]', "probe.checkpoints=[0]"], ["probe.at: names all columns"]),
        (["probe.joint=[[]]"], ["probe.joint", "at least one pattern"]),
        (['probe.joint=["fc1"]'], ["probe.joint", "list"]),
        (["probe.tolerance=5"], ["probe.tolerance", "less than or equal to 1"]),
        (["probe.tolerance=nan"], ["probe.tolerance"]),
        (["probe.precision=bf61"], ["'fp32', 'tf32', 'bf16' or 'fp16'", "Did you mean 'bf16'?"]),
        (["probe.evaluator=fast"], ["'replay' or 'full'"]),
        (["probe.exact=1"], ["probe.exact", "boolean"]),
        (["probe.memory=8 gigs"], ["probe.memory: '8 gigs' is no size", "GiB", "'8GiB'"]),
        (["probe.memory=0GiB"], ["probe.memory", "above 0"]),
        (["probe.memory=8"], ["probe.memory"]),
        (["probe.batch_size=0"], ["probe.batch_size", "1"]),
        (["probe.norm_statistics=estimated"], ["'rewound', 'kept' or 'reestimated'"]),
        (["probe.norm_batches=3"], ["--set probe.norm_batches=3", "norm_statistics = 'reestimated'"]),
        (["probe.norm_statistics=reestimated", "probe.norm_batches=0"], ["probe.norm_batches", "1"]),
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
    examples = sorted(EXAMPLES.rglob("*.toml"))
    assert len(examples) >= 2
    for path in examples:
        assert isinstance(load_spec(path), Spec)


def labels(**probe: object) -> list[str]:
    return [column.label for column in make_spec({**BASE, "train": {"epochs": 9}, "probe": probe}).columns()]


@pytest.mark.parametrize("path", sorted((EXAMPLES / "paper").glob("*.toml")), ids=lambda path: path.stem)
def test_the_quick_form_in_a_specs_head_is_a_valid_spec_too(path: Path, tmp_path: Path):
    lines = iter(path.read_text().splitlines())
    line = next(line for line in lines if line.startswith("#") and "quick form" in line)
    while "--set" not in line:
        line = next(lines)
    said = []
    while "--set" in line:
        said += shlex.split(line[line.index("--set") :])
        line = next(lines)
    overrides = [word for word in said if word != "--set"]
    assert len(said) == 2 * len(overrides) > 4
    folder = [key for key in overrides if key.endswith(("=FOLDER", "=FILE"))]
    given = [key for key in overrides if key not in folder] + [f"data.root={tmp_path}"]
    quick, whole = load_spec(path, given), load_spec(path)
    assert quick.run.name != whole.run.name, "it would be taken for the run itself"
    assert quick.train.epochs <= 3
    assert not quick.train.imported
    columns = quick.columns()
    assert columns[0].kind == "rerandomise"
    assert [column.checkpoint for column in columns[1:]] == list(quick.train.kept())


def test_columns_are_ordered_unique_and_end_at_the_trained_network():
    assert labels() == ["random", "0", "1", "2", "3", "8", "9"]
    assert labels(draws=0, checkpoints=[3, 1, 3]) == ["1", "3", "9"]
    at = [8, "final", "path:2:0.5", "noise:1", "noise:0.1", "path:0.5", "zero", "shuffle", 8, "random", 0, "path:0.25"]
    drawn = ["random", "shuffle", "noise:0.1", "noise:1"]
    assert labels(at=at) == [*drawn, "zero", "path:0.25", "path:0.5", "path:2:0.5", "0", "8", "9"]
    assert labels(at=["zero"]) == ["zero", "9"]  # the baseline is always measured
    spec = make_spec({**BASE, "probe": {"at": ["random", "noise:2", "zero"], "draws": 5}})
    assert [column.draws for column in spec.columns()] == [5, 5, 1, 1]
    assert spec.probe_checkpoints() == (50,)
    resolved = make_spec({**BASE, "probe": {"at": ["path:0:.5", "final", " zero", "zero"]}}).resolved()
    assert resolved["probe"]["at"] == ["zero", "path:0.5", "50"]
    assert make_spec(resolved).resolved() == resolved


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GiB", 8 * 2**30), ("1.5 mib", 3 * 2**19), ("100 MB", 10**8), ("7B", 7), ("1TiB", 2**40), ("2gb", 2 * 10**9)],
)
def test_sizes_of_memory(text: str, size: int):
    assert make_spec({**BASE, "probe": {"memory": text}}).probe.memory_bytes == size
    assert make_spec(BASE).probe.memory_bytes is None


def test_how_a_probe_computes_and_when_it_stops_is_not_what_it_is():
    plain = make_spec(BASE).resolved()
    how = {"batch_size": 7, "memory": "1GiB", "evaluator": "full", "exact": True, "tolerance": 0.5}
    assert identity(make_spec({**BASE, "probe": how}).resolved(), ("probe",)) == identity(plain, ("probe",))
    reestimated = {"norm_statistics": "reestimated"}
    for what in ({"precision": "bf16"}, reestimated, {**reestimated, "norm_batches": 3}, {"joint": [["fc*"]]}):
        assert identity(make_spec({**BASE, "probe": what}).resolved(), ("probe",)) != identity(plain, ("probe",))


OLD = {
    "run": {"name": "x", "seed": 0, "device": "auto"},
    "model": {"name": "fcn", "width": 256, "depth": 3, "batch_norm": False},
    "data": {"name": "digits"},
    "train": {**make_spec(BASE).resolved()["train"]},
    "probe": {
        "granularity": "layer",
        "patterns": {},
        "layers": [],
        "checkpoints": None,
        "draws": 3,
        "norm_statistics": "rewound",
        "examples": None,
        "batch_size": 1000,
    },
}


def test_a_spec_that_an_older_lyrx_stored_is_read():
    spec = make_spec(OLD)
    assert spec.probe.batch_size == 1000
    assert spec.columns() == make_spec(BASE).columns()
    assert identity(spec.resolved(), ("run", "model", "data", "train", "probe")) == identity(
        make_spec(BASE).resolved(), ("run", "model", "data", "train", "probe")
    )


def test_a_stored_spec_with_other_keys():
    stored = make_spec({**BASE, "probe": {"checkpoints": [0], "layers": ["fc1"], "joint": [["fc*"]]}}).resolved()
    before = repr(stored)
    assert stored_spec(stored, "x", {}).resolved() == stored
    spec = stored_spec(stored, "x", {"probe.at": ["zero"], "run.device": "cpu"})
    assert [column.label for column in spec.columns()] == ["zero", "50"]
    assert spec.run.device == "cpu"
    assert spec.probe.layers == ["fc1"]
    # Patterns of rows mean nothing where rows have other names, unless they are said anew.
    assert stored_spec(stored, "x", {"probe.granularity": "block"}).probe.layers == []
    assert stored_spec(stored, "x", {"probe.granularity": "block", "probe.layers": ["a"]}).probe.layers == ["a"]
    assert stored_spec(stored, "x", {"probe.granularity": "layer"}).probe.joint == [["fc*"]]
    at = stored_spec(stored, "x", {"probe.at": ["zero"]}).resolved()
    assert stored_spec(at, "x", {"probe.checkpoints": [1]}).probe_checkpoints() == (1, 50)
    norms = {"probe.norm_statistics": "reestimated", "probe.norm_batches": 3}
    few = stored_spec(stored, "x", norms).resolved()
    assert stored_spec(few, "x", {"probe.norm_statistics": "kept"}).probe.norm_batches == 20
    assert repr(stored) == before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"train.lr": 0.5}, ["'train.lr' cannot change", "run.device"]),
        ({"run.name": "y"}, ["'run.name' cannot change"]),
        ({"nothing": 3}, ["'nothing' cannot change"]),
        ({"probe.tolerence": 0.5}, ["the probe asked for: unknown key 'probe.tolerence'", "Did you mean 'tolerance'?"]),
        ({"probe.at": ["9"]}, ["the probe asked for: probe.at: 9 is not kept"]),
        ({"probe.at.x": 1}, ["no section"]),
        ({"probe.at": ["0"], "probe.checkpoints": [0]}, ["the probe asked for", "probe.at"]),
    ],
)
def test_what_cannot_replace_a_stored_key_is_refused(overrides: dict, said: list[str]):
    with pytest.raises(SpecError) as caught:
        stored_spec(make_spec({**BASE, "probe": {"at": ["zero"]}}).resolved(), "x", overrides)
    for part in said:
        assert part in str(caught.value)
