"""What a family of data sets is, and what it loads."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ...store import inert
from ..errors import DataError

MOST_CLASSES = 2**20
"""A higher label is a mistake in the data, not a class."""

_PART = 2**20
"""Pixels looked at in one go, so that statistics of a large data set need no second copy of it."""


class DataSpec(BaseModel):
    """The `data` section of a spec: which data set, and its keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)

    name: str

    def load(self) -> "DataSet":
        """Read it whole into memory. Raises DataNotFoundError, DataError."""
        raise TypeError(f"{type(self).__name__} does not say how to load its data")

    def load_again(self, files: Mapping[str, bytes]) -> "DataSet":
        """The data of a run that kept `files` (:attr:`DataSet.files`) when it was made."""
        return self.load()


def full_path(root: str) -> str:
    """`root` with ~ and variables expanded, absolute: a worker started elsewhere must find it too."""
    return str(Path(os.path.expandvars(root)).expanduser().absolute())


@dataclass(frozen=True)
class DataSet:
    """A classification data set in memory, as it was read: uint8 or float, channels first, not normalised."""

    train_inputs: np.ndarray
    """uint8 or float[n, *shape]."""
    train_targets: np.ndarray
    """int64[n], 0..classes-1."""
    test_inputs: np.ndarray
    test_targets: np.ndarray
    classes: int
    task: str = "classification"
    """What is predicted, a name of `engine.tasks.TASKS`: one class an example, or every next token ("language")."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What a run keeps of it: without them the same data could not be had again."""
    text: str = ""
    """Of text: its digest."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return self.train_inputs.shape[1:]

    @cached_property
    def mean_std(self) -> tuple[float, float]:
        """Global mean and standard deviation over all training pixels (JMLR 23, 2022, section on the recipes).

        Units are those of the inputs as they are (0..255 for uint8).  A constant data set has std 1, so that
        normalising it divides by something.
        """
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
        """SHA-256 over everything in it."""
        digest = hashlib.sha256(f"{self.classes}".encode())
        for array in (self.train_inputs, self.train_targets, self.test_inputs, self.test_targets):
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
