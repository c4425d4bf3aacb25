"""Images in files as one array of pixels that is decoded when it is asked for."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...store import inert
from ..errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pixels:
    """What becomes of an image file: uint8[channels, height, width], 0..255."""

    channels: int
    """3: red, green, blue; 1: grey."""
    resize: int | None
    """The short side becomes so long, and the middle square of the image is what is kept; None: it stays as it is."""


class ImageFiles:
    """The images `names` in the folder `root` as uint8[n, channels, height, width], 0..255.

    Nothing is decoded before it is asked for.  `array` holds all of it once somebody has put it there.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, root: str, names: Sequence[str] | np.ndarray, pixels: Pixels, side: tuple[int, int], first: str):
        """`side`: height and width of every image; without `pixels.resize` this is that of the image `first`."""
        self.root, self.pixels, self.side, self.first = root, pixels, side, first
        # Bytes in one block: a million Python strings would be copied into every worker process, one by one.
        self._names = names if isinstance(names, np.ndarray) else np.array(list(map(os.fsencode, names)), dtype=bytes)
        self.array: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._names)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), self.pixels.channels, *self.side)

    @property
    def nbytes(self) -> int:
        """Of all of them, decoded."""
        return int(np.prod(self.shape, dtype=np.int64))

    def path(self, index: int) -> str:
        return os.path.join(self.root, os.fsdecode(bytes(self._names[index])))

    def only(self, chosen: np.ndarray) -> "ImageFiles":
        """Those at the indices `chosen`, in that order."""
        part = ImageFiles(self.root, self._names[chosen], self.pixels, self.side, self.first)
        part.array = None if self.array is None else self.array[chosen]
        return part

    def decode(self, index: int) -> "Tensor":
        """One of them, uint8[channels, height, width]. Raises DataError naming the file."""
        from .decode import decode

        path = self.path(index)
        image = decode(path, self.pixels)
        if tuple(image.shape[1:]) != self.side:
            raise DataError(
                f"{inert(path)} is {image.shape[1]} x {image.shape[2]} pixels (height x width), {inert(self.first)} "
                f"{self.side[0]} x {self.side[1]}. For images of different sizes say with data.resize how long the "
                "short side becomes, such as data.resize = 256 with data.size = 224."
            )
        return image

    def __getitem__(self, places: slice) -> np.ndarray:
        """A stretch of them, uint8[k, channels, height, width], decoded here and now."""
        if self.array is not None:
            return self.array[places]
        chosen = range(*places.indices(len(self)))
        out = np.empty((len(chosen), *self.shape[1:]), dtype=np.uint8)
        for row, index in zip(out, chosen, strict=True):
            row[:] = self.decode(index).numpy()
        return out

    @cached_property
    def sizes(self) -> np.ndarray:
        """int64[n], bytes of the files. Raises DataError."""
        found = np.empty(len(self), dtype=np.int64)
        for index in range(len(self)):
            path = self.path(index)
            with naming(path):
                found[index] = os.stat(path).st_size
        return found

    def stamp(self, *, contents: bool) -> str:
        """SHA-256 over what the files are: relative names, sizes and, if wanted, `contents`, and what becomes of them.

        Raises DataError naming a file that cannot be read.
        """
        digest = hashlib.sha256(f"{self.pixels} {self.shape[1:]}".encode())
        for index, size in enumerate(self.sizes):
            name = bytes(self._names[index])
            digest.update(b"%d %d %s" % (len(name), size, name))
            if contents:
                path = self.path(index)
                with naming(path):
                    digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
        return digest.hexdigest()


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """What the system says against reading `path` becomes a DataError that names it."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{inert(path)} cannot be read: {inert(error.strerror or str(error))}.") from error
