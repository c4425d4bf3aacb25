"""Small trees of image files, and what becomes of them by plain Pillow and NumPy."""

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lyrx.engine.data import data_spec
from lyrx.engine.data.base import DataSet
from PIL import Image

CLASSES = ("ant", "bee", "cat")


def pixels(seed: int, height: int = 12, width: int = 12, channels: int = 3) -> np.ndarray:
    """uint8[height, width, channels] (or [height, width]) with structure, so that crops and flips differ."""
    generator = np.random.default_rng(seed)
    shape = (height, width, channels) if channels > 1 else (height, width)
    return generator.integers(0, 256, size=shape, dtype=np.uint8)


def image_folder(
    root: Path,
    counts: Mapping[str, int] | None = None,
    *,
    side: tuple[int, int] = (12, 12),
    suffix: str = "png",
    classes: Sequence[str] = CLASSES,
    channels: int = 3,
) -> Path:
    """`root/train/<class>/*` and `root/val/<class>/*`, so many images of each class."""
    for half, count in (counts or {"train": 5, "val": 3}).items():
        for label, name in enumerate(classes):
            folder = root / half / name
            folder.mkdir(parents=True)
            for number in range(count):
                seed = label * 1000 + number + (500_000 if half == "val" else 0)
                Image.fromarray(pixels(seed, *side, channels)).save(folder / f"{number:03}.{suffix}")
    return root


def load(root: Path, name: str = "image-folder", **keys: Any) -> DataSet:
    """A data set as a spec's section would load it."""
    return data_spec({"name": name, "root": str(root), **keys}).load()


def by_hand(root: Path, half: str, mode: str = "RGB") -> tuple[np.ndarray, np.ndarray]:
    """Every image as it is, uint8[n, channels, height, width], and labels: Pillow and NumPy only."""
    images, labels = [], []
    for label, folder in enumerate(sorted(path for path in (root / half).iterdir() if path.is_dir())):
        for path in sorted(folder.iterdir()):
            array = np.asarray(Image.open(path).convert(mode))
            images.append(array.transpose(2, 0, 1) if array.ndim == 3 else array[None])
            labels.append(label)
    return np.stack(images), np.array(labels)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def tar_of(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    """A tar archive of files in memory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def jpeg(seed: int, height: int = 40, width: int = 52) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(seed, height, width)).save(out, "JPEG", quality=95)
    return out.getvalue()
