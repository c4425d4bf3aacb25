"""Sizes of images, and what networks for images make of them."""

from typing import TYPE_CHECKING

from ...store import inert
from ..errors import ModelError

if TYPE_CHECKING:
    from torch import nn

SMALL = 64
"""Pixels up to which an image is small: CIFAR (32), ImageNet scaled down (32, 64). STL (96) and above are not."""


def image_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, height, width) of the examples. Raises ModelError when they are no images."""
    if len(shape) != 3:
        raise ModelError(
            f"model '{inert(name)}' works on images, [channels, height, width]; examples have the shape {list(shape)}."
        )
    return shape[0], shape[1], shape[2]


def check_size(name: str, shape: tuple[int, ...], least: int, why: str) -> None:
    """Raise ModelError, saying `why`, when an image of `shape` is lower or narrower than `least` pixels."""
    _, height, width = image_shape(name, shape)
    if min(height, width) < least:
        raise ModelError(
            f"model '{inert(name)}': images of {height} x {width} are too small: {why}, so they must have at least "
            f"{least} x {least} pixels."
        )


def replace_convolution(
    old: "nn.Module", channels: int, size: int | None = None, stride: int | None = None
) -> "nn.Conv2d":
    """A convolution like `old`, for images of `channels`; with `size`, of another kernel and stride.

    Initialised as torchvision's ResNet and VGG initialise every convolution (normal, by fan out), so that a stem that
    was exchanged is like the rest of its network.
    """
    from torch import nn

    assert isinstance(old, nn.Conv2d)
    kernel = old.kernel_size[0] if size is None else size
    made = nn.Conv2d(
        channels,
        old.out_channels,
        kernel,
        stride=old.stride[0] if stride is None else stride,
        padding=(kernel - 1) // 2,
        bias=old.bias is not None,
    )
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made
