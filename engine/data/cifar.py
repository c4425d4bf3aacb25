"""CIFAR-10 and CIFAR-100, read (and on demand downloaded) by torchvision.

Its files are pickles.  torchvision unpickles none whose md5 is not the published one, so that no other code runs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from .base import FullPath
from .downloads import DownloadSpec


class Cifar10Spec(DownloadSpec):
    """50,000 training and 10,000 test images, uint8[n, 3, 32, 32], 0..255.

    As in "Are All Layers Created Equal?" (JMLR 23, 2022), training images are padded with 4 zeros on all sides, flipped
    at random, and cropped at random.
    """

    usual_pad: ClassVar[int] = 4

    name: Literal["cifar10"] = "cifar10"
    root: FullPath = Field(
        "data", description="folder that holds cifar-10-batches-py or cifar-100-python (not identity)"
    )
    augment: Literal["none", "flip", "crop", "crop-flip"] = Field(
        "crop-flip", description="how training images are varied: a random crop, a random horizontal flip"
    )

    def reader(self) -> Any:
        from torchvision.datasets import CIFAR10

        return CIFAR10

    def files(self, reader: Any) -> tuple[Path, Sequence[str]]:
        names = [name for name, _ in (*reader.train_list, *reader.test_list)]
        return Path(self.root) / reader.base_folder, [*names, reader.meta["filename"]]

    def fault(self, reader: Any, path: Path) -> str:
        from torchvision.datasets.utils import check_integrity

        published = dict((*reader.train_list, *reader.test_list, (reader.meta["filename"], reader.meta["md5"])))
        return "" if check_integrity(str(path), published[path.name]) else "its md5 is not the published one"

    def arrays(self, half: Any) -> tuple[np.ndarray, np.ndarray]:
        # torchvision turns them into rows of pixels for Pillow.
        return np.ascontiguousarray(half.data.transpose(0, 3, 1, 2)), np.asarray(half.targets)


class Cifar100Spec(Cifar10Spec):
    """CIFAR-100: as CIFAR-10, with 100 classes."""

    name: Literal["cifar100"] = "cifar100"  # type: ignore[assignment]

    @property
    def classes(self) -> int:
        return 100

    def reader(self) -> Any:
        from torchvision.datasets import CIFAR100

        return CIFAR100
