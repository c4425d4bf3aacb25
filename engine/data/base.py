"""What a family of data sets is, and what it loads."""

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict

from ...store import Run, inert
from ..errors import DataError
from .files import ImageFiles

MOST_CLASSES = 2**20
"""A higher label is a mistake in the data, not a class."""

_PART = 2**20
"""Pixels looked at in one go, so that statistics of a large data set need no second copy of it."""

READ_FOR_FINGERPRINT = 2**31
"""Up to so many bytes of image files their contents are part of the fingerprint; above it their names and sizes are."""

Task = Literal["classification", "language"]


class DataSpec(BaseModel):
    """The `data` section of a spec: which data set, and its keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)

    name: str

    def load(self) -> "DataSet":
        """Read it into memory, or find its files. Raises DataNotFoundError, DataError."""
        raise TypeError(f"{type(self).__name__} does not say how to load its data")

    def load_again(self, run: Run) -> "DataSet":
        """The data of `run`, which is there already: what it knows or keeps of them need not be found out again."""
        return self.load().knowing(run.info.data_facts)


def full_path(root: str) -> str:
    """`root` with ~ and variables expanded, absolute: a worker started elsewhere must find it too."""
    return str(Path(os.path.expandvars(root)).expanduser().absolute())


FullPath = Annotated[str, AfterValidator(full_path)]
"""A key that names a file or a folder, as :func:`full_path` makes it."""


@dataclass(frozen=True)
class Augment:
    """How training images are varied, and which part of an image the network sees (see :mod:`..augment`)."""

    crop: bool = False
    """A random part of the image in training, the middle one otherwise."""
    flip: bool = False
    """Left and right exchanged in every other training image."""
    pad: int = 0
    """Zeros around a training image before a random part is taken: black pixels, before any normalisation."""
    size: int | None = None
    """The part is a square of so many pixels; None: as large as the image."""

    @property
    def random(self) -> bool:
        """Whether a training image is another one each time."""
        return self.crop or self.flip

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Of an example as the network sees it, from its shape as it is stored."""
        return stored if self.size is None else (*stored[:-2], self.size, self.size)


@dataclass(frozen=True)
class Keeping:
    """How images in files are held: it changes no number."""

    memory: int | None = None
    """Bytes that the decoded images of each half may take; None: a share of what is free."""
    workers: int | None = None
    """Processes that decode; 0: this one; None: as many as there are cores for."""


@dataclass(frozen=True)
class DataSet:
    """A data set as it was read: not normalised, not augmented.

    Classification: images (or other examples) and class labels.  Language: token numbers, and at each place the one
    that should follow.
    """

    train_inputs: np.ndarray | ImageFiles
    """uint8 or float[n, *shape], channels first; or images in files, uint8 once they are decoded. Language: int."""
    train_targets: np.ndarray
    """int64[n], 0..classes-1. Language: int[n, length]."""
    test_inputs: np.ndarray | ImageFiles
    test_targets: np.ndarray
    classes: int
    task: Task = "classification"
    augment: Augment = Augment()
    norms: tuple[float, float] | None = None
    """Mean and standard deviation, where they are known without looking at the training pixels."""
    keeping: Keeping = Keeping()
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What a run keeps of it: without them the same data could not be had again."""
    text: str = ""
    """Of text: its digest."""
    note: str = ""
    """What a user should know of where its halves come from; '' where that goes without saying."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example as the network sees it."""
        return self.augment.shape(self.train_inputs.shape[1:])

    def knowing(self, facts: Mapping[str, Any]) -> "DataSet":
        """The same, with mean and std from the facts stored with a run, if that was made from these data."""
        if self.norms is not None or facts.get("fingerprint") != self.fingerprint:
            return self
        known = replace(self, norms=(float(facts["mean"]), float(facts["std"])))
        known.__dict__["fingerprint"] = self.fingerprint  # it may have cost reading every file
        return known

    @cached_property
    def mean_std(self) -> tuple[float, float]:
        """Global mean and standard deviation over all training pixels (JMLR 23, 2022, section on the recipes).

        Units are those of the inputs as they are (0..255 for uint8).  A constant data set has std 1, so that
        normalising it divides by something.  Of images in files every one is decoded for it, once for a data set and
        machine (:mod:`.statistics`).  Tokens are not normalised: 0 and 1.  Raises DataError.
        """
        if self.task == "language":
            return 0.0, 1.0
        if self.norms is not None:
            return self.norms
        if isinstance(self.train_inputs, ImageFiles):
            from .statistics import file_statistics

            return file_statistics(self)
        pixels = self.train_inputs.reshape(-1)
        parts = range(0, len(pixels), _PART)
        mean = sum(float(pixels[start : start + _PART].sum(dtype=np.float64)) for start in parts) / len(pixels)
        squares = 0.0
        for start in parts:
            deviation = pixels[start : start + _PART].astype(np.float64) - mean
            squares += float(deviation @ deviation)
        return mean, (squares / len(pixels)) ** 0.5 or 1.0

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything in it; of many large files over their names and sizes. Raises DataError."""
        digest = hashlib.sha256(f"{self.classes}".encode())
        arrays = (self.train_inputs, self.train_targets, self.test_inputs, self.test_targets)
        size = sum(int(array.sizes.sum()) for array in arrays if isinstance(array, ImageFiles))
        for array in arrays:
            if isinstance(array, ImageFiles):
                digest.update(array.stamp(contents=size < READ_FOR_FINGERPRINT).encode())
                continue
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def facts(self) -> dict[str, Any]:
        """What is stored of it with a run."""
        mean, std = self.mean_std
        return {
            "train_examples": len(self.train_inputs),
            "test_examples": len(self.test_inputs),
            "shape": list(self.shape),
            "classes": self.classes,
            "mean": mean,
            "std": std,
            "fingerprint": self.fingerprint,
        }


def checked(name: str, where: str, inputs: np.ndarray, targets: np.ndarray, classes: int | None) -> np.ndarray:
    """Refuse what cannot be a set of examples with class labels; returns the labels as int64.

    Raises DataError naming the data set, the file or array, and the first wrong example.
    """
    what = f"data '{inert(name)}': {inert(where)}"
    if inputs.ndim < 2 or inputs.size == 0:
        raise DataError(f"{what}: inputs of shape {inputs.shape} are no examples; [n, ...] with n >= 1 is needed.")
    if inputs.dtype != np.uint8 and not np.issubdtype(inputs.dtype, np.floating):
        raise DataError(f"{what}: inputs are {inputs.dtype}; uint8 or a floating type is needed.")
    if inputs.dtype != np.uint8 and not np.isfinite(inputs).all():
        bad = int(np.flatnonzero(~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1))[0])
        raise DataError(f"{what}: example {bad} holds a value that is not finite.")
    if targets.shape != (len(inputs),):
        raise DataError(f"{what}: {len(inputs)} inputs need labels of shape ({len(inputs)},), not {targets.shape}.")
    if not np.issubdtype(targets.dtype, np.integer):
        raise DataError(f"{what}: labels are {targets.dtype}; whole numbers are needed.")
    most = MOST_CLASSES if classes is None else classes
    wrong = (targets < 0) | (targets >= most)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(f"{what}: example {first} has label {targets[first]}, out of range (0 to {most - 1}).")
    return targets.astype(np.int64)


def checked_augment(name: str, where: str, augment: Augment, stored: tuple[int, ...]) -> Augment:
    """`augment`, if it can be done with examples stored as `stored`. Raises DataError."""
    what = f"data '{inert(name)}': {inert(where)}"
    if (augment.random or augment.size is not None) and len(stored) != 3:
        raise DataError(
            f"{what}: examples of shape {list(stored)} are no images [channels, height, width]; data.augment and "
            "data.size are for images. Leave them out."
        )
    if augment.size is not None and augment.size > min(stored[-2:]):
        raise DataError(
            f"{what}: images are {stored[-2]} x {stored[-1]} pixels, smaller than data.size = {augment.size}."
        )
    if augment.crop and not augment.pad and augment.shape(stored) == stored:
        raise DataError(
            f"{what}: a random crop of the whole image changes nothing. Give data.pad, or a data.size smaller than "
            f"the {stored[-2]} x {stored[-1]} pixels of the images."
        )
    if math.prod(augment.shape(stored)) == 0:
        raise DataError(f"{what}: examples of shape {list(stored)} hold nothing.")
    return augment
