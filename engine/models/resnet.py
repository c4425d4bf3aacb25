"""Residual networks (He et al., CVPR 2016), torchvision's, for large and for small images."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from .base import ModelSpec
from .images import SMALL, check_size, image_shape, replace_convolution

if TYPE_CHECKING:
    from torch import nn


class ResNetSpec(ModelSpec):
    """torchvision's ResNet of this depth.

    The ImageNet stem halves an image twice before the first block (7 x 7 with stride 2, then max pooling).  The CIFAR
    stem is what the field uses for small images: one convolution of 3 x 3 with stride 1, and no pooling.  The four
    stages are the same in both.
    """

    name: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
    stem: Literal["auto", "cifar", "imagenet"] = Field(
        "auto", description=f"'cifar' (3 x 3, no max pool) or 'imagenet'; auto: 'cifar' up to {SMALL} pixels"
    )

    def build(self, shape: tuple[int, ...], classes: int) -> "nn.Module":
        from torch import nn
        from torchvision.models import get_model
        from torchvision.models.resnet import ResNet

        channels, height, width = image_shape(self.name, shape)
        small = self.stem == "cifar" or (self.stem == "auto" and min(height, width) <= SMALL)
        if small:
            check_size(self.name, shape, 8, "its stages halve them three times")
        else:
            check_size(self.name, shape, 32, "with the ImageNet stem (model.stem) it halves them five times")
        model = get_model(self.name, weights=None, num_classes=classes)
        assert isinstance(model, ResNet)
        if small:
            model.conv1 = replace_convolution(model.conv1, channels, size=3, stride=1)
            model.maxpool = nn.Identity()  # type: ignore[assignment]
        elif channels != model.conv1.in_channels:
            model.conv1 = replace_convolution(model.conv1, channels)
        return model
