"""Images in folders: `train/<class>/*` and `val/<class>/*` or `test/<class>/*`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from ...store import inert
from ..errors import DataError, DataNotFoundError
from .base import DataSet, FullPath, checked_augment
from .files import ImageFiles, Pixels, naming
from .keys import FilesSpec

TEST_FOLDERS = ("test", "val")

_NAMED = 5  # classes named before it says how many more there are


class ImageFolderSpec(FilesSpec):
    """Any images that Pillow reads, uint8[n, channels, height, width], 0..255; classes in the order of their names."""

    name: Literal["image-folder"] = "image-folder"
    root: FullPath = Field(description="folder that holds the folders of both halves (not identity)")
    train: str = Field("train", description="folder of the training half; '': there is none, for probing only")
    test: str | None = Field(None, min_length=1, description="folder of the test half; default: test or val")
    per_class: int | None = Field(
        None, ge=1, description="only so many images of each class in each half, the first by name: for a quick try"
    )
    channels: Literal[1, 3] = Field(3, description="3: colours; 1: grey")
    resize: int | None = Field(
        None,
        ge=1,
        description="the short side becomes so long and the middle square is kept; default: images stay as they are, "
        "and must all be of one size",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> "ImageFolderSpec":
        if self.resize is not None and self.size is not None and self.size > self.resize:
            raise ValueError(f"size: {self.size} is more than data.resize, {self.resize}")
        if not self.train and self.mean is None:
            raise ValueError("train: without a training half, data.mean and data.std must be given")
        return self

    def load(self) -> DataSet:
        root = Path(self.root)
        if not root.is_dir():
            raise DataNotFoundError(
                f"data '{self.name}': there is no folder {inert(self.root)} (data.root). It must hold "
                f"{self.train or 'train'}/<class>/ and {self.test or 'test or val'}/<class>/ with images."
            )
        train = self._first(_half(self.name, root / self.train, "data.train")) if self.train else {}
        where = root / (self.test or self._test_folder(root))
        test = self._first(_half(self.name, where, "data.test"))
        if self.train:
            _same_classes(self.name, root / self.train, train, where, test)
        classes = sorted(test)
        if len(classes) < 2:
            raise DataError(f"data '{self.name}': {inert(str(where))} holds one class; at least two are needed.")
        halves = [self._files(root / self.train, classes, train, None)] if self.train else []
        halves.append(self._files(where, classes, test, halves[0][0] if halves else None))
        if not self.train:
            files, targets = halves[0]
            halves.insert(0, (files.only(np.zeros(0, dtype=np.int64)), targets[:0]))
        (train_files, train_targets), (test_files, test_targets) = halves
        augment = checked_augment(self.name, self.root, self.augmentation, train_files.shape[1:])
        return DataSet(
            train_files,
            train_targets,
            test_files,
            test_targets,
            classes=len(classes),
            augment=augment,
            norms=self.norms,
            keeping=self.keeping,
        )

    def _first(self, found: dict[str, list[str]]) -> dict[str, list[str]]:
        return {name: images[: self.per_class] for name, images in found.items()}

    def _test_folder(self, root: Path) -> str:
        there = [name for name in TEST_FOLDERS if (root / name).is_dir()]
        if len(there) != 1:
            found = "both are there" if there else "neither is there"
            raise (DataError if there else DataNotFoundError)(
                f"data '{self.name}': looked for {' or '.join(TEST_FOLDERS)} in {inert(str(root))}, {found}. "
                "Name the folder of the test half with --set data.test=FOLDER."
            )
        return there[0]

    def _files(
        self, folder: Path, classes: Sequence[str], found: dict[str, list[str]], like: ImageFiles | None
    ) -> tuple[ImageFiles, np.ndarray]:
        """The images of one half, class after class, and their labels int64[n]. Sizes are those of `like`."""
        names = [f"{name}{os.sep}{image}" for name in classes for image in found[name]]
        targets = np.repeat(np.arange(len(classes)), [len(found[name]) for name in classes]).astype(np.int64)
        pixels, root = Pixels(self.channels, self.resize), str(folder)
        if like is not None:
            return ImageFiles(root, names, pixels, like.side, like.first), targets
        first = os.path.join(root, names[0])
        if self.resize is not None:
            return ImageFiles(root, names, pixels, (self.resize, self.resize), first), targets
        from .decode import decode

        height, width = decode(first, pixels).shape[1:]
        return ImageFiles(root, names, pixels, (height, width), first), targets


def _half(name: str, folder: Path, key: str) -> dict[str, list[str]]:
    """The images of each class in `folder`, by their paths inside the class's folder, sorted.

    Folders in a class's folder belong to it; what begins with a dot and what is no image by its name is passed over.
    Raises DataError, DataNotFoundError.
    """
    from .decode import suffixes

    if not folder.is_dir():
        raise DataNotFoundError(
            f"data '{name}': there is no folder {inert(str(folder))} ({key}). It must hold a folder for each class."
        )
    known = tuple(suffixes())
    with naming(str(folder)):
        entries = sorted(os.listdir(folder))
    found = {
        entry: sorted(_images(os.path.join(folder, entry), known, ()))
        for entry in entries
        if not entry.startswith(".") and os.path.isdir(os.path.join(folder, entry))
    }
    if not found:
        files = "holds files but no folders" if entries else "is empty"
        raise DataError(f"data '{name}': {inert(str(folder))} {files}; a folder of images for each class is needed.")
    for entry, images in found.items():
        if not images:
            raise DataError(
                f"data '{name}': class {inert(entry)} is empty: no images in {inert(str(folder / entry))}. "
                "Put some there, or remove the folder from both halves."
            )
    return found


def _images(folder: str, known: tuple[str, ...], above: tuple[str, ...]) -> list[str]:
    """Paths of the images in and below `folder`, from it. `above`: the real paths of the folders that lead here."""
    real = os.path.realpath(folder)
    if real in above:
        raise DataError(f"{inert(folder)} is a link to a folder that it lies in, {inert(real)}. Remove the link.")
    found: list[str] = []
    with naming(folder), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                found += [f"{entry.name}{os.sep}{image}" for image in _images(entry.path, known, (*above, real))]
            elif entry.name.lower().endswith(known):
                if entry.is_symlink() and not os.path.exists(entry.path):
                    raise DataError(f"{inert(entry.path)} is a link to something that is not there.")
                found.append(entry.name)
    return found


def _same_classes(
    name: str, train_folder: Path, train: dict[str, list[str]], test_folder: Path, test: dict[str, list[str]]
) -> None:
    for folder, extra in ((train_folder, train.keys() - test.keys()), (test_folder, test.keys() - train.keys())):
        if extra:
            shown = ", ".join(map(inert, sorted(extra)[:_NAMED]))
            more = f" and {len(extra) - _NAMED} more" if len(extra) > _NAMED else ""
            raise DataError(
                f"data '{name}': the halves have different classes: only {inert(str(folder))} has {shown}{more}."
            )
