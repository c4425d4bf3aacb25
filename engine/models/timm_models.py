"""Any model of timm: `timm:NAME`, such as Vision Transformers and MLP-Mixers. Needs the extra `lyrx[timm]`."""

import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...store import did_you_mean, inert
from ..errors import ModelError
from .base import ModelSpec, missing_package, not_fetched, refuse_options, said
from .images import image_shape

if TYPE_CHECKING:
    from torch import Tensor, nn


class TimmSpec(ModelSpec):
    """`timm.create_model(NAME, num_classes=..., in_chans=..., **options)`, with `img_size` where it needs to know."""

    name: str
    options: dict[str, Any] = Field({}, description="keyword arguments of timm's model")

    @property
    def _model(self) -> str:
        return self.name.partition(":")[2]

    def build(self, shape: tuple[int, ...], classes: int) -> "nn.Module":
        timm = self._timm()
        ours = {"num_classes": "the data", "in_chans": "the data", "pretrained": "model.weights"}
        refuse_options(self.name, self.options, ours)
        channels, height, width = image_shape(self.name, shape)
        options = dict(self.options)
        about = timm.get_pretrained_cfg(self._model)
        if about is not None and about.fixed_input_size and tuple(about.input_size[1:]) != (height, width):
            options.setdefault("img_size", (height, width))
        try:
            model = timm.create_model(self._model, pretrained=False, num_classes=classes, in_chans=channels, **options)
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise ModelError(f"model '{inert(self.name)}' with options {options}: {said(error)}.") from error
        self._check_patches(model, height, width)
        return model

    def pretrained(self) -> "Mapping[str, Tensor]":
        timm = self._timm()
        try:
            return timm.create_model(self._model, pretrained=True).state_dict()
        except Exception as error:  # whatever a download meets
            raise not_fetched(self.name, error) from error

    def source(self) -> dict[str, str]:
        return {"timm": version("timm")}

    def _timm(self) -> Any:
        try:
            import timm
        except ImportError as error:
            raise missing_package(self.name, "timm", "timm", error) from error
        architecture = self._model.partition(".")[0]
        if ":" in self._model or "/" in self._model:
            raise ModelError(
                f"model '{inert(self.name)}': after 'timm:' comes the name of an architecture, such as "
                "timm:vit_base_patch16_224; where its weights are is said by model.weights."
            )
        if not timm.is_model(self._model):
            known = timm.list_models()
            raise ModelError(
                f"timm {timm.__version__} has no model '{inert(self._model)}'.{did_you_mean(architecture, known)} "
                f"It has {len(known):,}; timm.list_models('vit_*') lists some."
            )
        return timm

    def _check_patches(self, model: "nn.Module", height: int, width: int) -> None:
        """Raise ModelError where patches do not cover an image: what is left over would be cut off without a word."""
        for stem in (getattr(model, "patch_embed", None), getattr(model, "stem", None)):
            size = getattr(stem, "patch_size", None)
            if isinstance(size, tuple) and (height % size[0] or width % size[1]) and getattr(stem, "img_size", None):
                least = tuple(
                    math.ceil(length / side) * side for length, side in zip((height, width), size, strict=True)
                )
                raise ModelError(
                    f"model '{inert(self.name)}': images of {height} x {width} cannot be cut into patches of "
                    f"{size[0]} x {size[1]}; {least[0]} x {least[1]} can, or model.options.patch_size changes them."
                )
