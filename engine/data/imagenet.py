"""ImageNet-1k (ILSVRC2012): the folders, or the archives that torchvision makes folders of.

The archives are those of https://image-net.org, as `torchvision.datasets.ImageNet` wants them.  It checks their md5 and
unpacks them; here they are unpacked beside their place and moved there when all of it is done, since an interrupted
unpacking would look like a whole one.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import Field

from ...store import inert
from ...store.files import partial_name
from ..errors import DataError, DataNotFoundError
from .base import DataSet, FullPath
from .folders import ImageFolderSpec

PIXELS, RESIZED = 224, 256


class ImageNetSpec(ImageFolderSpec):
    """1,281,167 training and 50,000 validation images, uint8[n, 3, 256, 256], of which the network sees 224 x 224.

    As in "Are All Layers Created Equal?" (JMLR 23, 2022): random crops in training, the middle in testing.
    """

    name: Literal["imagenet"] = "imagenet"  # type: ignore[assignment]
    root: FullPath = Field(description="folder that holds train and val, or the archives ILSVRC2012_* (not identity)")
    test: str | None = Field("val", min_length=1, description="folder of the validation half")
    augment: Literal["none", "flip", "crop", "crop-flip"] = Field(
        "crop", description="how training images are varied: a random crop, a random horizontal flip"
    )
    resize: int | None = Field(RESIZED, ge=1, description="the short side becomes so long; the middle square is kept")
    size: int | None = Field(PIXELS, ge=1, description="the network sees a square of so many pixels")

    def load(self) -> DataSet:
        root = Path(self.root)
        halves = [name for name in (self.train, self.test) if name]
        missing = [name for name in halves if not (root / name).is_dir()]
        if missing:
            if not root.is_dir():
                raise DataNotFoundError(
                    f"data 'imagenet': there is no folder {inert(self.root)} (data.root). It must hold "
                    f"{' and '.join(f'{name}/<class>/' for name in halves)} with images, or the archives ILSVRC2012_* "
                    "from https://image-net.org; name another one with --set data.root=FOLDER."
                )
            _unpack(root, missing)
        return super().load()


def _unpack(root: Path, missing: list[str]) -> None:
    """Make the folders `missing` in `root` from the archives there. Raises DataNotFoundError, DataError."""
    from torchvision.datasets import imagenet

    train, val, devkit = (imagenet.ARCHIVE_META[part][0] for part in ("train", "val", "devkit"))
    needed = {"train": [train], "val": [val, devkit]}
    for half in missing:
        absent = [name for name in needed.get(half, ()) if not (root / name).is_file()]
        if half not in needed or absent:
            archives = f", or {' and '.join(needed[half])}, which are unpacked then" if half in needed else ""
            raise DataNotFoundError(
                f"data 'imagenet': there is no folder {inert(str(root / half))}"
                f"{' and no ' + ', '.join(absent) if absent else ''}. "
                f"Put there a folder for each class with its images{archives}. Archives are to be had from "
                "https://image-net.org after registering."
            )
    try:
        with FileLock(root / ".lyrx-unpacking.lock"):  # of several processes one unpacks
            for half in missing:
                if half == "train":
                    _whole(root / half, lambda folder: imagenet.parse_train_archive(root, folder=folder))
                else:
                    _whole(root / half, lambda folder: _unpack_val(root, folder))
    except OSError as error:
        raise DataError(f"data 'imagenet': cannot unpack in {inert(str(root))}: {inert(str(error))}.") from error


def _unpack_val(root: Path, folder: str) -> None:
    from torchvision.datasets import imagenet

    imagenet.parse_devkit_archive(root)
    imagenet.parse_val_archive(root, folder=folder)


def _whole(place: Path, unpack: Callable[[str], None]) -> None:
    """`unpack(name)` into a folder beside `place`, which takes its place then. Raises DataError."""
    if place.is_dir():
        return  # another process has been faster
    beside = partial_name(place)
    try:
        unpack(beside.name)
        os.replace(beside, place)
    except OSError:
        raise
    except Exception as error:  # whatever tar, scipy and torchvision meet in a file that is something else
        why = " ".join(str(error).split())
        raise DataError(
            f"data 'imagenet': {inert(str(place))} cannot be unpacked from the archives in "
            f"{inert(str(place.parent))}: {inert(why)}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(beside)
