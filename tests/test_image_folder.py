"""Image folders: the pixels are Pillow's, and whatever is wrong with a tree is named with its path."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from images import CLASSES, by_hand, image_folder, load, pixels
from lyrx.engine.decoding import read
from lyrx.engine.errors import DataError, DataNotFoundError, SpecError
from lyrx.engine.examples import held_out_examples, training_examples
from lyrx.engine.spec import identity
from lyrx.engine.specfile import make_spec
from PIL import Image
from running import environment, lyrx, spec_values, write_spec


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LYRX_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("suffix", "channels"), [("png", 3), ("png", 1), ("jpg", 3), ("bmp", 3), ("tif", 1)])
def test_pixels_and_labels_are_those_of_the_files(tmp_path: Path, suffix: str, channels: int):
    image_folder(tmp_path / "d", suffix=suffix, channels=channels)
    data = load(tmp_path / "d", channels=channels)
    mode = "RGB" if channels == 3 else "L"
    for half, files, targets in (
        ("train", data.train_inputs, data.train_targets),
        ("val", data.test_inputs, data.test_targets),
    ):
        expected, labels = by_hand(tmp_path / "d", half, mode)
        assert np.array_equal(files[:], expected)
        assert np.array_equal(targets, labels)
        assert files.shape == expected.shape
    assert (data.classes, data.shape) == (3, (channels, 12, 12))


def test_mean_and_std_are_those_of_all_training_pixels(tmp_path: Path):
    image_folder(tmp_path / "d", {"train": 7, "test": 2})
    facts = load(tmp_path / "d").facts()
    everything = by_hand(tmp_path / "d", "train")[0].astype(np.float64)
    assert facts["mean"] == pytest.approx(everything.mean(), rel=1e-14)
    assert facts["std"] == pytest.approx(everything.std(), rel=1e-14)
    assert (facts["train_examples"], facts["test_examples"], facts["shape"]) == (21, 6, [3, 12, 12])
    stated = load(tmp_path / "d", mean=127.5, std=64.0)
    assert stated.mean_std == (127.5, 64.0)
    train = training_examples(stated, torch.device("cpu")).between(0, 3)[0].numpy()
    np.testing.assert_allclose(train, (by_hand(tmp_path / "d", "train")[0][:3] - 127.5) / 64.0, rtol=1e-6)


def test_grey_and_odd_images_become_three_channels_and_folders_in_a_class_belong_to_it(tmp_path: Path):
    root = image_folder(tmp_path / "d")
    ant = root / "train" / "ant"
    for path in ant.iterdir():
        path.unlink()
    (ant / "deeper").mkdir()
    grey = pixels(1, channels=1)
    Image.fromarray(grey).save(ant / "a.png")
    Image.fromarray(grey > 127).save(ant / "b.png")
    Image.fromarray(grey).convert("P").save(ant / "c.gif")
    Image.fromarray(np.dstack([pixels(2), np.full((12, 12), 7, np.uint8)])).save(ant / "deeper" / "d.PNG")
    (ant / "notes.txt").write_text("no image")
    (ant / ".hidden.png").write_bytes(b"")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "README").write_text("no folder")
    data = load(root)
    assert list(data.train_targets[:4]) == [0] * 4
    assert data.train_targets[4] == 1
    assert np.array_equal(data.train_inputs[0:1][0], np.stack([grey] * 3))
    assert np.array_equal(data.train_inputs[1:2][0, 0], np.where(grey > 127, 255, 0))
    assert np.array_equal(data.train_inputs[3:4][0], pixels(2).transpose(2, 0, 1))


def test_resize_makes_the_short_side_so_long_and_keeps_the_middle(tmp_path: Path):
    root = image_folder(tmp_path / "d", side=(30, 47))
    Image.fromarray(pixels(5, 64, 33)).save(root / "train" / "ant" / "000.png")
    data = load(root, resize=20, size=16)
    assert data.train_inputs.shape == (15, 3, 20, 20)
    assert data.shape == (3, 16, 16)
    tall = Image.fromarray(pixels(5, 64, 33)).resize((20, 38), Image.Resampling.BILINEAR)  # 64 * 20 / 33 = 38.8
    assert np.array_equal(data.train_inputs[:1][0], np.asarray(tall)[9:29].transpose(2, 0, 1))
    wide = Image.open(root / "val" / "bee" / "001.png").resize((31, 20), Image.Resampling.BILINEAR)  # 47 * 20 / 30
    whole = np.asarray(wide)[:, 6:26].transpose(2, 0, 1)  # (31 - 20) / 2 = 5.5, rounded to even
    place = 3 + 1
    assert np.array_equal(data.test_inputs[place : place + 1][0], whole)
    given = held_out_examples(data, torch.device("cpu")).between(place, place + 1)[0][0].numpy()
    mean, std = data.mean_std
    np.testing.assert_allclose(given * std + mean, whole[:, 2:18, 2:18], atol=1e-3)


def test_which_folder_is_the_test_half(tmp_path: Path):
    root = image_folder(tmp_path / "d", {"train": 2, "val": 1, "test": 2})
    with pytest.raises(DataError, match=r"test or val.*both are there.*data\.test"):
        load(root)
    assert len(load(root, test="val").test_inputs) == 3
    assert len(load(root, test="test").test_inputs) == 6
    assert len(load(root, train="test", test="val").train_inputs) == 6
    shutil.rmtree(root / "val")
    assert len(load(root).test_inputs) == 6


def test_a_test_half_alone_can_be_probed_but_not_trained_on(tmp_path: Path):
    root = image_folder(tmp_path / "d", {"val": 2})
    data = load(root, train="", mean=100.0, std=50.0)
    assert (len(data.train_inputs), len(data.test_inputs), data.classes) == (0, 6, 3)
    assert data.facts()["train_examples"] == 0
    assert held_out_examples(data, torch.device("cpu")).between(0, 6)[0].shape == (6, 3, 12, 12)
    with pytest.raises(DataError, match="no training half"):
        training_examples(data, torch.device("cpu"))
    with pytest.raises(SpecError, match=r"data\.train: without a training half"):
        make_spec(spec_values(data={"name": "image-folder", "root": str(root), "train": ""}))


def test_a_part_of_each_class_is_what_a_folder_with_these_files_alone_is(tmp_path: Path):
    root = image_folder(tmp_path / "d", {"train": 7, "val": 3})
    (root / "train" / "ant" / "000.png").rename(root / "train" / "ant" / "zzz.png")
    part = load(root, per_class=2)
    assert (part.train_targets.tolist(), part.test_targets.tolist()) == ([0, 0, 1, 1, 2, 2],) * 2
    for half, first in (("train", "001.png"), ("val", "000.png")):
        for name in CLASSES:
            for image in sorted((root / half / name).iterdir())[2:]:
                image.unlink()
        assert (root / half / "ant" / first).is_file()
    alone = load(root)
    assert alone.fingerprint == part.fingerprint
    assert load(root, per_class=9).fingerprint == part.fingerprint
    before = make_spec(spec_values(data={"name": "image-folder", "root": str(root)})).resolved()
    older = {section: {key: v for key, v in keys.items() if key != "per_class"} for section, keys in before.items()}
    assert identity(older, ("data",)) == identity(before, ("data",)), "runs made before the key are the same runs"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def _deep(path: Path) -> None:
    Image.fromarray(np.arange(144, dtype=np.uint16).reshape(12, 12) * 400).save(path)


@pytest.mark.parametrize("half", ["train", "val"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_truncate, "no whole image"),
        (lambda path: path.write_bytes(b"not an image"), "no image that Pillow can read"),
        (lambda path: path.write_bytes(b""), "no image that Pillow can read"),
        (_deep, "more than 8 bits"),
        (lambda path: Image.fromarray(pixels(3, 12, 13)).save(path), "12 x 13 pixels"),
    ],
)
def test_a_broken_image_is_named(tmp_path: Path, half: str, spoil, said: str):
    root = image_folder(tmp_path / "d")
    bad = root / half / "cat" / "002.png"
    spoil(bad)
    with pytest.raises(DataError, match=said) as caught:
        _ = load(root).mean_std
    assert str(bad) in str(caught.value)
    assert caught.value.exit_code == 2
    for workers in (0, 1):  # also where another process has met it
        data = load(root, workers=workers, mean=1.0, std=1.0)
        with pytest.raises(DataError, match=said) as caught:
            read(data.train_inputs if half == "train" else data.test_inputs, data.keeping)
        assert str(bad) in str(caught.value)


def _only_files(root: Path) -> Path:
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    Image.fromarray(pixels(1)).save(root / "train" / "a.png")
    return root / "train"


def _empty_half(root: Path) -> Path:
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    return root / "val"


def _empty_class(root: Path) -> Path:
    for half in ("train", "val"):
        (root / half / "dog").mkdir()
        (root / half / "dog" / "notes.txt").write_text("")
    return root / "train" / "dog"


def _loop(root: Path) -> Path:
    (root / "train" / "bee" / "again").symlink_to(root / "train")
    return root / "train" / "bee" / "again"


def _self_loop(root: Path) -> Path:
    (root / "val" / "bee" / "again").symlink_to(".")
    return root / "val" / "bee" / "again"


def _dangling(root: Path) -> Path:
    (root / "val" / "bee" / "x.png").symlink_to(root / "nowhere.png")
    return root / "val" / "bee" / "x.png"


def _other_classes(root: Path) -> Path:
    (root / "val" / "cat").rename(root / "val" / "dog")
    return root / "train"


def _one_class(root: Path) -> Path:
    for half in ("train", "val"):
        for name in CLASSES[1:]:
            shutil.rmtree(root / half / name)
    return root / "val"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_only_files, "holds files but no folders"),
        (_empty_half, "is empty"),
        (_empty_class, "class dog is empty"),
        (_loop, "link to a folder that it lies in"),
        (_self_loop, "link to a folder that it lies in"),
        (_dangling, "not there"),
        (_other_classes, "different classes: only .* has cat"),
        (_one_class, "holds one class"),
    ],
)
def test_a_tree_that_is_none_is_named(tmp_path: Path, spoil, said: str):
    root = image_folder(tmp_path / "d")
    where = spoil(root)
    with pytest.raises(DataError, match=said) as caught:
        load(root)
    assert str(where) in str(caught.value)


def test_what_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(DataNotFoundError, match=r"no folder .*nowhere \(data\.root\)"):
        load(tmp_path / "nowhere")
    root = image_folder(tmp_path / "d", {"train": 1})
    with pytest.raises(DataNotFoundError, match="neither is there"):
        load(root)
    with pytest.raises(DataNotFoundError, match=r"d/eval \(data\.test\)"):
        load(root, test="eval")
    with pytest.raises(DataError, match=r"smaller than data\.size = 13"):
        load(image_folder(tmp_path / "e"), size=13)
    with pytest.raises(DataError, match="random crop of the whole image"):
        load(tmp_path / "e", augment="crop")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(tmp_path: Path):
    root = image_folder(tmp_path / "d")
    bad = root / "train" / "ant" / "001.png"
    bad.chmod(0)
    with pytest.raises(DataError, match=r"001\.png cannot be read: Permission denied"):
        _ = load(root).fingerprint


def test_a_file_that_goes_away_is_named(tmp_path: Path):
    root = image_folder(tmp_path / "d")
    data = load(root)
    (root / "val" / "bee" / "002.png").unlink()
    with pytest.raises(DataError, match=r"bee/002\.png cannot be read: No such file"):
        _ = data.fingerprint
    with pytest.raises(DataError, match=r"bee/002\.png cannot be read: No such file"):
        read(data.test_inputs, data.keeping)


def test_the_fingerprint_follows_names_contents_and_what_is_made_of_them(tmp_path: Path, monkeypatch):
    root = image_folder(tmp_path / "d")
    first = load(root).fingerprint
    assert load(root).fingerprint == first
    shutil.copytree(root, tmp_path / "copy")
    assert load(tmp_path / "copy").fingerprint == first  # where it is does not count
    assert load(root, channels=1).fingerprint != first
    assert load(root, resize=10).fingerprint != first
    assert load(root, workers=1, memory="1B", augment="flip").fingerprint == first
    (root / "train" / "ant" / "000.png").rename(root / "train" / "ant" / "zzz.png")
    renamed = load(root).fingerprint
    assert renamed != first
    image = root / "val" / "cat" / "001.png"
    image.write_bytes(image.read_bytes()[:-5] + b"12345")
    changed = load(root).fingerprint
    assert changed not in (first, renamed)
    # Of large files only names and sizes count.
    monkeypatch.setattr("lyrx.engine.data.base.READ_FOR_FINGERPRINT", 10)
    large = load(root).fingerprint
    image.write_bytes(image.read_bytes()[:-5] + b"54321")
    assert load(root).fingerprint == large
    image.write_bytes(image.read_bytes() + b"1")
    assert load(root).fingerprint != large


def test_names_from_files_steer_no_terminal(tmp_path: Path):
    root = image_folder(tmp_path / "d", classes=("a\x1b[31mb", "c"))
    bad = root / "val" / "a\x1b[31mb" / "000.png"
    bad.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        _ = load(root).mean_std
    assert "\x1b" not in str(caught.value)
    assert r"a\x1b[31mb" in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"pad": 4}, "data.pad: goes with augment = 'crop' or 'crop-flip', not 'none'"),
        ({"augment": "cutout"}, "'none', 'flip', 'crop' or 'crop-flip'"),
        ({"mean": 3.0}, "data.mean: mean and std go together"),
        ({"mean": 3.0, "std": 0.0}, "greater than 0"),
        ({"channels": 2}, "1 or 3"),
        ({"resize": 20, "size": 24}, "data.size: 24 is more than data.resize, 20"),
        ({"memory": "much"}, "'much' is no size"),
        ({"per_class": 0}, "greater than or equal to 1"),
        ({"workers": -1}, "greater than or equal to 0"),
        ({"szie": 3}, "unknown key 'data.szie'. Did you mean 'size'?"),
    ],
)
def test_wrong_keys_are_refused(keys: dict, said: str):
    with pytest.raises(SpecError) as caught:
        make_spec(spec_values(data={"name": "image-folder", "root": ".", **keys}))
    assert said in str(caught.value)


@pytest.mark.slow
def test_the_command_ends_with_2_and_writes_nothing(tmp_path: Path):
    root = image_folder(tmp_path / "d")
    (root / "val" / "cat" / "001.png").write_bytes(b"x")
    spec = write_spec(tmp_path / "spec.toml", data={"name": "image-folder", "root": str(root)})
    extra = {key: environment()[key] for key in ("LYRX_CACHE",)}
    done = lyrx("batch", spec, "--store", tmp_path / "s.zarr", **extra)
    assert done.returncode == 2
    assert "cat/001.png" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "s.zarr").exists()
