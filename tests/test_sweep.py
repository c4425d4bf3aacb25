"""Looks: the whole picture first, then sharper; what is seen is never seen again."""

import itertools
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lyrx.engine.batch import run_probe
from lyrx.engine.building import build_model
from lyrx.engine.errors import DeviceError
from lyrx.engine.session import Session
from lyrx.engine.specfile import make_spec
from lyrx.engine.sweep import FIRST_LOOK, Work
from lyrx.store import Cell, Estimate, Run, Store
from lyrx.store.stopping import rule_of
from lyrx.store.verdict import verdict
from running import batch, command, environment, lyrx, spec_values, write_spec
from torch import nn
from torch.nn import functional

CONV = {"name": "models_for_tests:convolutional"}


def named(events: list, kind: str) -> list:
    return [event for event in events if type(event).__name__ == kind]


def numbers(estimate: Estimate) -> tuple[float, float, float, float, int]:
    """All but the loss, whose last digits depend on which batches were added up."""
    return estimate.error, estimate.low, estimate.high, estimate.agreement, estimate.n


def test_the_first_look_shows_every_cell_and_the_rest_only_those_that_need_it(tmp_path: Path):
    run, events = batch(tmp_path / "s.zarr", train={"epochs": 3, "lr": 0.1}, probe={"draws": 3})
    looks = named(events, "PictureSharpened")
    info = run.probe().info
    trained = len(info.layers) + 1  # cells that put back the final checkpoint need no look
    assert looks[0].cells == len(info.all_cells()) - trained
    assert looks[0].seen == FIRST_LOOK
    # Twice along the data: those that are undecided, and then those that are decided, to their width.
    (back,) = [place for place, (one, next_) in enumerate(itertools.pairwise(looks), 1) if next_.seen < one.seen]
    for part in (looks[:back], looks[back:]):
        assert [look.seen for look in part] == sorted(look.seen for look in part)
        assert all(later.cells <= earlier.cells for earlier, later in itertools.pairwise(part))
    assert looks[-1].finished == looks[-1].todo == len(info.all_cells())
    assert looks[-1].share == 1.0
    estimates = run.probe().results().estimates
    assert {estimate.n for estimate in estimates.values()} > {360}  # some stopped early, some went to the end
    assert run.probe().unfinished() == []


def test_intervals_hold_the_exact_errors_and_estimates_are_paired_with_the_baseline(tmp_path: Path):
    rough, _ = batch(tmp_path / "s.zarr", model=CONV)
    early = rough.probe().results()
    again, _ = batch(tmp_path / "s.zarr", model=CONV, probe={"exact": True})
    assert [probe.info.id for probe in again.probes()] == [rough.probe().info.id]  # the same probe, sharper
    late = again.probe().results().estimates
    baseline = late[again.probe().info.network_cells()[-1]].error
    inside = []
    for cell, estimate in early.estimates.items():
        record = early.records[cell]
        if record["evaluator"] == "baseline":
            continue
        by_hand = baseline + (record["worse"] - record["better"]) / estimate.n
        assert estimate.error == pytest.approx(min(max(by_hand, estimate.low), estimate.high))
        assert late[cell].exact
        inside.append(estimate.low <= late[cell].error <= estimate.high)
    assert sum(inside) >= 0.9 * len(inside)


def test_an_exact_run_goes_on_from_what_was_seen_and_ends_where_a_direct_one_does(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    before = run.probe().results().estimates
    seen: dict[Cell, list[int]] = {}

    def after(work: Work, examples: int) -> None:
        seen.setdefault(work.key, []).append(examples)

    todo = run.probe().unfinished(exact=True)
    assert set(todo) == {cell for cell, estimate in before.items() if not estimate.exact}
    with Session(run, run.probe()) as session, run.writing("test"):
        list(session.measure(todo, exact=True, after_cell=after))
    for cell in todo:
        assert min(seen[cell]) > before[cell].n
        assert max(seen[cell]) == 360
        assert seen[cell] == sorted(set(seen[cell]))
    direct, _ = batch(tmp_path / "direct.zarr", probe={"exact": True})
    straight = direct.probe().results().estimates
    for cell, estimate in run.probe().results().estimates.items():
        assert numbers(estimate) == numbers(straight[cell])
        assert estimate.loss == pytest.approx(straight[cell].loss, rel=1e-6)


def test_cells_that_are_undecided_go_before_those_that_are_not(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", train={"epochs": 3, "lr": 0.1}, probe={"draws": 3})
    probe = run.probe()
    rule, error = rule_of(probe.info.settings), probe.read_baseline().wrong / 360
    cells = [cell for cell, record in probe.results().records.items() if record["evaluator"] != "baseline"]

    def waits(work: Work) -> bool:
        """After its last look: undecided, and not known well enough either."""
        decided = verdict(work.low, work.high, error, rule.tolerance) != "undecided"
        return not decided and work.tally.seen < 360 and (work.high - work.low) / 2 > rule.half_width

    works: dict[Cell, Work] = {}
    taken_back = 0

    def after(work: Work, seen: int) -> None:
        nonlocal taken_back
        works[work.key] = work
        if seen > FIRST_LOOK and not waits(work):
            taken_back += 1
            assert not any(waits(other) for other in works.values())

    with Session(run, probe) as session, run.writing("test"):
        list(session.measure(cells, again=True, after_cell=after, commit_every=1e9))
    assert taken_back, "some cells were decided early and sharpened later"


def test_a_cell_that_goes_on_remembers_what_was_not_replayed_before(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", probe={"evaluator": "full"})
    early = run.probe().results()
    assert any(not estimate.exact for estimate in early.estimates.values())
    run, _ = batch(tmp_path / "s.zarr", probe={"exact": True})  # the rest of it is replayed
    late = run.probe().results()
    gone_on = 0
    for cell, record in late.records.items():
        if record["evaluator"] == "baseline":
            continue
        assert record["full"] == early.estimates[cell].n
        assert record["evaluator"] == "full"
        assert record["reason"] == "full forwards were asked for"
        gone_on += late.estimates[cell].n > early.estimates[cell].n
    assert gone_on


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("model", [CONV, {"name": "models_for_tests:Tied"}])
def test_both_evaluators_give_the_same_numbers(tmp_path: Path, exact: bool, model: dict):
    replayed, _ = batch(tmp_path / "replay.zarr", model=model, probe={"exact": exact})
    full, events = batch(tmp_path / "full.zarr", model=model, probe={"exact": exact, "evaluator": "full"})
    assert replayed.probe().info.id == full.probe().info.id
    assert replayed.probe().fallbacks() == []
    assert {event.reason for event in named(events, "LayerFellBack")} == {"full forwards were asked for"}
    one, other = replayed.probe().results(), full.probe().results()
    assert set(one.estimates) == set(other.estimates)
    for cell, estimate in one.estimates.items():
        assert numbers(estimate) == numbers(other.estimates[cell])
        assert estimate.loss == pytest.approx(other.estimates[cell].loss, rel=1e-5)
    assert {record["evaluator"] for record in one.records.values()} == {"replay", "baseline"}
    assert {record["evaluator"] for record in other.records.values()} == {"full", "baseline"}


def test_settings_that_are_no_identity_measure_nothing_anew(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", probe={"exact": True})
    before = run.probe().results()
    same = {"exact": True, "tolerance": 0.2, "evaluator": "full", "batch_size": 7, "memory": "1GiB"}
    again, events = batch(tmp_path / "s.zarr", probe=same)
    assert named(events, "ProbeOpened") == []
    assert again.probe().info.settings["tolerance"] == 0.2
    assert again.probe().results().records == before.records


def test_a_smaller_tolerance_takes_up_the_cells_that_it_leaves_undecided(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", train={"epochs": 3, "lr": 0.1})
    before = run.probe().results().estimates
    again, _ = batch(tmp_path / "s.zarr", train={"epochs": 3, "lr": 0.1}, probe={"tolerance": 0.0})
    after = again.probe().results().estimates
    assert all(after[cell].n >= estimate.n for cell, estimate in before.items())
    assert again.probe().unfinished() == []


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_another_precision_is_another_probe_close_to_the_first(tmp_path: Path, precision: str):
    run, _ = batch(tmp_path / "s.zarr", model=CONV, probe={"exact": True})
    exact = run.probe().results().estimates
    again, _ = batch(tmp_path / "s.zarr", model=CONV, probe={"exact": True, "precision": precision})
    assert len(again.probes()) == 2
    rounded = again.probe().results()
    assert again.probe().fallbacks() == []
    differing = 0
    for cell, estimate in rounded.estimates.items():
        assert estimate.error == pytest.approx(exact[cell].error, abs=0.05)
        differing += estimate.loss != exact[cell].loss
    assert differing > len(exact) / 2  # it did compute otherwise


def test_tf32_needs_a_gpu(tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    batch(tmp_path / "s.zarr")
    with pytest.raises(DeviceError, match="only CUDA GPUs have") as caught:
        run_probe(tmp_path / "s.zarr", "r", {"probe.precision": "tf32"}, observer=lambda event: None)
    assert caught.value.exit_code == 2


def test_reestimated_statistics_by_hand(tmp_path: Path):
    """Each cell against a copy of the network whose norms' statistics are computed with plain PyTorch."""
    sections = {"model": CONV, "probe": {"norm_statistics": "reestimated", "norm_batches": 3, "exact": True}}
    run, _ = batch(tmp_path / "s.zarr", **sections)
    spec = make_spec(spec_values(**sections))
    data, probe = spec.data.load(), run.probe()
    mean, std = data.mean_std
    x, y = (torch.from_numpy(data.test_inputs).float() - mean) / std, torch.from_numpy(data.test_targets)
    train = (torch.from_numpy(data.train_inputs).float() - mean) / std
    from lyrx.engine.norms import norm_batches

    places = norm_batches(3, len(train), 3, 32)
    state = {name: torch.from_numpy(np.array(array)) for name, array in run.checkpoints.read(3).items()}
    first = {name: torch.from_numpy(np.array(array)) for name, array in run.checkpoints.read(0).items()}
    norms = {0: ["1", "4"], 1: ["4"], 2: []}  # what each row's reset reaches
    column = next(i for i, one in enumerate(probe.info.columns) if one.checkpoint == 0)
    checked = 0
    for layer, row in enumerate(probe.info.layers):
        model = build_model(spec.model, (1, 8, 8), 10, 0)
        model.load_state_dict(state | {n: first[n] for n in row.tensors if "running" not in n and "num_" not in n})
        model.eval()
        for name in norms[layer]:
            norm: nn.BatchNorm2d = model[int(name)]
            norm.train()
            norm.momentum = None
            norm.reset_running_stats()
        with torch.no_grad():
            for indices in places:
                model(train[indices].clone())
            model.eval()
            out = model(x.clone())
        estimate = probe.read(Cell(layer, column))
        assert estimate is not None
        assert estimate.error == float((out.argmax(1) != y).double().mean())
        assert estimate.loss == pytest.approx(float(functional.cross_entropy(out, y)), rel=1e-4)
        checked += 1
    assert checked == 3
    # The final checkpoint changes no norm's input: it is the trained network.
    assert probe.read(Cell(0, len(probe.info.columns) - 1)) == probe.read(probe.info.network_cells()[-1])


def many_examples(path: Path, count: int = 6000) -> dict:
    rng = np.random.default_rng(0)
    np.savez(
        path,
        train_inputs=rng.integers(0, 255, (256, 1, 8, 8), dtype=np.uint8),
        train_targets=rng.integers(0, 10, 256),
        test_inputs=rng.integers(0, 255, (count, 1, 8, 8), dtype=np.uint8),
        test_targets=rng.integers(0, 10, count),
    )
    return {"name": "arrays", "root": str(path)}


@pytest.mark.slow
def test_a_killed_probe_loses_little_and_ends_with_the_same_numbers(tmp_path: Path):
    data = many_examples(tmp_path / "d.npz")
    sections = {"data": data, "probe": {"exact": True, "draws": 6, "batch_size": 16}}
    whole, _ = batch(tmp_path / "whole.zarr", **sections)
    spec, store = write_spec(tmp_path / "spec.toml", **sections), tmp_path / "s.zarr"
    process = subprocess.Popen(command("batch", spec, "--store", store), env=environment(), stdout=subprocess.DEVNULL)
    try:
        reached = 0
        while reached < 400:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
            reached = max((e.n for e in _sharpening(store).values()), default=0)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    cut = Store.open(store).run("r").probe().results()
    assert cut.damaged == []
    begun = {cell: estimate.n for cell, estimate in cut.estimates.items() if not estimate.exact}
    assert begun
    assert lyrx("check", store).returncode == 0
    assert lyrx("batch", spec, "--store", store).returncode == 0
    run = Store.open(store).run("r")
    expected = whole.probe().results().estimates
    for cell, estimate in run.probe().results().estimates.items():
        assert numbers(estimate) == numbers(expected[cell])


def _sharpening(store: Path) -> dict[Cell, Estimate]:
    try:
        run: Run = Store.open(store).run("r")
        estimates = run.probe().results().estimates
    except Exception:  # it is just being made
        return {}
    return {cell: estimate for cell, estimate in estimates.items() if not estimate.exact}


def test_a_fallback_is_withdrawn_when_replays_pass_their_check(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr")
    probe = run.probe()
    info = probe.info
    first, second, third = (layer.name for layer in info.layers)
    for layer, kind in ((first, "rerandomise"), (first, "zero"), (second, ""), (third, "reinitialise")):
        probe.write_fallback(layer, kind, "said by an earlier version")
    column = next(index for index, one in enumerate(info.columns) if one.kind == "rerandomise")
    with Session(run, probe) as session, run.writing("test"):
        list(session.measure([Cell(0, column), Cell(1, column)], again=True))
    # Nothing was found out about the others.
    assert {(one.layer, one.kind) for one in probe.fallbacks()} == {(first, "zero"), (third, "reinitialise")}


def test_a_fallback_that_still_holds_stays(tmp_path: Path):
    run, _ = batch(tmp_path / "s.zarr", probe={"evaluator": "full"})
    before = run.probe().fallbacks()
    assert before
    with Session(run, run.probe()) as session, run.writing("test"):
        list(session.measure(run.probe().info.cells()[:4], again=True))
    assert run.probe().fallbacks() == before
