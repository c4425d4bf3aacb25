"""Training images varied on whole batches: zeros around them, a random crop, a random horizontal flip.

As in "Are All Layers Created Equal?" (JMLR 23, 2022): CIFAR-10 is padded with 4 zeros, flipped and cropped to 32 x 32,
ImageNet is cropped to 224 x 224.  Zeros are black pixels of the raw image, before it is normalised, as torchvision's
`RandomCrop(32, padding=4)` has it.

What is drawn for an example depends on the seed and on the example's number alone: not on the batch it is in, nor on
the process or device that computes it.  Numbers are drawn on the host, for a GPU's generator draws others.
"""

import torch
from torch import Tensor
from torch.nn import functional

from .data.base import Augment


def middle(augment: Augment, stored: tuple[int, ...]) -> tuple[int, int]:
    """Top and left of the middle part of an image, not padded, as torchvision's `center_crop` has it."""
    height, width = augment.shape(stored)[-2:]
    return round((stored[-2] - height) / 2), round((stored[-1] - width) / 2)


def draw(augment: Augment, count: int, seed: int, stored: tuple[int, ...]) -> Tensor:
    """What is done with each of `count` examples stored as `stored`: int64[count, 3] top, left, and 1 for a flip.

    Top and left count from the corner of the padded image.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.zeros(count, 3, dtype=torch.int64)
    if augment.crop:
        for axis, part in ((-2, augment.shape(stored)[-2]), (-1, augment.shape(stored)[-1])):
            places = stored[axis] + 2 * augment.pad - part + 1
            drawn[:, axis + 2] = torch.randint(places, (count,), generator=generator)
    else:
        drawn[:, 0], drawn[:, 1] = middle(augment, stored)
    if augment.flip:
        drawn[:, 2] = torch.randint(2, (count,), generator=generator)
    return drawn


def varied(batch: Tensor, drawn: Tensor, augment: Augment) -> Tensor:
    """[k, channels, height, width] of any type as `drawn` (int64[k, 3], on the same device) says: a new tensor."""
    stored = tuple(batch.shape[1:])
    height, width = augment.shape(stored)[-2:]
    if augment.crop:
        if augment.pad:
            batch = functional.pad(batch, [augment.pad] * 4)
        # Every part of this size as a view, of which one is taken for each image: index arrays stay k long.
        parts = batch.unfold(2, height, 1).unfold(3, width, 1)
        batch = parts[torch.arange(len(batch), device=batch.device), :, drawn[:, 0], drawn[:, 1]]
    else:
        batch = plain(batch, augment)
    if augment.flip:
        batch = torch.where(drawn[:, 2].bool()[:, None, None, None], batch.flip(3), batch)
    return batch


def plain(batch: Tensor, augment: Augment) -> Tensor:
    """The middle part of each image: what a network is tested on. A view."""
    if augment.size is None:
        return batch
    stored = tuple(batch.shape[1:])
    top, left = middle(augment, stored)
    return batch[..., top : top + augment.size, left : left + augment.size]
