"""Images that do not fit into memory: the same numbers, bit for bit, and each decoded no more often than it must be."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from images import image_folder, load
from lyrx.engine.data.base import DataSet
from lyrx.engine.data.files import ImageFiles
from lyrx.engine.data.statistics import levels_of, mean_std_of
from lyrx.engine.decoding import Job, read, workers_for
from lyrx.engine.examples import Ordered, Resident, held_out_examples, training_examples
from lyrx.engine.norms import norm_batches
from lyrx.engine.session import Session
from lyrx.engine.streaming import Streamed
from lyrx.store import Store
from running import batch, cells, weights

CPU = torch.device("cpu")
CROP = {"resize": 12, "size": 9, "augment": "crop-flip", "pad": 1}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LYRX_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return image_folder(tmp_path_factory.mktemp("images") / "d", {"train": 9, "val": 5}, side=(16, 14))


@pytest.fixture
def decoded(monkeypatch) -> Counter:
    """How often each file was decoded in this process."""
    counts: Counter = Counter()
    original = ImageFiles.decode

    def counting(self: ImageFiles, index: int):
        counts[self.path(index)] += 1
        return original(self, index)

    monkeypatch.setattr(ImageFiles, "decode", counting)
    return counts


def both(root: Path, workers: int, **keys) -> tuple[DataSet, DataSet]:
    """The same data, once in memory and once streamed."""
    return load(root, workers=workers, **keys), load(root, workers=workers, memory="1B", **keys)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_streamed_equals_in_memory_bit_for_bit(root: Path, workers: int):
    resident, streamed = both(root, workers, **CROP)
    assert streamed.mean_std == resident.mean_std
    here, there = training_examples(resident, CPU), training_examples(streamed, CPU)
    assert isinstance(here, Resident)
    assert isinstance(there, Streamed)
    assert here.note == ""
    assert "27 training images take 11.4 KiB, more than data.memory" in there.note
    for seed in (3, 4):
        parts = torch.randperm(27, generator=torch.Generator().manual_seed(seed)).split(8)
        ours, theirs = list(there.epoch(parts, seed)), list(here.epoch(parts, seed))
        assert [len(inputs) for inputs, _ in ours] == [8, 8, 8, 3]
        for (a, b), (c, d) in zip(ours, theirs, strict=True):
            assert torch.equal(a, c)
            assert torch.equal(b, d)
    order = np.random.default_rng(0).permutation(15)
    held, flowing = (Ordered(held_out_examples(data, CPU), order) for data in (resident, streamed))
    assert torch.equal(held.targets, flowing.targets)
    assert len(flowing) == 15
    # In a row, the same again, a jump back, over the end, and a jump ahead.
    for start, stop in ((0, 4), (4, 5), (5, 12), (5, 12), (0, 3), (3, 15), (12, 15), (9, 10)):
        (a, b), (c, d) = flowing.between(start, stop), held.between(start, stop)
        assert torch.equal(a.args[0], c.args[0])
        assert torch.equal(b, d)
    chosen = torch.tensor([20, 3, 3, 11])
    for a, b in zip(there.take(chosen), here.take(chosen), strict=True):
        assert torch.equal(a, b)
    whole = [torch.cat(column) for column in zip(*there.batches(4), strict=True)]
    for a, b in zip(whole, here.between(0, 27), strict=True):
        assert torch.equal(a, b)


def test_an_epoch_that_is_left_early_does_not_spoil_the_next(root: Path):
    resident, streamed = both(root, 2, **CROP)
    examples = training_examples(streamed, CPU)
    for _ in examples.epoch(torch.arange(27).split(3), 0):
        break
    ours = [inputs for inputs, _ in examples.epoch(torch.arange(27).split(10), 1)]
    theirs = [inputs for inputs, _ in training_examples(resident, CPU).epoch(torch.arange(27).split(10), 1)]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_statistics_are_the_same_streamed_and_by_hand(root: Path, monkeypatch, tmp_path: Path):
    values = []
    for keys in ({"workers": 0}, {"workers": 1, "memory": "1B"}, {"workers": 0, "memory": "1B"}):
        monkeypatch.setenv("LYRX_CACHE", str(tmp_path / str(len(values))))
        values.append(load(root, resize=12, **keys).mean_std)
    assert len(set(values)) == 1
    pixels = read(load(root, resize=12).train_inputs, load(root).keeping).astype(np.float64)
    assert values[0] == pytest.approx((pixels.mean(), pixels.std()), rel=1e-14)
    assert mean_std_of(levels_of(np.array([0, 255, 255, 255], dtype=np.uint8))) == pytest.approx(
        (191.25, 255 * 3**0.5 / 4)
    )
    assert mean_std_of(levels_of(np.full(7, 9, dtype=np.uint8))) == (9.0, 1.0)


def test_nothing_is_decoded_before_it_is_needed_and_in_memory_only_once(root: Path, decoded: Counter):
    data = load(root, resize=12, workers=0)
    _ = data.fingerprint
    assert not decoded
    assert data.facts()["train_examples"] == 27
    training = training_examples(data, CPU)
    held_out = held_out_examples(data, CPU)
    for seed in range(3):
        list(training.epoch(torch.arange(27).split(8), seed))
        list(held_out.batches(4))
    assert held_out_examples(data, CPU).between(0, 15)[0].shape == (15, 3, 12, 12)
    assert set(decoded.values()) == {1}
    assert len(decoded) == 27 + 15
    again = load(root, resize=12, workers=0)
    decoded.clear()
    assert again.mean_std == data.mean_std  # it was kept
    assert not decoded
    known = load(root, resize=12, workers=0).knowing({"mean": 1.0, "std": 2.0, "fingerprint": data.fingerprint})
    assert known.mean_std == (1.0, 2.0)
    other = load(root, resize=12, workers=0).knowing({"mean": 1.0, "std": 2.0, "fingerprint": "another"})
    assert other.mean_std == data.mean_std


def test_workers_are_as_many_as_are_asked_for_or_worth_it(root: Path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    data = load(root)
    assert workers_for(data.train_inputs, data.keeping) == 0  # 27 images
    many = data.train_inputs.only(np.zeros(1500, dtype=np.int64))
    assert workers_for(many, data.keeping) == 5
    assert workers_for(many, load(root, workers=3).keeping) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert workers_for(many, data.keeping) == 2


def test_a_worker_that_dies_is_said(root: Path, monkeypatch):
    import multiprocessing
    import os
    import signal

    from lyrx.engine.data.base import Augment
    from lyrx.engine.decoding import Decoder
    from lyrx.engine.errors import RunFailedError

    data = load(root, workers=1, resize=12)
    decoder = Decoder(data.train_inputs, Augment(), data.keeping)
    found = decoder.run([Job(np.arange(3))] * 50)
    next(found)
    for process in multiprocessing.active_children():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(RunFailedError, match=r"decodes images has died.*data\.workers=1"):
        list(found)


NETWORK = {"name": "models_for_tests:images", "options": {"side": 9}}
RUN = {
    "model": NETWORK,
    "train": {"epochs": 2, "batch_size": 8, "lr": 0.02, "checkpoints": [0, 1, 2]},
    "probe": {"draws": 1, "exact": True, "batch_size": 4},
}


def test_a_run_on_streamed_images_is_the_run_on_images_in_memory(root: Path, tmp_path: Path, decoded: Counter):
    keys = {"name": "image-folder", "root": str(root), "workers": 0, **CROP}
    one, _ = batch(tmp_path / "s.zarr", data=keys, run={"name": "resident"}, **RUN)
    assert set(decoded.values()) <= {1, 2}  # two were looked at for the layers
    decoded.clear()
    other, events = batch(tmp_path / "s.zarr", data={**keys, "memory": "1B"}, run={"name": "streamed"}, **RUN)
    for epoch in (0, 1, 2):
        assert weights(other, epoch) == weights(one, epoch)
    assert cells(other) == cells(one)
    notes = [event.note for event in events if type(event).__name__ == "Noted"]
    assert ["training" in note for note in notes] == [True, False, False]
    assert "15 test images" in notes[-1]
    assert "once for all cells" in notes[-1]
    # Statistics were kept; an epoch is a decoding of each, and a look one of what it shows, however many cells it has.
    train = [count for path, count in decoded.items() if "/train/" in path]
    assert max(train) <= 2 + 1
    test = [count for path, count in decoded.items() if "/val/" in path]
    assert len(test) == 15
    assert len(cells(other)) > 10
    assert max(test) <= 3 + 4  # after each epoch; checking, the baseline, its comparison, and one look


def test_probing_decodes_no_training_image(root: Path, tmp_path: Path, decoded: Counter, monkeypatch):
    keys = {"name": "image-folder", "root": str(root), "workers": 0, **CROP}
    run, _ = batch(tmp_path / "s.zarr", data=keys, **{**RUN, "probe": {"draws": 0, "checkpoints": [2]}})
    monkeypatch.setenv("LYRX_CACHE", str(tmp_path / "another machine"))
    decoded.clear()
    with Session(Store.open(tmp_path / "s.zarr").run("r"), run.probe()) as session:
        assert session.note == ""
        assert session.total == 15
    assert not [path for path in decoded if "/train/" in path]
    assert set(decoded.values()) == {1}
    # Where statistics are estimated anew, the examples that this takes are decoded, once.
    from lyrx.engine.batch import run_probe

    for memory, columns in (("1GiB", ["zero", "0"]), ("1B", ["zero", "1"])):
        decoded.clear()
        norms = {"probe.norm_statistics": "reestimated", "probe.norm_batches": 2, "probe.at": columns}
        run_probe(tmp_path / "s.zarr", "r", {**norms, "data.memory": memory}, observer=lambda event: None)
        train = {path: count for path, count in decoded.items() if "/train/" in path}
        files = load(root, resize=12).train_inputs
        assert isinstance(files, ImageFiles)
        chosen = {files.path(int(index)) for index in torch.cat(norm_batches(3, 27, 2, 8))}
        looked_at = {files.path(0), files.path(1)}  # for the layers
        assert len(chosen) == 16
        assert set(train) == chosen | looked_at
        assert all(count == (path in chosen) + (path in looked_at) for path, count in train.items())
