"""Histograms of weights: counted by hand, by numpy, and by the process that the app asks."""

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fakes
import fakes_figures
import numpy as np
import pytest
import torch
from lyrx.explorer.weights import Answer, Question, Weights
from lyrx.store import DamagedError, NotCommittedError, Store
from lyrx.store.checkpoints import Checkpoints
from lyrx.store.histogram import MOST_BINS, NoNumbersError, compare, weights_among
from lyrx.store.numbers import as_floats


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "lyrx.zarr"
    fakes_figures.fcn_run(Store.open_or_create(path), cells="none")
    return path


def checkpoints_of(tmp_path, values: dict[int, dict[str, np.ndarray]], dtype: str = "float32") -> Checkpoints:
    """The checkpoints of a run that holds these values, by epoch."""
    some = next(iter(values.values()))
    tensors = tuple(fakes_figures.tensor(name, *value.shape, dtype=dtype) for name, value in some.items())
    info = fakes.run_info("tiny", checkpoints=tuple(values), tensors=tensors)
    run = Store.open_or_create(tmp_path / "s.zarr").create_run(info, fakes.probe_info(["a"], checkpoints=tuple(values)))
    for epoch, tensors_then in values.items():
        run.checkpoints.append(epoch, tensors_then, fakes.FINGERPRINT)
    return run.checkpoints


# Counting


def test_a_histogram_by_hand(tmp_path):
    start = np.array([[0, 0, 1, 1]], dtype="float32")
    end = np.array([[0, 2, 4, 8]], dtype="float32")
    found = compare(checkpoints_of(tmp_path, {0: {"a": start}, 5: {"a": end}}), ["a"], 5, 0)
    assert found.edges == (0, 1, 2, 3, 4, 5, 6, 7, 8), "eight bins at least, from the least to the greatest"
    assert found.now.counts == (1, 0, 1, 0, 1, 0, 0, 1)
    assert found.other.counts == (2, 2, 0, 0, 0, 0, 0, 0)
    assert (found.now.n, found.now.mean, found.now.minimum, found.now.maximum) == (4, 3.5, 0, 8)
    assert found.now.std == pytest.approx(math.sqrt((3.5**2 + 1.5**2 + 0.5**2 + 4.5**2) / 4))
    assert found.now.norm == pytest.approx(math.sqrt((4 + 16 + 64) / 4))
    assert found.moved == pytest.approx(math.sqrt((0 + 4 + 9 + 49) / 4))
    assert found.cosine == pytest.approx(12 / math.sqrt(84 * 2))


def test_several_tensors_are_counted_together_as_numpy_does(store):
    run = Store.open(store).run("fcn-weights")
    names = ["fc1.weight", "fc2.weight"]
    found = compare(run.checkpoints, names, 8, 0)
    for spread, epoch in ((found.now, 8), (found.other, 0)):
        values = np.concatenate([a.reshape(-1) for a in run.checkpoints.read(epoch, names).values()]).astype(float)
        assert spread.counts == tuple(np.histogram(values, bins=np.array(found.edges))[0])
        assert spread.n == len(values) == 64 * 196 + 64 * 64
        for number, expected in [
            (spread.mean, values.mean()), (spread.std, values.std()), (spread.minimum, values.min()),
            (spread.maximum, values.max()), (spread.norm, np.linalg.norm(values) / math.sqrt(len(values))),
        ]:  # fmt: skip
            assert number == pytest.approx(expected, rel=1e-9)
        assert sum(spread.counts) + spread.outside == spread.n
    assert 8 < len(found.edges) - 1 <= MOST_BINS


def test_a_few_outliers_do_not_leave_one_bin(tmp_path):
    values = np.zeros(10_001, dtype="float32")
    values[:10_000] = np.linspace(-1, 1, 10_000)
    values[-1] = 1_000
    found = compare(checkpoints_of(tmp_path, {0: {"a": values}, 1: {"a": values}}), ["a"], 1, 0)
    assert found.edges[-1] < 60
    assert found.now.outside == 1
    assert sum(found.now.counts) == 10_000
    assert found.now.maximum == 1_000


def test_what_is_not_finite_is_told_and_not_counted(tmp_path):
    values = np.array([1, 2, np.nan, np.inf, 3], dtype="float32")
    found = compare(checkpoints_of(tmp_path, {0: {"a": values}, 1: {"a": values}}), ["a"], 1, 0)
    assert (found.now.n, found.now.not_finite, found.now.mean) == (3, 2, 2)
    assert found.moved == 0


def test_weights_that_are_all_the_same_have_a_histogram(tmp_path):
    zeros, ones = np.zeros((3, 3), dtype="float32"), np.full((3, 3), 7.0, dtype="float32")
    found = compare(checkpoints_of(tmp_path, {0: {"a": zeros}, 1: {"a": zeros}, 2: {"a": ones}}), ["a"], 1, 0)
    assert found.edges[0] < 0 < found.edges[-1]
    assert sum(found.now.counts) == 9
    assert found.cosine is None, "nothing has no direction"


def test_nothing_to_count_is_said(tmp_path):
    nothing = np.full(3, np.nan, dtype="float32")
    with pytest.raises(NoNumbersError):
        compare(checkpoints_of(tmp_path, {0: {"a": nothing}, 1: {"a": nothing}}), ["a"], 1, 0)


@pytest.mark.parametrize(
    "name", ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]
)
def test_types_of_eight_bits_mean_what_torch_says(name: str):
    bits = torch.arange(256, dtype=torch.uint8)
    expected = bits.view(getattr(torch, name)).float().numpy()
    np.testing.assert_array_equal(as_floats(bits.numpy(), name), expected)


def test_bfloat16_means_what_torch_says(tmp_path):
    values = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    bits = values.view(torch.int16).numpy().view("uint16")
    np.testing.assert_array_equal(as_floats(bits, "bfloat16"), values.float().numpy())
    found = compare(checkpoints_of(tmp_path, {0: {"a": bits}, 1: {"a": bits}}, "bfloat16"), ["a"], 1, 0)
    assert found.now.mean == pytest.approx(values.double().mean().item())


def test_counters_are_no_weights():
    assert as_floats(np.arange(3), "int64") is None


def test_which_tensors_are_weights():
    kernel, *norm = [fakes_figures.tensor("c.weight", 4, 3, 3, 3), *fakes_figures.norm("n", 4)]
    assert weights_among([kernel, *norm]) == ([kernel], norm)
    assert weights_among(norm) == (norm[:2], norm[2:]), "a norm by itself has nothing else"


def test_the_moments_of_slices_put_together_are_those_of_the_whole(tmp_path, monkeypatch):
    values = np.random.default_rng(0).normal(3, 2, (100, 7)).astype("float32")
    checkpoints = checkpoints_of(tmp_path, {0: {"a": values}, 1: {"a": values + 1}})
    whole = compare(checkpoints, ["a"], 1, 0)
    monkeypatch.setattr("lyrx.store.histogram._SLICE", 33)
    monkeypatch.setattr("lyrx.store.histogram._HELD", 0)
    sliced = compare(checkpoints, ["a"], 1, 0)
    assert sliced.now.counts == whole.now.counts
    assert sliced.now.std == pytest.approx(values.astype(float).std(), rel=1e-6)
    assert sliced.moved == pytest.approx(1)


def test_what_is_not_committed_or_damaged_is_refused(tmp_path):
    run = fakes_figures.fcn_run(Store.open_or_create(tmp_path / "s.zarr"), cells="none")
    with pytest.raises(NotCommittedError):
        compare(run.checkpoints, ["fc1.weight"], 7, 0)
    chunk = next(path for path in (run.path / "weights" / "fc1.weight" / "c" / "4").rglob("*") if path.is_file())
    data = bytearray(chunk.read_bytes())
    data[8] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(DamagedError, match=r"fc1\.weight"):
        compare(Store.open(tmp_path / "s.zarr").run("fcn-weights").checkpoints, ["fc1.weight"], 8, 0)


# The process


def test_the_process_answers_line_by_line_and_ends_with_its_input(store):
    requests = [
        {"id": 1, "store": str(store), "run": "fcn-weights", "epoch": 8, "other": 0, "names": ["fc3.weight"]},
        {"id": 2, "store": str(store), "run": "fcn-weights", "epoch": 9, "other": 0, "names": ["fc3.weight"]},
        {"id": 3, "store": str(store), "run": "nobody", "epoch": 8, "other": 0, "names": []},
        {"id": 4, "store": str(store / "gone"), "run": "x", "epoch": 8, "other": 0, "names": []},
        {"id": 5},
    ]
    lines = "not json\n" + "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run(
        [sys.executable, "-m", "lyrx.store.figures"], input=lines, capture_output=True, text=True, timeout=60
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [answer["id"] for answer in answers] == [1, 2, 3, 4, 5]
    expected = compare(Store.open(store).run("fcn-weights").checkpoints, ["fc3.weight"], 8, 0)
    assert answers[0]["compared"]["now"]["counts"] == list(expected.now.counts)
    for answer, words in zip(
        answers[1:], ["no checkpoint 9", "no run 'nobody'", "no store at", "KeyError"], strict=True
    ):
        assert words in answer["error"]


def test_the_process_knows_no_torch():
    code = "import sys, lyrx.store.figures; print([m for m in ('torch', 'textual') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def question(store: Path, name: str = "fc1.weight", epoch: int = 8, run: str = "fcn-weights") -> Question:
    return Question(store, run, "1", (name,), epoch, 0)


async def answered(weights: Weights, wanted: Question) -> Answer:
    """Ask until there is an answer."""
    for _ in range(3_000):
        if answer := weights.look(wanted):
            return answer
        await asyncio.sleep(0.01)
    raise AssertionError("no answer")


async def test_answers_come_from_one_warm_process_and_are_remembered(store):
    calls = []
    weights = Weights(lambda: calls.append(1))
    try:
        assert weights.pid is None, "nothing is started before something is asked"
        first = await answered(weights, question(store))
        pid = weights.pid
        assert first.compared == compare(Store.open(store).run("fcn-weights").checkpoints, ["fc1.weight"], 8, 0)
        await answered(weights, question(store, "fc2.weight"))
        assert weights.pid == pid
        assert weights.look(question(store)) is first
        assert len(calls) == 2
    finally:
        await weights.close()
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert weights.look(question(store, "fc3.weight")) is None, "a closed one asks nobody"


async def test_a_process_that_is_killed_is_said_and_the_next_question_starts_another(store):
    weights = Weights()
    try:
        await answered(weights, question(store))
        pid = weights.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # it will not answer before it dies
        weights.look(question(store, epoch=20))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        assert "killed by SIGKILL" in (await answered(weights, question(store, epoch=20))).problem
        weights.forget_failures()
        assert (await answered(weights, question(store, epoch=20))).compared is not None
        assert weights.pid not in (None, pid)
    finally:
        await weights.close()


SLOW = """
import json, sys, time
sys.path.insert(0, {path!r})
from pathlib import Path
from lyrx.store.figures import answer
for line in sys.stdin:
    request = json.loads(line)
    with open({log!r}, "a") as log:
        print(request["names"][0], request["epoch"], file=log)
    while not Path({gate!r}).exists():
        time.sleep(0.01)
    print(json.dumps(answer(request)), flush=True)
"""


async def test_only_the_newest_of_the_questions_that_wait_is_asked(store, tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    code = SLOW.format(path=str(Path(__file__).parent), log=str(log), gate=str(gate))
    weights = Weights(command=[sys.executable, "-c", code])
    try:
        weights.look(question(store, epoch=1))
        began = time.monotonic()
        while not log.exists() and time.monotonic() - began < 60:
            await asyncio.sleep(0.01)
        for epoch in (2, 3, 8, 20):
            assert weights.look(question(store, epoch=epoch)) is None
        gate.touch()
        assert (await answered(weights, question(store, epoch=20))).compared
        assert log.read_text().split() == ["fc1.weight", "1", "fc1.weight", "20"]
    finally:
        await weights.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([sys.executable, "-c", "print('hello', flush=True); input()"], "makes no sense"),
        (["/no/such/python"], "cannot be started"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "exit code 3"),
    ],
)
async def test_a_process_that_is_none_is_said_in_words(store, command, words):
    weights = Weights(command=command)
    try:
        assert words in (await answered(weights, question(store))).problem
    finally:
        await weights.close()


async def test_a_run_that_is_gone_is_said_and_escapes_are_harmless(store):
    weights = Weights()
    try:
        answer = await answered(weights, question(store, run=fakes.EVIL))
        assert answer.compared is None
        assert "has no run" in answer.problem
        assert "\x1b" not in answer.problem
    finally:
        await weights.close()
