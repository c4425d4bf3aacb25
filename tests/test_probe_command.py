"""`lyrx probe`: another probe of a run that is trained, in a process of its own or in this one."""

import json
import signal
from pathlib import Path

import pytest
from lyrx.engine import session
from lyrx.explorer.cli import app
from lyrx.store import Run, Store
from lyrx.store.notes import BATCHES
from running import batch, lyrx, start, write_spec
from test_cli import refused
from typer.testing import CliRunner


def probe(store: Path, *arguments: str):
    """The command in this process: quick, with torch imported once."""
    return CliRunner().invoke(app, ["probe", "r", "--store", str(store), *arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A trained run; its tests add probes to it."""
    path = tmp_path_factory.mktemp("probed") / "s.zarr"
    batch(path, probe={"draws": 1, "layers": ["output"]})
    return path


def opened(store: Path) -> Run:
    return Store.open(store).run("r")


def test_every_option_in_a_process_of_its_own(tmp_path: Path):
    batch(tmp_path / "s.zarr", model={"name": "fcn", "width": 8, "depth": 2, "batch_norm": True})
    done = lyrx(
        *("probe", "r", "--store", tmp_path / "s.zarr", "--at", "0,1,random, zero ,noise:0.1,path:0.5,shuffle"),
        *("--layers", "fc*", "--joint", "fc1, output", "--joint", "fc?", "--granularity", "block", "--draws", "2"),
        *("--exact", "--tolerance", "0.2", "--evaluator", "full", "--precision", "fp32", "--norms", "kept"),
        *("--examples", "1000", "--set", "probe.batch_size=100", "--set", "run.device=cpu", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert "r: trained already" in done.stderr
    shown = json.loads(done.stdout)
    assert shown["status"] == "complete"
    assert shown["granularity"] == "block"
    assert shown["layers"] == ["fc1", "fc2", "fc1+output", "fc1+fc2"]
    assert [column["kind"] for column in shown["columns"]] == [
        *("rerandomise", "shuffle", "noise", "zero", "path"),
        *(["reinitialise"] * 3),
    ]
    assert shown["tolerance"] == 0.2
    assert len(shown["cells"]) == 4 * 8
    errors = {(cell["layer"], cell["column"]): cell["error"] for cell in shown["cells"]}
    assert all(errors[layer, 7] == shown["baseline"]["error"] for layer in range(4))
    assert errors[3, 3] > 0.5  # a network of zeros predicts one class
    run = opened(tmp_path / "s.zarr")
    settings = run.probe().info.settings
    assert (settings["norm_statistics"], settings["evaluator"], settings["exact"]) == ("kept", "full", True)
    assert (settings["examples"], settings["batch_size"], settings["draws"]) == (1000, 100, 2)


def test_it_prints_the_heatmap_and_goes_on_where_it_stopped(made: Path):
    first = probe(made, "--at", "zero,path:0.5", "--layers", "*")
    assert first.exit_code == 0, first.output
    for part in ("fc1", "output", "zero", "path:0.5", "lyrx explore"):
        assert part in first.output
    files = {path: path.stat().st_mtime_ns for path in opened(made).probe().path.rglob("*")}
    again = probe(made, "--layers", "*", "--at", "path:0.50, zero, final")  # the same columns, written otherwise
    assert again.exit_code == 0, again.output
    assert "nothing to do" in again.output
    assert {path: path.stat().st_mtime_ns for path in opened(made).probe().path.rglob("*")} == files


def test_what_is_not_said_is_as_in_the_runs_spec(made: Path):
    assert probe(made, "--draws", "2").exit_code == 0
    info = opened(made).probe().info
    assert [layer.name for layer in info.layers] == ["output"]
    assert [column.label for column in info.columns] == ["random", "0", "1", "3"]
    assert info.columns[0].draws == 2


def test_another_probe_takes_the_trained_network_from_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = tmp_path / "s.zarr"
    run, _ = batch(store, probe={"draws": 1, "layers": ["output"]})
    known = run.probe().read_baseline()
    measured = []
    measure = session.measure_baseline

    def measure_baseline(forwards, batches, *rest, **options):
        measured.append(len(batches))
        return measure(forwards, batches, *rest, **options)

    monkeypatch.setattr(session, "measure_baseline", measure_baseline)
    assert probe(store, "--granularity", "block", "--at", "zero").exit_code == 0
    assert measured == [256], "a few examples, to see that it is the same network"
    taken = opened(store).probe().read_baseline()
    assert opened(store).probe().info.granularity == "block"
    assert (taken.wrong, taken.loss_sum, taken.record["device"]) == (known.wrong, known.loss_sum, "cpu")
    assert (taken.order == known.order).all()
    assert (taken.prediction == known.prediction).all()
    measured.clear()
    assert probe(store, "--at", "zero", "--precision", "bf16").exit_code == 0
    assert measured == [360], "other arithmetic has a baseline of its own"
    measured.clear()
    opened(store).probe().write_note(BATCHES, "outputs depend on the others in a batch")
    assert probe(store, "--at", "zero,0", "--precision", "bf16").exit_code == 0
    assert measured == [360], "of a network that mixes its examples, too"


def test_another_tolerance_is_the_same_probe(made: Path):
    run = opened(made)
    assert probe(made, "--at", "zero").exit_code == 0
    before, known = run.probe().info, len(run.probes())
    assert probe(made, "--at", "zero", "--tolerance", "0.9", "--set", "probe.memory=1GiB").exit_code == 0
    after = run.probe().info
    assert len(run.probes()) == known
    assert (after.id, after.fingerprint, after.created) == (before.id, before.fingerprint, before.created)
    assert (before.settings["tolerance"], after.settings["tolerance"]) == (0.05, 0.9)
    shown = CliRunner().invoke(app, ["show", "r", "--store", str(made), "--json"])
    assert json.loads(shown.stdout)["tolerance"] == 0.9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--at", "nosie:0.1"], ["'nosie:0.1' is no column", "Did you mean 'noise'?", "path:EPOCH:ALPHA"]),
        (["--at", "0,2"], ["probe.at: 2 is not kept", "[0, 1, 3]"]),
        (["--at", "path:2:0.5"], ["2 is not kept"]),
        (["--at", ""], ["'' is no column"]),
        (["--layers", "fc_1"], ["probe.layers: 'fc_1' matches no layer", "Did you mean 'fc1'?", "fc1, fc2, output"]),
        (["--joint", "fc1"], ["probe.joint: 'fc1' is one layer only"]),
        (["--joint", "fc1,outptu"], ["'outptu' matches no layer", "Did you mean 'output'?"]),
        (["--granularity", "blocks"], ["Did you mean 'block'?"]),
        (["--granularity", "patterns"], ["at least one pattern"]),
        (["--precision", "fp8"], ["'fp32', 'tf32', 'bf16' or 'fp16'"]),
        (["--tolerance", "7"], ["probe.tolerance", "less than or equal to 1"]),
        (["--evaluator", "quick"], ["'replay' or 'full'"]),
        (["--norms", "frozen"], ["'rewound', 'kept' or 'reestimated'"]),
        (["--draws", "-1"], ["probe.draws"]),
        (["--draws", "0", "--at", "random"], ["probe.draws: is 0"]),
        (["--examples", "0"], ["probe.examples"]),
        (["--set", "probe.memroy=3"], ["unknown key 'probe.memroy'", "Did you mean 'memory'?"]),
        (["--set", "train.lr=3"], ["'train.lr' cannot change for a run that is trained"]),
        (["--set", "nonsense"], ["section.key=value"]),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_written(made: Path, arguments: list[str], said: list[str]):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    refused(probe(made, *arguments), *said)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_runs_that_cannot_be_probed(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    runner = CliRunner()
    unknown = runner.invoke(app, ["probe", "q", "--store", str(tmp_path / "s.zarr")])
    refused(unknown, "no run 'q'", "It has: r")
    refused(runner.invoke(app, ["probe", "r", "--store", str(tmp_path / "t.zarr")]), "there is no store")
    with run.writing("the other one"):
        refused(probe(tmp_path / "s.zarr", "--at", "zero"), "the other one")
    assert len(run.probes()) == 1
    run.checkpoints.commits.withdraw((2,))
    refused(probe(tmp_path / "s.zarr"), "'r' is not trained", "checkpoint 3")


def test_a_model_whose_code_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "from torch import nn\n\ndef model(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    (tmp_path / "gone_for_tests.py").write_text(text)
    batch(tmp_path / "s.zarr", model={"name": "gone_for_tests:model"})
    (tmp_path / "gone_for_tests.py").unlink()
    done = lyrx("probe", "r", "--store", tmp_path / "s.zarr", "--at", "zero")
    assert done.returncode == 2
    assert "cannot import 'gone_for_tests'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_interrupted_it_keeps_what_was_measured(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    arguments = ("probe", "r", "--store", tmp_path / "s.zarr", "--at", "noise:0.1,random", "--draws", "100", "--exact")
    with start(*arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if "first whole picture" in line:
                process.send_signal(signal.SIGTERM)
                break
        process.stdout.read()
        errors = process.stderr.read()
    assert process.returncode == 130, errors
    assert "What was finished is kept" in errors
    assert "Traceback" not in errors
    probes = run.probes()
    assert len(probes) == 2
    estimates = probes[-1].results().estimates
    assert len(estimates) > 500
    assert not all(estimate.exact for estimate in estimates.values())


def test_batch_exact_is_a_setting_and_no_other_probe(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml")
    runner = CliRunner()
    for arguments, exact in (([], False), (["--exact"], True)):
        done = runner.invoke(app, ["batch", str(spec), "--store", str(tmp_path / "s.zarr"), *arguments])
        assert done.exit_code == 0, done.output
        probes = opened(tmp_path / "s.zarr").probes()
        assert len(probes) == 1
        assert probes[0].info.settings["exact"] is exact
    assert all(estimate.exact for estimate in probes[0].results().estimates.values())
