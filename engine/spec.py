"""The spec: what a run is made from. Sections run, model, data, train, probe.

The sections `model` and `data` have keys that depend on their `name`: each family brings its own class (see
:mod:`.models` and :mod:`.data`).  Keys marked "not identity" may change between two calls of `lyrx batch` for the same
run: they say where and how to compute, not what.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from .data import DataSpec, data_spec
from .models import ModelSpec, model_spec

PAPER_CHECKPOINTS = (0, 1, 2, 3, 8, 20, 40, 90)


class Section(BaseModel):
    """A section of a spec: no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


class RunSection(Section):
    """Who the run is."""

    name: str = Field(min_length=1, description="name of the run in its store")
    seed: int = Field(0, ge=0, lt=2**63, description="every random number of the run derives from it")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to compute (not identity)")


class TrainSection(Section):
    """How it is trained."""

    epochs: int = Field(ge=1, le=1_000_000)
    batch_size: int = Field(128, ge=1, description="examples a step, over all processes together")
    lr: float = Field(0.1, gt=0, allow_inf_nan=False)
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = False
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    milestones: list[int] = Field([], description="epochs after which the learning rate is multiplied by gamma")
    gamma: float = Field(0.2, gt=0, allow_inf_nan=False)
    checkpoints: list[int] = Field(
        [],
        description="epochs to keep; 0 (the initialisation) and the last are always kept; empty: as in the paper",
    )

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: list[int]) -> list[int]:
        if any(epoch < 1 for epoch in value) or sorted(set(value)) != value:
            raise ValueError("must be ascending epochs from 1 on")
        return value

    @model_validator(mode="after")
    def _check(self) -> "TrainSection":
        wrong = [epoch for epoch in self.checkpoints if epoch < 0 or epoch > self.epochs]
        if wrong:
            raise ValueError(
                f"checkpoints: {wrong[0]} is not an epoch of this run; 0 to {self.epochs} (train.epochs) are allowed"
            )
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov: needs optimizer = 'sgd' and a momentum above 0")
        return self

    def kept(self) -> tuple[int, ...]:
        """The epochs whose weights are kept, ascending, from 0 to the last."""
        chosen = self.checkpoints or [epoch for epoch in PAPER_CHECKPOINTS if epoch < self.epochs]
        return tuple(sorted({0, *chosen, self.epochs}))

    def lr_at(self, epoch: int) -> float:
        """The learning rate during epoch `epoch` (the first is 1)."""
        return self.lr * self.gamma ** sum(epoch > milestone for milestone in self.milestones)


class ProbeSection(Section):
    """What is measured of it."""

    granularity: Literal["layer", "module", "block", "patterns"] = "layer"
    patterns: dict[str, list[str]] = Field(
        {}, description="granularity 'patterns': a row's name and the tensors or modules it holds (*, ?, [])"
    )
    layers: list[str] = Field([], description="only rows whose name matches one of these patterns; empty: all")
    checkpoints: list[int] | None = Field(None, description="columns; default: every checkpoint kept")
    draws: int = Field(3, ge=0, le=1000, description="fresh random networks per layer; 0: no such column")
    norm_statistics: Literal["rewound", "kept"] = Field(
        "rewound", description="running statistics of a norm: reset with their layer, or kept as trained"
    )
    examples: int | None = Field(None, ge=1, description="test examples to use, drawn at random; default: all")
    batch_size: int = Field(1000, ge=1, description="examples a forward (not identity)")

    @model_validator(mode="after")
    def _check(self) -> "ProbeSection":
        if (self.granularity == "patterns") != bool(self.patterns):
            raise ValueError("patterns: goes with granularity = 'patterns', and that with at least one pattern")
        if any(not patterns for patterns in self.patterns.values()):
            raise ValueError("patterns: every row needs at least one pattern")
        return self


class Spec(BaseModel):
    """A whole spec, validated and with all defaults filled in."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    run: RunSection
    model: Annotated[SerializeAsAny[ModelSpec], BeforeValidator(model_spec)]
    data: Annotated[SerializeAsAny[DataSpec], BeforeValidator(data_spec)]
    train: TrainSection
    probe: ProbeSection = Field(default_factory=lambda: ProbeSection.model_validate({}))

    @model_validator(mode="after")
    def _columns_are_kept(self) -> "Spec":
        for epoch in self.probe.checkpoints or ():
            if epoch not in self.train.kept():
                raise ValueError(
                    f"probe.checkpoints: {epoch} is not kept; train.checkpoints keeps {list(self.train.kept())}"
                )
        return self

    def probe_checkpoints(self) -> tuple[int, ...]:
        """The columns of the heatmap; the final checkpoint is always one, it is the baseline."""
        kept = self.train.kept()
        chosen = self.probe.checkpoints
        return kept if chosen is None else tuple(sorted({*chosen, kept[-1]}))

    def resolved(self) -> dict[str, Any]:
        """Plain JSON values, every default written out."""
        value = self.model_dump(mode="json")
        value["train"]["checkpoints"] = list(self.train.kept())
        return value


# Where things are and how they are computed, not what: these may differ between two calls for one run.
NOT_IDENTITY = {"run": {"name", "device"}, "data": {"root", "download"}, "probe": {"batch_size"}}


def identity(resolved: dict[str, Any], sections: tuple[str, ...]) -> dict[str, Any]:
    """The part of a resolved spec that determines numbers, of these sections."""
    return {
        section: {key: value for key, value in resolved[section].items() if key not in NOT_IDENTITY.get(section, ())}
        for section in sections
    }


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """How two identities differ, one `section.key: old, now new` each."""
    found = []
    for section in sorted(old.keys() | new.keys()):
        before, after = old.get(section, {}), new.get(section, {})
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                found.append(f"{section}.{key}: {_shown(before.get(key))}, now {_shown(after.get(key))}")
    return found


def _shown(value: Any) -> str:
    return "not set" if value is None else repr(value)
