"""The spec: what a run is made from. Sections run, model, data, train, probe.

The sections `model` and `data` have keys that depend on their `name`: each family brings its own class (see
:mod:`.models` and :mod:`.data`).  Keys marked "not identity" may change between two calls of `lyrx batch` for the same
run: they say where and how to compute, not what.
"""

import math
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

from ..store import REINITIALISE, RERANDOMISE, Column, ColumnError
from .checkpoint_files import without_training
from .data import DataSpec, data_spec
from .models import ModelSpec, model_spec
from .sizes import checked_size, size_in_bytes

PAPER_CHECKPOINTS = (0, 1, 2, 3, 8, 20, 40, 90)

NORM_BATCHES = 20


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
    optimizer: str = Field("sgd", pattern="^[A-Za-z]+$", description="sgd, adam, or any other class of torch.optim")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd; other optimisers have optimizer_options")
    nesterov: bool = False
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    optimizer_options: dict[str, Any] = Field(
        {}, description="further keyword arguments of the optimiser, such as {betas = [0.9, 0.98]}"
    )
    schedule: Literal["steps", "cosine", "rsqrt"] = Field(
        "steps",
        description="of the learning rate: times gamma after each milestone; half a cosine down to 0; or, after the "
        "warm-up, with the inverse square root of the step",
    )
    milestones: list[int] = Field([], description="epochs after which the learning rate is multiplied by gamma")
    gamma: float = Field(0.2, gt=0, allow_inf_nan=False)
    warmup: int = Field(0, ge=0, description="steps in which the learning rate rises in a straight line to lr")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    clip: float | None = Field(None, gt=0, allow_inf_nan=False, description="largest norm of a step's gradients")
    accumulate: int = Field(1, ge=1, description="parts that a batch is computed in, one after the other")
    precision: Literal["no", "bf16", "fp16"] = Field("no", description="of mixed precision; no: everything in fp32")
    channels_last: bool = Field(False, description="images in memory channel by channel last: faster on many devices")
    compile: bool = Field(False, description="by torch.compile: minutes at the start, then faster steps")
    checkpoints: list[int] = Field(
        [],
        description="epochs to keep; 0 (the initialisation) and the last are always kept; empty: as in the paper",
    )
    imported: dict[str, str] = Field(
        {},
        description="checkpoints of a network that was trained elsewhere, { 0 = FILE, final = FILE }: nothing is "
        "trained, and the other keys but batch_size are left out",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_files(cls, value: Any) -> Any:
        imported = isinstance(value, dict) and value.get("imported")
        return without_training(value, cls.model_fields) if imported else value

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
        if self.nesterov and (self.optimizer.lower() != "sgd" or self.momentum == 0):
            raise ValueError("nesterov: needs optimizer = 'sgd' and a momentum above 0")
        if self.milestones and self.schedule != "steps":
            raise ValueError("milestones: go with schedule = 'steps'")
        if self.schedule == "rsqrt" and not self.warmup:
            raise ValueError("warmup: schedule = 'rsqrt' needs one, of at least 1 step")
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate: a batch of {self.batch_size} has not so many parts")
        return self

    def kept(self) -> tuple[int, ...]:
        """The epochs whose weights are kept, ascending, from 0 to the last; of an imported run those with a file."""
        if self.imported:
            return tuple(self.checkpoints)
        chosen = self.checkpoints or [epoch for epoch in PAPER_CHECKPOINTS if epoch < self.epochs]
        return tuple(sorted({0, *chosen, self.epochs}))

    def lr_at(self, step: int, steps: int) -> float:
        """The learning rate of step `step` (the first is 0), an epoch having `steps`."""
        if self.schedule == "cosine":
            after, length = step - self.warmup, max(1, self.epochs * steps - self.warmup)
            factor = (1 + math.cos(math.pi * max(0, after) / length)) / 2
        elif self.schedule == "rsqrt":
            factor = math.sqrt(self.warmup / max(self.warmup, step + 1))
        else:
            factor = self.gamma ** sum(step // steps + 1 > milestone for milestone in self.milestones)
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.lr * factor * warm

    @property
    def lr_varies(self) -> bool:
        """Whether the learning rate changes within an epoch."""
        return bool(self.warmup) or self.schedule != "steps"


class ProbeSection(Section):
    """What is measured of it."""

    granularity: Literal["layer", "module", "block", "patterns"] = "layer"
    patterns: dict[str, list[str]] = Field(
        {}, description="granularity 'patterns': a row's name and the tensors or modules it holds (*, ?, [])"
    )
    layers: list[str] = Field([], description="only rows whose name matches one of these patterns; empty: all")
    joint: list[list[str]] = Field(
        [],
        description="rows beside the others: each holds all rows that match one of its patterns, reset together",
    )
    at: list[str] | None = Field(
        None,
        min_length=1,
        description="columns: random, EPOCH, final, zero, noise:SCALE, path:ALPHA, path:EPOCH:ALPHA, shuffle; "
        "final is always one, it is the baseline; default: random and `checkpoints`",
    )
    checkpoints: list[int] | None = Field(None, description="columns; default: every checkpoint kept")
    draws: int = Field(
        3, ge=0, le=1000, description="cells per layer where random numbers are drawn; 0: no column 'random'"
    )
    norm_statistics: Literal["rewound", "kept", "reestimated"] = Field(
        "rewound",
        description="running statistics of BatchNorm: reset with their layer; kept as trained; or estimated anew "
        "after the reset, wherever it changes a norm's input, on `norm_batches` batches",
    )
    norm_batches: int = Field(
        NORM_BATCHES,
        ge=1,
        le=1_000_000,
        description="with norm_statistics = 'reestimated': how many batches of train.batch_size training examples, "
        "drawn at random without replacement, the same for every cell; fewer where the training set ends",
    )
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        "fp32", description="arithmetic of the forwards: of the trained network and of every cell"
    )
    examples: int | None = Field(
        None, ge=1, description="look at so many test examples at most, the first of the random order; default: all"
    )
    exact: bool = Field(False, description="every cell on all examples, not until it is decided (not identity)")
    tolerance: float = Field(
        0.05,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="how far above the trained network's error a robust layer may lie, as a fraction (not identity)",
    )
    evaluator: Literal["replay", "full"] = Field(
        "replay", description="compute from the reset layer on, or the whole network for each cell (not identity)"
    )
    memory: str | None = Field(
        None, description="how much the batches may take, such as '8GiB'; default: what is free (not identity)"
    )
    batch_size: int | None = Field(
        None, ge=1, description="examples a forward; default: chosen from the memory (not identity)"
    )

    @field_validator("at", mode="before")
    @classmethod
    def _epochs_as_text(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [str(item) if type(item) is int else item for item in value]

    @field_validator("memory")
    @classmethod
    def _size(cls, value: str | None) -> str | None:
        return checked_size(value)

    @model_validator(mode="after")
    def _check(self) -> "ProbeSection":
        if (self.granularity == "patterns") != bool(self.patterns):
            raise ValueError("patterns: goes with granularity = 'patterns', and that with at least one pattern")
        if any(not patterns for patterns in self.patterns.values()):
            raise ValueError("patterns: every row needs at least one pattern")
        if any(not patterns for patterns in self.joint):
            raise ValueError("joint: every group needs at least one pattern")
        if self.at is not None and self.checkpoints is not None:
            raise ValueError("at: names all columns; leave probe.checkpoints out")
        if self.norm_batches != NORM_BATCHES and self.norm_statistics != "reestimated":
            raise ValueError("norm_batches: goes with norm_statistics = 'reestimated'")
        return self

    @property
    def memory_bytes(self) -> int | None:
        """`memory` in bytes, None where nothing is asked for."""
        return None if self.memory is None else size_in_bytes(self.memory)


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
        for column in self.columns():
            if column.checkpoint is not None and column.checkpoint not in self.train.kept():
                key = "checkpoints" if self.probe.at is None else "at"
                raise ValueError(
                    f"probe.{key}: {column.checkpoint} is not kept; train.checkpoints keeps {list(self.train.kept())}"
                )
        return self

    def columns(self) -> tuple[Column, ...]:
        """The columns of the heatmap, each once, in their order; the final checkpoint is always one: the baseline.

        Raises ValueError for what names no column.
        """
        kept, probe = self.train.kept(), self.probe
        baseline = Column(REINITIALISE, kept[-1])
        if probe.at is None:
            epochs = kept if probe.checkpoints is None else probe.checkpoints
            drawn = [Column(RERANDOMISE, draws=probe.draws)] if probe.draws else []
            chosen = [*drawn, *(Column(REINITIALISE, epoch) for epoch in epochs)]
        else:
            try:
                chosen = [Column.parse(text, draws=probe.draws, final=kept[-1]) for text in probe.at]
            except ColumnError as error:
                raise ValueError(f"probe.at: {error}") from None
            if any(column.drawn for column in chosen) and not probe.draws:
                raise ValueError("probe.draws: is 0, and probe.at names columns that draw random numbers")
        return tuple(sorted({*chosen, baseline}, key=lambda column: column.place))

    def probe_checkpoints(self) -> tuple[int, ...]:
        """The checkpoints among the columns, ascending, with the final one."""
        epochs = (column.checkpoint for column in self.columns() if column.kind == REINITIALISE)
        return tuple(epoch for epoch in epochs if epoch is not None)

    def resolved(self) -> dict[str, Any]:
        """Plain JSON values, every default written out."""
        value = self.model_dump(mode="json")
        value["train"]["checkpoints"] = list(self.train.kept())
        if self.probe.at is not None:
            value["probe"]["at"] = [column.label for column in self.columns()]
        return value


# Where things are and how they are computed, not what: these may differ between two calls for one run. Of a probe also
# how long it looks, and where robust ends: that changes which cells are finished, not what a number means.
NOT_IDENTITY = {
    "run": {"name", "device"},
    "data": {"root", "download", "memory", "workers"},
    "probe": {"batch_size", "memory", "evaluator", "exact", "tolerance"},
}


# Keys that came later, with the values that say what was always done: a run made before them is still the same run.
LATER = {
    "train": {
        "optimizer_options": {},
        "schedule": "steps",
        "warmup": 0,
        "label_smoothing": 0.0,
        "clip": None,
        "accumulate": 1,
        "precision": "no",
        "channels_last": False,
        "compile": False,
        "imported": {},
    },
    "model": {"weights": None},
    "data": {"augment": "none", "pad": None, "size": None, "mean": None, "std": None, "per_class": None},
}


def identity(resolved: dict[str, Any], sections: tuple[str, ...]) -> dict[str, Any]:
    """The part of a resolved spec that determines numbers, of these sections."""

    def counts(section: str, key: str, value: Any) -> bool:
        if key in NOT_IDENTITY.get(section, ()):
            return False
        later = LATER.get(section, {})
        return not (key in later and later[key] == value)

    return {
        section: {key: value for key, value in resolved[section].items() if counts(section, key, value)}
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
