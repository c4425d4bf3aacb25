"""Any classification model of torchvision: `torchvision:NAME`."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...store import did_you_mean, inert
from ..errors import ModelError
from .base import ModelSpec, not_fetched, refuse_options, said
from .images import image_shape

if TYPE_CHECKING:
    from torch import Tensor, nn

# The classifiers beside the main one would make tuples of outputs in training.
_ALONE = {"aux_logits": False, "init_weights": True}
_DEFAULTS = {"googlenet": _ALONE, "inception_v3": _ALONE}


class TorchvisionSpec(ModelSpec):
    """`torchvision.models.get_model(NAME, num_classes=..., **options)`."""

    name: str
    options: dict[str, Any] = Field({}, description="keyword arguments of torchvision's function")

    @property
    def _model(self) -> str:
        return self.name.partition(":")[2]

    def build(self, shape: tuple[int, ...], classes: int) -> "nn.Module":
        from torchvision import models

        self._check()
        refuse_options(self.name, self.options, {"num_classes": "the data", "weights": "model.weights"})
        channels, height, _ = image_shape(self.name, shape)
        if channels != 3:
            raise ModelError(f"model '{inert(self.name)}' works on images of 3 channels; the data have {channels}.")
        options = {**_DEFAULTS.get(self._model, {}), **self.options}
        if self._model.startswith("vit_"):
            options.setdefault("image_size", height)
        elif self._model.startswith("maxvit"):
            options.setdefault("input_size", shape[1:])
        try:
            return models.get_model(self._model, weights=None, num_classes=classes, **options)
        except (TypeError, ValueError) as error:
            raise ModelError(f"model '{inert(self.name)}' with options {options}: {said(error)}.") from error

    def pretrained(self) -> "Mapping[str, Tensor]":
        from torchvision import models

        self._check()
        try:
            return models.get_model_weights(self._model).DEFAULT.get_state_dict(progress=False, check_hash=True)  # type: ignore[attr-defined]
        except Exception as error:  # whatever a download meets
            raise not_fetched(self.name, error) from error

    def source(self) -> dict[str, str]:
        return {"torchvision": version("torchvision")}

    def _check(self) -> None:
        from torchvision import models

        known = models.list_models(module=models)
        if self._model not in known:
            raise ModelError(
                f"torchvision has no classification model '{inert(self._model)}'.{did_you_mean(self._model, known)} "
                f"It has {len(known)}; torchvision.models.list_models() lists them."
            )
