"""CIFAR, ImageNet's archives, and Zarr groups: tiny ones of the same form, whole and spoiled."""

import gzip
import json
import pickle
import shutil
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from images import by_hand, image_folder, jpeg, load, md5, tar_of
from lyrx.engine.data import data_spec
from lyrx.engine.data.base import Augment
from lyrx.engine.errors import DataError, DataNotFoundError
from lyrx.engine.examples import training_examples
from running import batch
from scipy.io import savemat
from torchvision.datasets import CIFAR10, CIFAR100, imagenet


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LYRX_CACHE", str(tmp_path / "cache"))


def cifar(root: Path, monkeypatch, reader, key: str) -> dict[str, tuple[np.ndarray, list[int]]]:
    """Files as torchvision's `reader` wants them, with their md5 made the published ones."""
    folder = root / reader.base_folder
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    made: dict[str, tuple[np.ndarray, list[int]]] = {}
    for attribute in ("train_list", "test_list"):
        listed = []
        for name, _ in getattr(reader, attribute):
            rows = generator.integers(0, 256, size=(4, 3072), dtype=np.uint8)
            labels = generator.integers(0, 10, size=4).tolist()
            (folder / name).write_bytes(pickle.dumps({"data": rows, key: labels}))
            made[name] = (rows, labels)
            listed.append([name, md5(folder / name)])
        monkeypatch.setattr(reader, attribute, listed)
    meta = folder / reader.meta["filename"]
    meta.write_bytes(pickle.dumps({reader.meta["key"]: [str(label) for label in range(10)]}))
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": md5(meta)})
    return made


@pytest.mark.parametrize(
    ("name", "reader", "key", "classes"),
    [("cifar10", CIFAR10, "labels", 10), ("cifar100", CIFAR100, "fine_labels", 100)],
)
def test_cifar(tmp_path: Path, monkeypatch, name: str, reader, key: str, classes: int):
    made = cifar(tmp_path, monkeypatch, reader, key)
    data = load(tmp_path, name)
    files = [file for file, _ in reader.train_list]
    rows = np.concatenate([made[file][0] for file in files])
    # A row is 1,024 red, then green, then blue values, row by row (https://www.cs.toronto.edu/~kriz/cifar.html).
    assert np.array_equal(data.train_inputs[:], rows.reshape(-1, 3, 32, 32))
    assert data.train_targets.tolist() == [label for file in files for label in made[file][1]]
    assert (len(data.test_inputs), data.classes, data.shape) == (4, classes, (3, 32, 32))
    assert data.augment == Augment(crop=True, flip=True, pad=4)
    assert data.mean_std == pytest.approx((rows.mean(dtype=np.float64), rows.astype(np.float64).std()))
    assert load(tmp_path, name, augment="none").augment == Augment()
    assert load(tmp_path, name, augment="crop", pad=2).augment == Augment(crop=True, pad=2)
    (inputs, _), *_ = training_examples(data, torch.device("cpu")).epoch([torch.arange(4)], 0)
    assert inputs.shape == (4, 3, 32, 32)


def test_cifar_that_is_not_there_or_damaged(tmp_path: Path, monkeypatch):
    with pytest.raises(DataNotFoundError, match=r"cifar-10-batches-py, data_batch_1 is not there.*data\.download=true"):
        load(tmp_path, "cifar10")

    def refuse(*_, **__):
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataNotFoundError, match=r"could not be downloaded.*cifar-100-python.*test.*no network"):
        load(tmp_path / "new", "cifar100", download=True)
    assert not (tmp_path / "new" / "cifar-100-python").exists()
    cifar(tmp_path, monkeypatch, CIFAR10, "labels")
    file = tmp_path / CIFAR10.base_folder / "data_batch_3"
    # Another pickle than the published one is never unpickled.
    file.write_bytes(b"cos\nabort\n(tR.")
    with pytest.raises(DataError, match=r"cifar-10-batches-py/data_batch_3 is damaged: its md5.*Remove it"):
        load(tmp_path, "cifar10")


def idx(values: np.ndarray) -> bytes:
    """The bytes of a file of MNIST."""
    return bytes((0, 0, 8, values.ndim)) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


def mnist(root: Path) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for half, count in (("train", 6), ("t10k", 3)):
        images = generator.integers(0, 256, size=(count, 28, 28), dtype=np.uint8)
        (folder / f"{half}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{half}-labels-idx1-ubyte").write_bytes(idx(np.arange(count, dtype=np.uint8)))
    return folder


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("train-images-idx3-ubyte", lambda whole: whole[:-5], "it has 4,715 bytes, not the 4,720 that it should have"),
        ("t10k-labels-idx1-ubyte", lambda whole: whole + b"0", "it has 12 bytes, not the 11"),
        ("t10k-labels-idx1-ubyte", gzip.compress, r"does not begin as such a file does \(it must be unpacked\)"),
        ("train-labels-idx1-ubyte", lambda whole: b"", "does not begin as such a file does"),
        ("t10k-images-idx3-ubyte", lambda whole: b"no images" * 5, "does not begin as such a file does"),
    ],
)
def test_mnist_with_a_damaged_file_names_it(tmp_path: Path, name: str, spoil, said: str):
    folder = mnist(tmp_path)
    data = load(tmp_path, "mnist")
    assert (data.train_inputs.shape, data.test_targets.tolist()) == ((6, 1, 28, 28), [0, 1, 2])
    (folder / name).write_bytes(spoil((folder / name).read_bytes()))
    with pytest.raises(DataError, match=f"MNIST/raw/{name} is damaged: .*{said}.*data.download=true") as caught:
        load(tmp_path, "mnist")
    assert caught.value.exit_code == 2


WNIDS = ("n01440764", "n01443537", "n01484850")


def archives(root: Path, monkeypatch) -> tuple[dict[str, list[bytes]], list[tuple[str, bytes]]]:
    """The three archives in small, with their md5 made the published ones; the training images by class, and the
    validation images with theirs."""
    root.mkdir()
    train = {wnid: [jpeg(label * 10 + number) for number in range(3)] for label, wnid in enumerate(WNIDS)}
    inner = {
        f"{wnid}.tar": tar_of({f"{wnid}_{number}.JPEG": data for number, data in enumerate(images)})
        for wnid, images in train.items()
    }
    (root / "ILSVRC2012_img_train.tar").write_bytes(tar_of(inner))
    order = (2, 0, 1, 1, 0)  # the classes of the validation images, by their place in WNIDS
    val = [(WNIDS[label], jpeg(100 + number)) for number, label in enumerate(order)]
    named = {f"ILSVRC2012_val_{number:08}.JPEG": data for number, (_, data) in enumerate(val, start=1)}
    (root / "ILSVRC2012_img_val.tar").write_bytes(tar_of(named))
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    # The last one is an inner node of WordNet, which is no class.
    synsets = [(i + 1, wnid, f"fish {i}, sort {i}", "a fish", 0) for i, wnid in enumerate(WNIDS)]
    synsets.append((4, "n00000001", "animal", "an animal", 3))
    savemat(root / "meta.mat", {"synsets": np.array(synsets, dtype=fields).reshape(-1, 1)})
    devkit = {
        "ILSVRC2012_devkit_t12/data/meta.mat": (root / "meta.mat").read_bytes(),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": "".join(
            f"{label + 1}\n" for label in order
        ).encode(),
    }
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(tar_of(devkit, "w:gz"))
    (root / "meta.mat").unlink()
    meta = {part: (name, md5(root / name)) for part, (name, _) in imagenet.ARCHIVE_META.items()}
    monkeypatch.setattr(imagenet, "ARCHIVE_META", meta)
    return train, val


SMALL = {"resize": 32, "size": 28, "workers": 0}


def test_imagenet_from_its_archives(tmp_path: Path, monkeypatch):
    root = tmp_path / "imagenet"
    train, val = archives(root, monkeypatch)
    data = load(root, "imagenet", **SMALL)
    assert (len(data.train_inputs), len(data.test_inputs), data.classes) == (9, 5, 3)
    assert data.train_targets.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert data.test_targets.tolist() == [0, 0, 1, 1, 2]
    assert (root / "train" / WNIDS[1] / f"{WNIDS[1]}_2.JPEG").read_bytes() == train[WNIDS[1]][2]
    place = {wnid: [image for other, image in val if other == wnid] for wnid in WNIDS}
    found = sorted((root / "val" / WNIDS[0]).iterdir())
    assert [path.read_bytes() for path in found] == place[WNIDS[0]]
    assert data.augment == Augment(crop=True, size=28)
    assert (data.train_inputs.shape, data.shape) == ((9, 3, 32, 32), (3, 28, 28))
    expected = {"ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"}
    left = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    assert left == expected | {"meta.bin", "train", "val"}
    # The folders are enough from now on, and are read as torchvision reads them.
    for name in expected:
        (root / name).unlink()
    again = load(root, "imagenet", **SMALL)
    assert again.fingerprint == data.fingerprint
    theirs = imagenet.ImageNet(str(root), split="val")
    assert [target for _, target in theirs.samples] == data.test_targets.tolist()


def test_imagenet_defaults_are_the_papers():
    spec = data_spec({"name": "imagenet", "root": "."})
    assert (spec.resize, spec.size, spec.augment, spec.test, spec.channels) == (256, 224, "crop", "val", 3)
    assert spec.augmentation == Augment(crop=True, size=224)


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        ("ILSVRC2012_img_train.tar", "no folder .*/train and no ILSVRC2012_img_train.tar"),
        ("ILSVRC2012_img_val.tar", "no folder .*/val and no ILSVRC2012_img_val.tar"),
        ("ILSVRC2012_devkit_t12.tar.gz", "no folder .*/val and no ILSVRC2012_devkit_t12.tar.gz"),
    ],
)
def test_imagenet_without_an_archive_names_it(tmp_path: Path, monkeypatch, absent: str, said: str):
    root = tmp_path / "imagenet"
    archives(root, monkeypatch)
    (root / absent).unlink()
    before = {path.name for path in root.iterdir()}
    with pytest.raises(DataNotFoundError, match=said) as caught:
        load(root, "imagenet", **SMALL)
    assert "image-net.org" in str(caught.value)
    assert {path.name for path in root.iterdir()} == before
    with pytest.raises(DataNotFoundError, match=r"no folder .*nowhere.*train/<class>/ and val/<class>/.*ILSVRC2012_"):
        load(tmp_path / "nowhere", "imagenet")
    with pytest.raises(DataNotFoundError, match=r"no folder .*/eval"):
        load(root, "imagenet", train="", mean=1.0, std=1.0, test="eval")


@pytest.mark.parametrize(
    ("spoiled", "half"),
    [
        ("ILSVRC2012_img_train.tar", "train"),
        ("ILSVRC2012_img_val.tar", "val"),
        ("ILSVRC2012_devkit_t12.tar.gz", "val"),
    ],
)
@pytest.mark.parametrize("published", [False, True])
def test_imagenet_with_a_damaged_archive_leaves_no_half_folder(
    tmp_path: Path, monkeypatch, spoiled: str, half: str, published: bool
):
    root = tmp_path / "imagenet"
    archives(root, monkeypatch)
    path = root / spoiled
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    if published:  # its md5 is right, and it is damaged all the same
        meta = {
            part: (name, md5(root / name) if name == spoiled else value)
            for part, (name, value) in imagenet.ARCHIVE_META.items()
        }
        monkeypatch.setattr(imagenet, "ARCHIVE_META", meta)
    with pytest.raises(DataError, match=f"{half} cannot be unpacked") as caught:
        load(root, "imagenet", **SMALL)
    assert caught.value.exit_code == 2
    assert not (root / half).exists()
    assert not [path for path in root.iterdir() if path.name.endswith(".partial")]


def test_imagenet_with_images_beside_the_class_folders(tmp_path: Path):
    root = image_folder(tmp_path / "d", {"train": 2})
    (root / "val").mkdir()
    (root / "val" / "ILSVRC2012_val_00000001.JPEG").write_bytes(jpeg(1))
    with pytest.raises(DataError, match=r"val holds files but no folders"):
        load(root, "imagenet", **SMALL)


def four(seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "train_inputs": generator.integers(0, 255, size=(20, 3, 6, 6), dtype=np.uint8),
        "train_targets": generator.integers(0, 3, size=20),
        "test_inputs": generator.integers(0, 255, size=(8, 3, 6, 6), dtype=np.uint8),
        "test_targets": generator.integers(0, 3, size=8).astype(np.int16),
    }


def group(path: Path, arrays: dict[str, np.ndarray], zarr_format: int = 3) -> Path:
    made = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    for name, array in arrays.items():
        made.create_array(name, data=array, chunks=(4, *array.shape[1:]))
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_zarr_group_is_the_npz_file(tmp_path: Path, zarr_format: int):
    arrays = four()
    np.savez(tmp_path / "d.npz", **arrays)  # type: ignore[arg-type]
    one = load(group(tmp_path / "d.zarr", arrays, zarr_format), "arrays", augment="flip")
    other = load(tmp_path / "d.npz", "arrays", augment="flip")
    assert one.fingerprint == other.fingerprint
    assert np.array_equal(one.train_inputs[:], arrays["train_inputs"])
    assert one.test_targets.dtype == np.int64
    assert one.augment == other.augment == Augment(flip=True)
    assert one.mean_std == other.mean_std


class _Code:
    """What a pickle can do to whoever reads it."""

    def __init__(self, path: Path):
        self._path = path

    def __reduce__(self):
        return (Path.touch, (self._path,))


@pytest.mark.parametrize("entry", ["filters", "compressor"])
@pytest.mark.filterwarnings("ignore")
def test_a_group_with_pickles_runs_no_code(tmp_path: Path, entry: str):
    path = group(tmp_path / "d.zarr", four(), zarr_format=2)
    metadata = path / "train_targets" / ".zarray"
    codec = {"id": "pickle", "protocol": 5}
    values = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**values, entry: [codec] if entry == "filters" else codec}))
    for number in range(5):
        (path / "train_targets" / str(number)).write_bytes(pickle.dumps(_Code(tmp_path / "ran")))
    with pytest.raises(DataError, match="pickle"):
        load(path, "arrays", classes=3)
    assert not (tmp_path / "ran").exists()


def _without(path: Path) -> None:
    group(path, {name: array for name, array in four().items() if name != "test_targets"})


def _chunk(path: Path) -> None:
    group(path, four())
    chunk = path / "train_inputs" / "c" / "1" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:10])


def _metadata(path: Path) -> None:
    group(path, four())
    (path / "train_inputs" / "zarr.json").write_text("{")


def _label(path: Path) -> None:
    arrays = four()
    arrays["test_targets"][5] = -1
    group(path, arrays)


def _text(path: Path) -> None:
    group(path, {**four(), "train_targets": np.array(["a"] * 20)})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "cannot be read as a Zarr group"),
        (_without, "lacks test_targets"),
        (_chunk, "cannot be read as a Zarr group"),
        (_metadata, "cannot be read as a Zarr group|lacks train_inputs"),
        (_label, r"example 5 has label -1, out of range \(0 to 2\)"),
        (_text, "train_targets: .* values; plain numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_group_that_is_none_is_named(tmp_path: Path, make, said: str):
    make(tmp_path / "d.zarr")
    with pytest.raises(DataError, match=said) as caught:
        load(tmp_path / "d.zarr", "arrays", classes=3)
    assert "d.zarr" in str(caught.value)


def test_arrays_that_are_no_images_are_not_varied(tmp_path: Path):
    arrays = four()
    arrays = {name: array.reshape(len(array), -1) if "inputs" in name else array for name, array in arrays.items()}
    np.savez(tmp_path / "d.npz", **arrays)  # type: ignore[arg-type]
    assert load(tmp_path / "d.npz", "arrays").shape == (108,)
    with pytest.raises(DataError, match=r"shape \[108\] are no images"):
        load(tmp_path / "d.npz", "arrays", augment="flip")


def test_a_single_example_is_enough(tmp_path: Path):
    arrays = {name: array[:1] for name, array in four().items()}
    np.savez(tmp_path / "d.npz", **arrays)  # type: ignore[arg-type]
    run, _ = batch(
        tmp_path / "s.zarr",
        data={"name": "arrays", "root": str(tmp_path / "d.npz"), "classes": 3},
        train={"epochs": 1, "checkpoints": []},
    )
    assert run.status() == "complete"


def test_the_same_images_from_a_folder_and_from_arrays(tmp_path: Path):
    root = image_folder(tmp_path / "d")
    (train, labels), (test, others) = by_hand(root, "train"), by_hand(root, "val")
    np.savez(tmp_path / "d.npz", train_inputs=train, train_targets=labels, test_inputs=test, test_targets=others)
    keys = {"augment": "crop-flip", "pad": 3, "mean": 100.0, "std": 60.0}
    one, other = load(root, **keys), load(tmp_path / "d.npz", "arrays", **keys)
    order = torch.randperm(15).split(4)
    device = torch.device("cpu")
    for (a, b), (c, d) in zip(
        training_examples(one, device).epoch(order, 9), training_examples(other, device).epoch(order, 9), strict=True
    ):
        assert torch.equal(a, c)
        assert torch.equal(b, d)
    shutil.rmtree(root)
