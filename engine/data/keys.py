"""Keys of the `data` section that several families of images share."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ..sizes import checked_size, size_in_bytes
from .base import Augment, DataSpec, Keeping


class ImageSpec(DataSpec):
    """How images are varied in training and normalised."""

    usual_pad: ClassVar[int] = 0
    """What `pad` is for this family, where nothing is said."""

    augment: Literal["none", "flip", "crop", "crop-flip"] = Field(
        "none", description="how training images are varied: a random crop, a random horizontal flip"
    )
    pad: int | None = Field(
        None,
        ge=0,
        le=4096,
        description="with a crop: black pixels around a training image first; default: the family's",
    )
    size: int | None = Field(
        None,
        ge=1,
        description="the network sees a square of so many pixels: a random one of a training image with a crop, else "
        "the middle one; default: the whole image",
    )
    mean: float | None = Field(
        None, allow_inf_nan=False, description="subtracted from every pixel (0..255); default: of all training pixels"
    )
    std: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="divides every pixel (0..255); default: of all training pixels"
    )

    @model_validator(mode="after")
    def _augment_fits(self) -> "ImageSpec":
        if self.pad and "crop" not in self.augment:
            raise ValueError(f"pad: goes with augment = 'crop' or 'crop-flip', not '{self.augment}'")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean: mean and std go together; give both or neither")
        return self

    @property
    def augmentation(self) -> Augment:
        """What `augment`, `pad` and `size` ask for."""
        crop, flip = "crop" in self.augment, "flip" in self.augment
        pad = self.usual_pad if self.pad is None else self.pad
        return Augment(crop, flip, pad if crop else 0, self.size)

    @property
    def norms(self) -> tuple[float, float] | None:
        """`mean` and `std`, where they are said."""
        return None if self.mean is None or self.std is None else (self.mean, self.std)


class FilesSpec(ImageSpec):
    """How images in files are decoded and held."""

    memory: str | None = Field(
        None,
        description="how much the decoded images of each half may take, such as '8GiB'; what is larger is decoded "
        "again whenever it is needed; default: a share of what is free (not identity)",
    )
    workers: int | None = Field(
        None, ge=0, le=1024, description="processes that decode; 0: none; default: one a core (not identity)"
    )

    @field_validator("memory")
    @classmethod
    def _size(cls, value: str | None) -> str | None:
        return checked_size(value)

    @property
    def keeping(self) -> Keeping:
        """`memory` and `workers`."""
        return Keeping(None if self.memory is None else size_in_bytes(self.memory), self.workers)
