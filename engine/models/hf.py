"""Models of transformers: `hf:TYPE` (built from its configuration) or `hf:FOLDER`. Needs the extra `lyrx[hf]`.

Two kinds of networks: image classifiers, for images, and causal language models, for sequences of tokens.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from ...store import did_you_mean, inert
from ..data.base import full_path
from ..errors import ModelError
from .base import ModelSpec, missing_package, not_fetched, refuse_options, said

if TYPE_CHECKING:
    from torch import Tensor, nn


class HfSpec(ModelSpec):
    """A fresh network from a configuration: `hf:gpt2` with options, `hf:FOLDER` with its config.json, or a hub's name.

    What the data decide is set: vocabulary or number of classes, channels and size of images.  Weights of a folder are
    not taken unless they are named, by model.weights (training starts from them) or train.imported.
    """

    name: str
    options: dict[str, Any] = Field({}, description="keys of the model's configuration, in place of its defaults")

    @field_validator("name")
    @classmethod
    def _absolute_folder(cls, value: str) -> str:
        where = value.partition(":")[2].removesuffix("/config.json")
        return f"hf:{full_path(where)}" if where[:1] in ("/", ".", "~", "$") or Path(where).is_dir() else value

    @property
    def _where(self) -> str:
        return self.name.partition(":")[2]

    @property
    def _config(self) -> Path | None:
        """The folder's config.json, None for a type or a hub's name."""
        return Path(self._where) / "config.json" if Path(self._where).is_absolute() else None

    def build(self, shape: tuple[int, ...], classes: int) -> "nn.Module":
        transformers = self._transformers()
        image = len(shape) == 3
        if not image and len(shape) != 1:
            raise ModelError(
                f"model '{inert(self.name)}' works on images, [channels, height, width], or sequences of tokens, "
                f"[length]; examples have the shape {list(shape)}."
            )
        config = self._configuration(transformers)
        given = self._of_the_data(image, shape, classes)
        refuse_options(self.name, self.options, dict.fromkeys(given, "the data"))
        self._check_options(config)
        if not image:
            # Marks of another vocabulary: no token of these data is one of them.
            marks = ("bos_token_id", "eos_token_id", "pad_token_id")
            given |= {
                key: None for key in marks if type(found := getattr(config, key, None)) is int and found >= classes
            }
        known = {key: value for key, value in given.items() if key == "num_labels" or hasattr(config, key)}
        config = self._configuration(transformers, **self.options, **known)
        kind = transformers.AutoModelForImageClassification if image else transformers.AutoModelForCausalLM
        if type(config) not in kind._model_mapping:
            what = "classify images" if image else "is a causal language model"
            raise ModelError(
                f"model '{inert(self.name)}': of the type '{inert(str(config.model_type))}' there is no network in "
                f"transformers that {'can ' if image else ''}{what}, which these data need."
            )
        try:
            import torch

            model = kind.from_config(config, trust_remote_code=False, dtype=torch.float32)
        except Exception as error:  # sizes that do not go together, each model in its own way
            raise ModelError(
                f"model '{inert(self.name)}' with options {inert(str(self.options))}: {said(error)}."
            ) from error
        return _scores_only(model, "pixel_values" if image else "input_ids")

    def pretrained(self) -> "Mapping[str, Tensor]":
        transformers = self._transformers()
        kind = transformers.AutoModelForCausalLM
        if type(self._configuration(transformers)) not in kind._model_mapping:
            kind = transformers.AutoModelForImageClassification
        try:
            return kind.from_pretrained(self._where, trust_remote_code=False, use_safetensors=True).state_dict()
        except Exception as error:  # whatever a download meets
            raise not_fetched(self.name, error) from error

    def source(self) -> dict[str, str]:
        found = {"transformers": version("transformers")}
        if self._config is not None and self._config.is_file():
            found["model source"] = hashlib.sha256(self._config.read_bytes()).hexdigest()
        return found

    def _transformers(self) -> Any:
        try:
            import transformers
        except ImportError as error:
            raise missing_package(self.name, "transformers", "hf", error) from error
        return transformers

    def _configuration(self, transformers: Any, **keys: Any) -> Any:
        """The model's configuration with some keys replaced: what derives from those that are left out follows them."""
        where, path = self._where, self._config
        if path is None and where in transformers.CONFIG_MAPPING:
            try:
                return transformers.AutoConfig.for_model(where, **keys)
            except Exception as error:  # each type checks its keys in its own way
                raise ModelError(
                    f"model '{inert(self.name)}' with options {inert(str(self.options))}: {said(error)}."
                ) from error
        if path is not None and not path.is_file():
            raise ModelError(f"model '{inert(self.name)}': there is no file {inert(str(path))}.")
        if path is None and "/" not in where:
            raise ModelError(
                f"model '{inert(self.name)}': '{inert(where)}' is no type of model in transformers "
                f"{transformers.__version__}.{did_you_mean(where, transformers.CONFIG_MAPPING)} A folder is written "
                "'hf:./FOLDER', a hub's model 'hf:OWNER/NAME'."
            )
        try:
            return transformers.AutoConfig.from_pretrained(where, trust_remote_code=False, **keys)
        except Exception as error:  # what a hub, or a file that is something else, makes of it
            if path is not None:
                raise ModelError(
                    f"model '{inert(self.name)}': {inert(str(path))} is no configuration: {said(error)}."
                ) from error
            raise ModelError(
                f"model '{inert(self.name)}': its configuration cannot be fetched: {said(error)}. "
                "Without a network, put its folder here and write hf:./FOLDER."
            ) from error

    def _of_the_data(self, image: bool, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
        if image:
            size = shape[1] if shape[1] == shape[2] else list(shape[1:])
            return {"num_labels": classes, "num_channels": shape[0], "image_size": size}
        # Without a cache of keys and values: training and probing never go on from a forward.
        return {"vocab_size": classes, "use_cache": False}

    def _check_options(self, config: Any) -> None:
        for key in self.options:
            if not hasattr(config, key):
                known = [name for name in config.to_dict() if not name.startswith("_")]
                raise ModelError(
                    f"model '{inert(self.name)}': its configuration has no key '{inert(key)}' (model.options)."
                    f"{did_you_mean(key, known)}"
                )


def _scores_only(model: "nn.Module", argument: str) -> "nn.Module":
    """`model`, which is called with one tensor now, and returns its scores instead of all that it knows.

    A class of its own, and no wrapper around it: modules and weights keep their names.
    """
    kind: Any = type(model)

    def forward(self: Any, inputs: "Tensor") -> "Tensor":
        return kind.forward(self, **{argument: inputs}).logits

    model.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    return model
