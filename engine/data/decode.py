"""From an image file to pixels: the one definition, whatever is done with them later. With torchvision, image by image.

Decoded by Pillow and converted as torchvision's `default_loader` does (palettes and transparency become colours, grey
becomes three equal channels), resized with torchvision's defaults (bilinear, with antialiasing) so that the short side
has the length asked for, cropped to the middle square.  EXIF orientation is not applied, as in torchvision.
"""

import warnings
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from ...store import inert
from ..errors import DataError
from .base import Augment
from .files import Pixels, naming

MODES = {3: "RGB", 1: "L"}
"""Pillow's names for what so many channels are."""

DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's modes with more than 8 bits: it would cut values off when it converts them."""


def suffixes() -> set[str]:
    """How the names of files end that Pillow can open, in small letters: '.jpeg', ..."""
    return {suffix.lower() for suffix, form in Image.registered_extensions().items() if form in Image.OPEN}


def decode(path: str, pixels: Pixels) -> Tensor:
    """The image in the file `path`, uint8[channels, height, width], 0..255. Raises DataError naming it."""
    with naming(path), open(path, "rb") as file:
        try:
            with Image.open(file) as image:
                if image.mode in DEEP:
                    raise DataError(
                        f"{inert(path)} has more than 8 bits a channel (Pillow's mode {image.mode}); "
                        "convert it to 8 bits."
                    )
                # torchvision's functions take Pillow's images as well as tensors; their annotations do not say so.
                converted: Any = image.convert(MODES[pixels.channels])
        except DataError:
            raise
        except Exception as error:  # whatever a decoder meets in a file that is something else
            why = "it is no image that Pillow can read" if isinstance(error, Image.UnidentifiedImageError) else error
            raise DataError(f"{inert(path)} is no whole image: {inert(str(why))}.") from error
    if pixels.resize is not None:
        converted = functional.resize(converted, [pixels.resize])
        converted = functional.center_crop(converted, [pixels.resize, pixels.resize])
    return functional.pil_to_tensor(converted)


def varied_one(image: Tensor, drawn: tuple[int, int, int], augment: Augment) -> Tensor:
    """One image [channels, height, width] as `drawn` says (top, left, 1 for a flip), by torchvision's functions.

    The same as :func:`..augment.varied` makes of it in a batch.
    """
    height, width = augment.shape(tuple(image.shape))[-2:]
    top, left, flip = drawn
    if augment.pad:
        image = functional.pad(image, [augment.pad] * 4)
    image = functional.crop(image, top, left, height, width)
    return functional.horizontal_flip(image) if flip else image


# Remarks on odd metadata, which decoding does not need; thousands of files may have them.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\..*")
