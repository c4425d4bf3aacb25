"""VGG networks (Simonyan and Zisserman, ICLR 2015), torchvision's, for large and for small images."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from .base import ModelSpec
from .images import SMALL, check_size, image_shape, replace_convolution

if TYPE_CHECKING:
    from torch import nn

_LAYOUTS = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}
"""The columns of the paper's table 1, as torchvision calls them."""


class VggSpec(ModelSpec):
    """torchvision's VGG of this depth: its convolutions, and a classifier of one kind.

    'imagenet' is the classifier of the paper: three fully connected layers (4096, 4096, classes) with dropout, behind a
    pooling to 7 x 7.  'cifar' is what the field uses for small images: the mean over what is left of the image, and one
    fully connected layer, `classifier`.  The convolutions are the same in both, and initialised as torchvision does.
    """

    name: Literal["vgg11", "vgg13", "vgg16", "vgg19"]
    batch_norm: bool = Field(False, description="a BatchNorm2d after every convolution")
    classifier: Literal["auto", "cifar", "imagenet"] = Field(
        "auto", description=f"'cifar' (one layer) or 'imagenet' (three); auto: 'cifar' up to {SMALL} pixels"
    )

    def build(self, shape: tuple[int, ...], classes: int) -> "nn.Module":
        import torch
        from torch import nn
        from torchvision.models import vgg

        channels, height, width = image_shape(self.name, shape)
        check_size(self.name, shape, 32, "it halves them five times")
        features = vgg.make_layers(vgg.cfgs[_LAYOUTS[self.name]], batch_norm=self.batch_norm)
        if self.classifier == "imagenet" or (self.classifier == "auto" and min(height, width) > SMALL):
            model = vgg.VGG(features, num_classes=classes)
        else:
            # The constructor initialises the convolutions. Its classifier of 119 million weights goes at once, so it
            # gets no memory.
            with torch.device("meta"):
                model = vgg.VGG(features, num_classes=1)
            model.avgpool = nn.AdaptiveAvgPool2d(1)
            model.classifier = nn.Linear(512, classes)  # type: ignore[assignment]
        if channels != 3:
            features[0] = replace_convolution(features[0], channels)
        return model
