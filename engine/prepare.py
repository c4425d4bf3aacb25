"""From a spec to what a run will be: everything that can be refused is refused here, before anything is written."""

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch

from ..store import NotCommittedError, ProbeInfo, Run, RunInfo, TensorInfo, inert
from ..store.files import canonical, sha256
from ..store.layout import folder_name
from .building import build_model
from .checkpoint_files import unavailable
from .conflicts import RUN_SECTIONS, refuse_other_spec
from .data.base import DataSet
from .device import choose_device
from .errors import ModelError, RunConflictError
from .examples import first_inputs
from .importing import origins_of
from .layers import Layers, find_layers
from .optimisers import make_optimiser, refuse_ignored
from .seeds import derive
from .spec import Spec, identity
from .specfile import stored_spec
from .state import describe, evaluating
from .tallies import logits_of
from .tasks import TASKS

TRAINING_VERSION = 1
"""Raised when the same spec and data would give other weights."""

MEASURE_VERSION = 2
"""Raised when the definition of a cell's number changes. 2: the first examples of one random order."""


@dataclass(frozen=True)
class Prepared:
    """A spec together with its data and what its run looks like."""

    spec: Spec
    data: DataSet
    run: RunInfo
    probe: ProbeInfo


def prepare(spec: Spec, before: Run | None = None) -> Prepared:
    """Load the data, build the network once, find its layers.

    `before`: the run of this spec that is there already; what it knows and keeps of its data need not be found out
    again, and once it is trained, files of weights are not read again.
    Raises SpecError, NameTooLongError, DeviceError, DataNotFoundError, DataError, ModelError, LayerError.
    """
    folder_name(spec.run.name)
    choose_device(spec.run.device)
    if before is None:  # a run that is there was made as it was, and its stored spec says all defaults
        refuse_ignored(spec.train)
    data = spec.data.load_again(before) if before else spec.data.load()
    model = build_model(spec.model, data.shape, data.classes, derive(spec.run.seed, "init"))
    tensors = _described(spec, model)
    # Two examples: BatchNorm cannot process one in training, and some networks treat one apart.
    example = first_inputs(data, 2)
    probe = spec.probe
    layers = find_layers(
        model, tensors, example, probe.granularity, probe.patterns, only=probe.layers, joint=probe.joint
    )
    _check_output(spec, model, example, data)
    make_optimiser(spec.train, model.parameters())
    resolved = spec.resolved()
    facts = data.facts()
    origins = before.info.origins if before is not None and before.trained else origins_of(spec, model)
    hashes = [{name: origin["sha256"] for name, origin in origins.items()}] if origins else []
    fingerprint = _hash(identity(resolved, RUN_SECTIONS), facts["fingerprint"], TRAINING_VERSION, *hashes)
    made = RunInfo(
        name=spec.run.name,
        model=spec.model.name,
        data=spec.data.name,
        epochs=spec.train.epochs,
        checkpoints=spec.train.kept(),
        tensors=tuple(tensors),
        fingerprint=fingerprint,
        spec=resolved,
        data_facts=facts,
        versions=versions() | spec.model.source(),
        created=time.time(),
        origins=origins,
    )
    return Prepared(spec, data, made, probe_info(spec, layers, fingerprint, origins))


def probe_info(spec: Spec, layers: Layers, run_fingerprint: str, origins: Mapping[str, Any]) -> ProbeInfo:
    """The probe that a spec asks for, of the run with this fingerprint, whose weights came from `origins`."""
    settings, columns = spec.resolved()["probe"], spec.columns()
    # Columns count as what they are, however they were asked for; the other settings as they are written.
    identifying = identity({"probe": settings}, ("probe",))["probe"]
    named = {key: value for key, value in identifying.items() if key not in ("at", "checkpoints", "draws")}
    return ProbeInfo(
        granularity=spec.probe.granularity,
        layers=layers.rows,
        columns=columns,
        checkpoints=spec.probe_checkpoints(),
        fingerprint=_hash(run_fingerprint, named, [column.to_json() for column in columns], MEASURE_VERSION),
        settings=settings,
        skipped=layers.skipped,
        created=time.time(),
        unavailable=unavailable(layers.rows, columns, origins),
    )


def companion_info(prepared: Prepared, base: ProbeInfo) -> ProbeInfo:
    """The joint rows of `prepared`, as a probe that stands beside `base`."""
    probe, origins = prepared.probe, prepared.run.origins
    rows = tuple(row for row in probe.layers if row.joint)
    return replace(
        probe,
        layers=rows,
        fingerprint=_hash(probe.fingerprint, "companion", base.fingerprint),
        unavailable=unavailable(rows, probe.columns, origins),
        companion=base.id,
    )


def probe_of(run: Run, overrides: Mapping[str, Any]) -> Prepared:
    """An existing run's spec with some keys replaced (`{"probe.at": ["zero"]}`), ready to be probed.

    Its network is built anew for its layers.  Raises NotCommittedError when the run is not trained, SpecError, what
    :func:`prepare` raises, and RunConflictError when data or model are not any more those it was made from.
    """
    if not run.trained:
        raise NotCommittedError(
            f"run '{inert(run.name)}' is not trained: its final checkpoint {run.checkpoints.final} is not in the "
            "store. Finish it with `lyrx batch`."
        )
    prepared = prepare(stored_spec(run.info.spec, run.name, overrides), run)
    refuse_conflict(run, prepared)
    return prepared


def refuse_conflict(run: Run, prepared: Prepared) -> None:
    """Raise RunConflictError if `prepared` cannot go on with the existing `run`; other probe settings are none."""
    name = inert(run.name)
    refuse_other_spec(run, dict(prepared.run.spec))
    if run.info.data_facts.get("fingerprint") != prepared.run.data_facts["fingerprint"]:
        raise RunConflictError(
            f"run '{name}' was made from other data than the data set '{prepared.spec.data.name}' holds now. "
            "Give this one another name (--set run.name=NAME), or replace that one with --fresh."
        )
    if run.info.tensors != prepared.run.tensors:
        ours, theirs = ({tensor.name for tensor in info.tensors} for info in (prepared.run, run.info))
        which = ", ".join(sorted(ours ^ theirs)[:5]) or "their shapes or types"
        raise RunConflictError(
            f"run '{name}' has other tensors than the model '{prepared.spec.model.name}' now has ({which}): "
            "its code has changed. Give this one another name (--set run.name=NAME), or replace that one with --fresh."
        )
    source = "model source"
    if not run.trained and run.info.versions.get(source) != prepared.run.versions.get(source):
        raise RunConflictError(
            f"run '{name}' was begun with other code of the model '{prepared.spec.model.name}'. "
            "Start it anew with --fresh."
        )
    changed = [
        origin["file"]
        for checkpoint, origin in prepared.run.origins.items()
        if origin["sha256"] != run.info.origins.get(checkpoint, {}).get("sha256")
    ]
    if changed:
        raise RunConflictError(
            f"run '{name}' was begun with other weights than {', '.join(changed)} holds now. "
            "Put the old file back, or start the run anew with --fresh."
        )
    if not run.trained and run.info.fingerprint != prepared.run.fingerprint:
        raise RunConflictError(
            f"run '{name}' was begun by a version of lyrx that trains otherwise. Start it anew with --fresh."
        )


def versions() -> dict[str, str]:
    """What a run was made with."""
    packages = ("lyrx", "torch", "torchvision", "accelerate", "zarr", "numpy")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def _described(spec: Spec, model: torch.nn.Module) -> list[TensorInfo]:
    name = inert(spec.model.name)
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(f"model '{name}' has lazy parameters. Give its modules their sizes.")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ModelError(f"model '{name}' has no parameters that can be trained.")
    return describe(model)


def _check_output(spec: Spec, model: torch.nn.Module, example: torch.Tensor, data: DataSet) -> None:
    """Raises ModelError when the network does not give what the data ask for."""
    with evaluating(model), torch.no_grad():
        output = model(example)
    try:
        found = list(logits_of(output).shape)
    except ModelError:
        found = type(output).__name__
    sizes = [*data.train_targets.shape[1:], data.classes]
    fits = isinstance(found, list) and found[:-1] == [2, *sizes[:-1]] and found[-1] >= sizes[-1]
    if not fits:
        wanted = TASKS[data.task].output.format(classes=data.classes, length=sizes[0])
        raise ModelError(f"model '{inert(spec.model.name)}' gives {found} for two examples; {wanted}, is needed.")


def _hash(*parts: Any) -> str:
    return sha256(canonical(list(parts)))
