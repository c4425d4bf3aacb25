"""The command line: exit codes, one clear message, nothing half-written; and it goes on where it stopped."""

import ctypes
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lyrx.explorer.cli import app
from lyrx.explorer.clilook import METRIC_NAMES
from lyrx.explorer.core.picture import METRICS
from lyrx.store import Cell, Store
from running import batch, command, environment, lyrx, start, write_spec
from small import finished_store
from typer.testing import CliRunner

TESTS = Path(__file__).parent
ROOT = TESTS.parent


def call(*arguments: str | Path):
    """The command line in this process: quick, with torch imported once."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result, *said: str) -> None:
    """Exit code 2, one message, no traceback, no escape sequence."""
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stderr.startswith("lyrx: ")
    assert "\x1b" not in result.output
    for part in said:
        assert part in result.stderr.replace("\n", " "), result.stderr


def images(n: int = 40, **changes: np.ndarray) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "train_inputs": generator.integers(0, 255, size=(n, 1, 4, 4), dtype=np.uint8),
        "train_targets": generator.integers(0, 3, size=n),
        "test_inputs": generator.integers(0, 255, size=(n, 1, 4, 4), dtype=np.uint8),
        "test_targets": generator.integers(0, 3, size=n),
        **changes,
    }


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.epochs=0", ["train.epochs", "1"]),
        ("train.epohcs=3", ["Did you mean 'epochs'?"]),
        ("train.lr=high", ["train.lr", "number"]),
        ("train.checkpoints=[0, 9]", ["9 is not an epoch", "0 to 3"]),
        ("model.name=fcnn", ["unknown model", "Did you mean 'fcn'?"]),
        ("model.name=nowhere.models:make", ["cannot import 'nowhere.models'", "working folder"]),
        ("model.name=models_for_tests:nothing_there", ["has no 'nothing_there'"]),
        ("model.name=models_for_tests:wrong_output", ["[2, 3]", "[2, 10]"]),
        ("model.name=models_for_tests:no_parameters", ["no parameters that can be trained"]),
        ("model.name=models_for_tests:not_a_model", ["int, not a torch.nn.Module"]),
        ("model.name=models_for_tests:raising", ["cannot be built", "no network today"]),
        ("model.name=models_for_tests:lazy", ["lazy parameters"]),
        ("model.name=models_for_tests:frozen", ["no parameters that can be trained"]),
        ("model.name=broken_for_tests:model", ["cannot import", "SyntaxError"]),
        ("model.width=100000000000", ["cannot be built"]),
        ("train.epochs=3000000000", ["train.epochs", "1000000"]),
        ("train.momentum=0.9", ["train.momentum", "'adam' has none"]),
        ("data.name=minst", ["unknown data set", "Did you mean 'mnist'?"]),
        ('probe.layers=["conv*"]', ["'conv*' matches no layer", "fc1, fc2, output"]),
        ("run.name=" + "x" * 300, ["Choose a shorter one"]),
        ("run.device=cuda", ["run.device", "CUDA"]),
        ("nonsense", ["section.key=value"]),
    ],
)
def test_a_wrong_spec_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, said: list[str]
):
    if override == "run.device=cuda":
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
    changes = {"model": {"name": "fcn"}} if override.startswith("model.name") else {}
    changes |= {"train": {"optimizer": "adam"}} if override.startswith("train.momentum") else {}
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "broken_for_tests.py").write_text("def model(:\n")
    spec = write_spec(tmp_path / "spec.toml", **changes)
    refused(call("batch", spec, "--store", tmp_path / "s.zarr", "--set", override), *said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["modules", "spec.toml"]


@pytest.mark.parametrize("text", ["[run", "run = 3", "", "[run]\nname = 1\n"])
def test_a_malformed_file_is_refused(tmp_path: Path, text: str):
    (tmp_path / "spec.toml").write_text(text)
    refused(call("batch", tmp_path / "spec.toml", "--store", tmp_path / "s.zarr"), "spec.toml")
    refused(call("batch", tmp_path / "none.toml", "--store", tmp_path / "s.zarr"), "no spec file", "none.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, ["there is no file", "train_inputs"]),
        (lambda p: p.write_bytes(b"PK\3\4 not a zip"), ["cannot be read as .npz"]),
        (lambda p: np.save(p.open("wb"), np.zeros(3)), ["cannot be read as .npz"]),
        (lambda p: np.savez(p, **images(train_inputs=np.zeros((40, 0), np.uint8))), ["no examples"]),
        (lambda p: np.savez(p, **images(train_inputs=np.full((40, 1, 4, 4), 1e300))), ["float32", "not finite"]),
        (lambda p: np.savez(p, **images(train_targets=np.full(40, 2**63, np.uint64))), ["out of range"]),
        (lambda p: np.savez(p, train_inputs=np.zeros(3)), ["lacks train_targets, test_inputs, test_targets"]),
        (
            lambda p: np.savez(p, **images(train_targets=np.zeros(39, int))),
            ["40 inputs need labels of shape (40,)"],
        ),
        (
            lambda p: np.savez(p, **images(test_targets=np.full(40, -1))),
            ["example 0 has label -1, out of range"],
        ),
        (lambda p: np.savez(p, **images(train_targets=np.full(40, 7))), ["label 7, out of range (0 to 2)"]),
        (lambda p: np.savez(p, **images(train_targets=np.zeros(40))), ["labels are float64"]),
        (lambda p: np.savez(p, **images(train_inputs=np.zeros((40, 1, 4, 4), int))), ["inputs are int64"]),
        (lambda p: np.savez(p, **images(train_inputs=np.full((40, 1, 4, 4), np.nan))), ["not finite"]),
        (
            lambda p: np.savez(p, **images(test_inputs=np.zeros((40, 1, 5, 5), np.uint8))),
            ["(1, 4, 4)", "(1, 5, 5)"],
        ),
        (lambda p: np.savez(p, **images(train_inputs=np.zeros((0, 1, 4, 4), np.uint8))), ["no examples"]),
        (lambda p: np.savez(p, **images(train_targets=np.array([object()] * 40))), ["cannot be read"]),
    ],
)
def test_wrong_data_are_refused(tmp_path: Path, make: Callable[[Path], None], said: list[str]):
    make(tmp_path / "d.npz")
    data = {"name": "arrays", "root": str(tmp_path / "d.npz"), "classes": 3}
    spec = write_spec(tmp_path / "spec.toml", data=data)
    refused(call("batch", spec, "--store", tmp_path / "s.zarr"), "d.npz", *said)
    assert not (tmp_path / "s.zarr").exists()


def test_absent_mnist_says_where_it_looked_and_how_to_get_it(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml", data={"name": "mnist", "root": str(tmp_path / "data")})
    result = call("batch", spec, "--store", tmp_path / "s.zarr")
    refused(result, str(tmp_path / "data" / "MNIST" / "raw"), "train-images-idx3-ubyte", "data.download=true")
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"\0\0\x08\x01\0\0")
    refused(call("batch", spec, "--store", tmp_path / "s.zarr"), "data 'mnist'", "damaged")


def test_a_download_that_fails_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    data = {"name": "mnist", "root": str(tmp_path / "data"), "download": True}
    spec = write_spec(tmp_path / "spec.toml", data=data)
    result = call("batch", spec, "--store", tmp_path / "s.zarr")
    refused(result, "downloaded to", "by hand", "no network in this test")
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spec.toml"]


def test_paths_that_are_no_store(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").write_text("x")
    for arguments in (
        ["batch", spec, "--store"],
        ["ls", "--store"],
        ["check"],
        ["explore"],
        ["show", "r", "--store"],
    ):
        refused(call(*arguments, tmp_path / "folder"), "not a lyrx store")
        if arguments[0] != "batch":
            refused(call(*arguments, tmp_path / "none"), "there is no store", "none")
        refused(call(*arguments, spec), "not a lyrx store")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["precious"]
    finished_store(tmp_path / "s.zarr")
    meta = json.loads((tmp_path / "s.zarr" / "zarr.json").read_text())
    meta["attributes"]["lyrx"]["schema"] = 9
    (tmp_path / "s.zarr" / "zarr.json").write_text(json.dumps(meta))
    for arguments in (
        ["batch", spec, "--store"],
        ["ls", "--store"],
        ["check"],
        ["explore"],
        ["show", "r", "--store"],
    ):
        refused(call(*arguments, tmp_path / "s.zarr"), "schema 9", "newer lyrx")


def test_unknown_runs_probes_and_metrics(tmp_path: Path):
    store, _ = finished_store(tmp_path / "s.zarr", "mnist-run")
    refused(call("show", "minst-run", "--store", store.path), "Did you mean 'mnist-run'?")
    refused(
        call("show", "mnist-run", "--store", store.path, "--probe", "block"),
        "no probe 'block'",
        "layer-ffffffff",
    )
    for near in ("lay", "LAYER-fffffff"):
        wrong = call("show", "mnist-run", "--store", store.path, "--probe", near)
        refused(wrong, f"no probe '{near}'. Did you mean 'layer", "layer-ffffffff")
    show = ("show", "mnist-run", "--store", store.path, "--metric")
    every = "There are: error, loss, agreement, l2, linf, width, verdict."
    refused(call(*show, "agrement"), f"there is no metric 'agrement'. Did you mean 'agreement'? {every}")
    refused(call(*show, "Verdict"), "Did you mean 'verdict'?", every)
    refused(call(*show, "\x1b[31mNONSENSE"), f"there is no metric '\\x1b[31mNONSENSE'. {every}")
    output = tmp_path / "x.csv"
    refused(call(*show, "eror", "--output", output), "Did you mean 'error'?")
    assert not output.exists()


def test_the_metrics_of_the_command_line_are_those_there_are():
    assert tuple(METRICS) == METRIC_NAMES
    assert ", ".join(METRIC_NAMES) in " ".join(call("show", "--help").output.replace("│", " ").split())


def test_a_damaged_cell_is_named_and_never_shown_as_a_number(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    record = run.probe().record(Cell(0, 1, 0))
    assert b'"values":[' in record.read_bytes()
    record.write_bytes(record.read_bytes().replace(b'"values":[', b'"values":[0.7777,').replace(b",100.0]", b"]"))
    for arguments in (["show", "small"], ["show", "small", "--json"]):
        result = call(*arguments, "--store", store.path)
        refused(result, "damaged", "estimate/commits/0.1.0.json")
        assert "77.8" not in result.output
        assert "0.7777" not in result.output
    result = call("check", store.path)
    assert result.exit_code == 2
    assert "estimate/commits/0.1.0.json" in result.output.replace("\n", "")
    assert "1 damaged" in result.output


def test_check_of_a_whole_store(tmp_path: Path):
    store, _ = finished_store(tmp_path / "s.zarr")
    result = call("check", store.path)
    assert result.exit_code == 0
    assert "1 runs, 2 checkpoints" in result.output
    assert "all whole" in result.output


def test_a_run_name_twice_with_another_spec_says_how_they_differ(tmp_path: Path):
    batch(tmp_path / "s.zarr")
    spec = write_spec(tmp_path / "spec.toml", train={"lr": 0.5}, model={"width": 8})
    before = sorted(str(path) for path in (tmp_path / "s.zarr").rglob("*"))
    refused(
        call("batch", spec, "--store", tmp_path / "s.zarr"),
        "model.width: 16, now 8",
        "train.lr: 0.05, now 0.5",
        "--fresh",
        "run.name",
    )
    assert sorted(str(path) for path in (tmp_path / "s.zarr").rglob("*")) == before
    other = write_spec(tmp_path / "other.toml")
    refused(call("batch", spec, other, "--store", tmp_path / "t.zarr"), "two of the specs are called 'r'")
    assert not (tmp_path / "t.zarr").exists()


def test_a_run_locked_by_a_live_writer_is_refused(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    spec = write_spec(tmp_path / "spec.toml")
    with run.writing("the other one"):
        for arguments in ([], ["--fresh"]):
            refused(
                call("batch", spec, "--store", tmp_path / "s.zarr", *arguments),
                f"process {os.getpid()}",
                "the other one",
            )
    assert run.status() == "complete"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="capabilities")
def test_a_store_without_write_permission(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", train={"epochs": 1, "checkpoints": []})
    spec = write_spec(tmp_path / "spec.toml", train={"epochs": 1, "checkpoints": []}, run={"name": "second"})
    same = write_spec(tmp_path / "same.toml", train={"epochs": 1, "checkpoints": []})
    folders = [path for path in (tmp_path / "s.zarr").rglob("*") if path.is_dir()] + [tmp_path / "s.zarr"]
    for folder in folders:
        folder.chmod(0o555)
    for path in (tmp_path / "s.zarr").rglob("lock"):
        path.chmod(0o444)
    try:
        outcomes = [
            as_anybody(tmp_path, command("batch", path, "--store", tmp_path / "s.zarr")) for path in (spec, same)
        ]
        listed = as_anybody(tmp_path, command("ls", "--store", tmp_path / "s.zarr"))
    finally:
        for folder in folders:
            folder.chmod(0o755)
    for outcome in outcomes:
        assert outcome.returncode == 2, outcome.stderr
        assert "permission" in outcome.stderr.lower()
        assert "Traceback" not in outcome.stderr
    assert listed.returncode == 0, listed.stderr
    assert "complete" in listed.stdout
    assert run.status() == "complete"


def as_anybody(folder: Path, arguments) -> subprocess.CompletedProcess[str]:
    """Run without root's privilege of writing whatever the permissions say (tests in containers run as root)."""

    def drop() -> None:
        libc = ctypes.CDLL(None)
        for capability in (1, 2, 3):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP

    as_root = {"preexec_fn": drop} if os.getuid() == 0 else {}
    return subprocess.run(
        arguments, capture_output=True, text=True, env=environment(), cwd=folder, timeout=120, **as_root
    )


def test_names_with_escape_sequences_and_markup_stay_inert(tmp_path: Path):
    name = "\x1b[31m[bold red]evil[/]\x07\u202e"
    batch(tmp_path / "s.zarr", run={"name": name}, train={"epochs": 1, "checkpoints": []})
    shown = r"\x1b[31m[bold red]evil[/]\x07\u202e"
    for arguments in (["ls", "--store"], ["check"], ["show", name, "--store"]):
        result = call(*arguments, tmp_path / "s.zarr")
        assert result.exit_code == 0, result.output
        assert shown in result.output.replace("\n", ""), result.output
        assert not set(result.output) & {"\x1b", "\x07", "\u202e"}
    spec = write_spec(tmp_path / "spec.toml")
    text = spec.read_text().replace('name = "r"', r'name = "\u001b[31m[bold red]evil[/]\u0007\u202e"')
    spec.write_text(text)
    refused(call("batch", spec, "--store", tmp_path / "s.zarr"), "train.epochs: 1, now 3")


@pytest.mark.slow
def test_batch_goes_on_and_does_nothing_when_all_is_done(tmp_path: Path):
    one = write_spec(tmp_path / "one.toml")
    write_spec(tmp_path / "two.toml", run={"name": "two"}, probe={"granularity": "module"})
    done = lyrx(
        "batch",
        "one.toml",
        "two.toml",
        "--set",
        "train.epochs=2",
        "--set",
        "train.checkpoints=[1]",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "r: epoch 2/2" in done.stdout
    assert "two: epoch 2/2" in done.stdout
    assert "lyrx explore lyrx.zarr" in done.stdout
    store = tmp_path / "lyrx.zarr"  # the default, in the working folder
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file() and path.name != "lock"}
    arguments = [one, "--store", store, "--set", "train.epochs=2", "--set", "train.checkpoints=[1]"]
    again = call("batch", *arguments)
    assert again.exit_code == 0, again.output
    assert "nothing to do" in again.output
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file() and p.name != "lock"} == before
    fresh = call("batch", *arguments, "--fresh")
    assert fresh.exit_code == 0
    assert "epoch 1/2" in fresh.output
    assert sorted(run.name for run in Store.open(store).runs()[0]) == ["r", "two"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_is_130_and_keeps_its_state(tmp_path: Path, how: signal.Signals):
    spec = write_spec(tmp_path / "spec.toml", train={"epochs": 2000, "checkpoints": [0]})
    with start("batch", spec, "--store", tmp_path / "s.zarr") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if "epoch 3/" in line:
                process.send_signal(how)
                break
        process.stdout.read()
        errors = process.stderr.read()
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    run = Store.open(tmp_path / "s.zarr").run("r")
    assert run.status() == "interrupted"
    state = run.resume.read(run.info.fingerprint)
    assert state is not None
    assert state.epoch >= 3


def test_a_run_that_fails_ends_with_1(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml", train={"lr": 1e30})
    result = call("batch", spec, "--store", tmp_path / "s.zarr")
    assert result.exit_code == 1
    assert "diverged in epoch 1" in result.stderr
    assert "Traceback" not in result.output


def test_the_heatmap_as_text(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    probe = run.probe()
    for metric in ("error", "loss", "agreement", "l2", "linf"):
        result = call("show", "r", "--store", tmp_path / "s.zarr", "--metric", metric)
        assert result.exit_code == 0, result.output
        for name in ("fc1", "fc2", "output"):
            assert name in result.output
    text = call("show", "r", "--store", tmp_path / "s.zarr").output
    estimate = probe.read(Cell(1, 1, 0))
    assert estimate is not None
    assert f"{100 * estimate.error:.1f}" in text


def test_explore_needs_a_terminal(tmp_path: Path):
    finished_store(tmp_path / "s.zarr")
    refused(call("explore", tmp_path / "s.zarr"), "needs a terminal")


def test_the_version():
    result = call("--version")
    assert result.exit_code == 0
    assert result.output.startswith("lyrx 0.")


@pytest.mark.slow
def test_the_quickstart(tmp_path: Path):
    done = lyrx("batch", ROOT / "examples" / "quickstart.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "lyrx explore lyrx.zarr" in done.stdout
    shown = json.loads(lyrx("show", "quickstart", "--json", cwd=tmp_path).stdout)
    assert shown["status"] == "complete"
    assert shown["baseline"]["error"] < 0.05
    errors = {(cell["layer"], cell["column"]): cell["error"] for cell in shown["cells"]}
    assert min(errors[layer, 0] for layer in range(4)) > 0.5  # re-randomising any layer destroys the network
    assert errors[0, 1] > errors[3, 1]  # the first layer at its initialisation matters more than the last


def test_explore_in_a_terminal_that_is_too_small(tmp_path: Path):
    store, _ = finished_store(tmp_path / "s.zarr")
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 20, 0, 0))
    env = {key: value for key, value in environment().items() if key not in ("COLUMNS", "LINES")}
    done = subprocess.run(
        command("explore", store.path),
        stdin=child,
        stdout=child,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        timeout=60,
    )
    os.close(parent)
    os.close(child)
    assert done.returncode == 2
    assert done.stderr.startswith("lyrx: the terminal is too small: 20 x 5")


@pytest.mark.slow
def test_a_reader_that_goes_away(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml", train={"epochs": 300, "checkpoints": [0]})
    with start("batch", spec, "--store", tmp_path / "s.zarr") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 1, errors  # not 0: the run is not complete
    assert "What was finished is kept" in errors
    assert "Traceback" not in errors


def test_a_terminal_that_knows_ascii_only(tmp_path: Path):
    store, _ = finished_store(tmp_path / "s.zarr")
    done = lyrx("show", "small", "--store", store.path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "10.0" in done.stdout
