"""What the data sets have in common that torchvision reads, and on demand downloads."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ...store import inert
from ..errors import DataError, DataNotFoundError
from .base import DataSet, FullPath, checked, checked_augment
from .keys import ImageSpec


class DownloadSpec(ImageSpec):
    """Two halves that a class of torchvision's reads whole into memory."""

    root: FullPath = Field("data", description="folder that holds the data set's own (not identity)")
    download: bool = Field(False, description="fetch it if it is not there (not identity)")

    @property
    def classes(self) -> int:
        """How many there are."""
        return 10

    def reader(self) -> Any:
        """torchvision's class."""
        raise TypeError(f"{type(self).__name__} does not say who reads it")

    def files(self, reader: Any) -> tuple[Path, Sequence[str]]:
        """The folder it reads from, and what must be there."""
        raise TypeError(f"{type(self).__name__} does not say where its files are")

    def fault(self, reader: Any, path: Path) -> str:
        """What is wrong with one of the files, '' if nothing is."""
        raise TypeError(f"{type(self).__name__} does not say when a file is damaged")

    def arrays(self, half: Any) -> tuple[np.ndarray, np.ndarray]:
        """uint8[n, channels, height, width] and labels of a half that was read."""
        raise TypeError(f"{type(self).__name__} does not say what it holds")

    def load(self) -> DataSet:
        reader = self.reader()
        folder, files = self.files(reader)
        where, named = inert(str(folder)), ", ".join(files)
        missing = [name for name in files if not (folder / name).is_file()]
        if missing and not self.download:
            raise DataNotFoundError(
                f"data '{self.name}': looked in {where}, {missing[0]} is not there. Put the {len(files)} files "
                f"{named} there (unpacked), name another folder with --set data.root=FOLDER, "
                "or have it downloaded with --set data.download=true."
            )
        made = [path for path in (folder, folder.parent, Path(self.root)) if not path.exists()]
        try:
            # What torchvision says of every mirror that failed stands in its error, too.
            with contextlib.redirect_stdout(io.StringIO()):
                halves = [reader(self.root, train=train, download=bool(missing)) for train in (True, False)]
        except Exception as error:  # also what numpy and pickle meet in a file that is something else
            why = inert(" ".join(str(error).split()))
            if missing and isinstance(error, (RuntimeError, OSError)):
                for path in made:
                    with contextlib.suppress(OSError):
                        path.rmdir()  # only if it is empty
                raise DataNotFoundError(
                    f"data '{self.name}': could not be downloaded to {where}. Put the files {named} there by hand. "
                    f"({why})"
                ) from error
            faults = {name: self.fault(reader, folder / name) for name in files}
            for name, fault in faults.items():
                if fault:
                    raise DataError(
                        f"data '{self.name}': {where}/{name} is damaged: {fault}. Remove it, and put a whole one "
                        "there, or have it downloaded with --set data.download=true."
                    ) from error
            raise DataError(f"data '{self.name}': the files in {where} cannot be read: {why}") from error
        arrays = []
        for half, which in zip(halves, ("training files", "test files"), strict=True):
            inputs, targets = self.arrays(half)
            arrays += [inputs, checked(self.name, f"{which} in {folder}", inputs, targets, self.classes)]
        augment = checked_augment(self.name, str(folder), self.augmentation, arrays[0].shape[1:])
        return DataSet(*arrays, classes=self.classes, augment=augment, norms=self.norms)
