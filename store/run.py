"""A run: one network with its spec, checkpoints, metrics and probes."""

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .checkpoints import Checkpoints, create_weights
from .errors import DamagedError, NotCommittedError, StoreVersionError
from .failure import FailureNote
from .files import is_leftover, partial_name, read_json
from .history import History, create_history
from .kept import KeptFiles, write_files
from .layout import ATTRIBUTE, SCHEMA
from .lock import Writer, current_writer, writer_lock
from .plan import ProbeInfo
from .probe import Probe, create_probe_arrays
from .resume import Resume
from .tensors import TensorInfo
from .text import did_you_mean

Status = Literal["training", "probing", "interrupted", "complete"]


@dataclass(frozen=True)
class RunInfo:
    """What a run is: fixed when it is made."""

    name: str
    model: str
    data: str
    """Names of the model and the data set, for tables."""
    epochs: int
    checkpoints: tuple[int, ...]
    tensors: tuple[TensorInfo, ...]
    fingerprint: str
    """Of everything the weights depend on: spec, data, code version."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """The resolved spec."""
    data_facts: Mapping[str, Any] = field(default_factory=dict)
    """What is known of the data: mean, std, numbers of examples, classes, fingerprint."""
    versions: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    files: Mapping[str, str] = field(default_factory=dict)
    """What the run keeps beside its arrays: SHA-256 by name."""
    origins: Mapping[str, Any] = field(default_factory=dict)
    """Weights that came from files, by checkpoint ('start': what training began with): file, sha256, what they lack."""

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "model": self.model,
            "data": self.data,
            "epochs": self.epochs,
            "checkpoints": list(self.checkpoints),
            "fingerprint": self.fingerprint,
            "spec": dict(self.spec),
            "data_facts": dict(self.data_facts),
            "versions": dict(self.versions),
            "created": self.created,
            "files": dict(self.files),
            "tensors": [tensor.to_json() for tensor in self.tensors],
            "origins": dict(self.origins),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RunInfo":
        return cls(
            name=value["name"],
            model=value["model"],
            data=value["data"],
            epochs=value["epochs"],
            checkpoints=tuple(value["checkpoints"]),
            tensors=tuple(map(TensorInfo.from_json, value["tensors"])),
            fingerprint=value["fingerprint"],
            spec=value["spec"],
            data_facts=value["data_facts"],
            versions=value["versions"],
            created=value["created"],
            files=value.get("files", {}),
            origins=value.get("origins", {}),
        )


class Run:
    """An existing run in a store. Reading needs no lock; writing is done inside :meth:`writing`."""

    def __init__(self, path: Path):
        self.path = path
        attributes = _attributes(path)
        if not isinstance(attributes.get("schema"), int):
            raise DamagedError(f"{path / 'zarr.json'} is damaged: it lacks a schema.")
        if attributes["schema"] > SCHEMA:
            raise StoreVersionError(
                f"{path} has schema {attributes['schema']}, written by a newer lyrx; this one reads up to {SCHEMA}. "
                "Upgrade lyrx."
            )
        try:
            self.info = RunInfo.from_json(attributes)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"{path / 'zarr.json'} is damaged: {type(error).__name__} {error}.") from error
        self.checkpoints = Checkpoints(path, self.name, self.info.checkpoints, self.info.tensors)
        self.history = History(path, self.info.epochs)
        self.resume = Resume(path)
        self.files = KeptFiles(path, self.info.files)
        self.failure = FailureNote(path)

    @property
    def name(self) -> str:
        return self.info.name

    def writing(self, purpose: str) -> AbstractContextManager[None]:
        """Hold this run's writer's lock. Raises RunLockedError, StoreNotWritableError."""
        return writer_lock(self.path / "checkpoint", self.name, purpose)

    def writer(self) -> Writer | None:
        """The live process that writes this run, if any."""
        return current_writer(self.path / "checkpoint")

    def stage(self) -> Literal["training", "probing"]:
        """What is next, or at work: probing once the final checkpoint is committed."""
        return "probing" if self.trained else "training"

    @property
    def trained(self) -> bool:
        """Whether the final checkpoint is committed."""
        return self.checkpoints.is_committed(self.checkpoints.final)

    def probes(self) -> list[Probe]:
        """The run's probes, oldest first, without those that only accompany another one."""
        return [probe for probe in self.all_probes() if not probe.info.companion]

    def companions(self, probe: str) -> list[Probe]:
        """What stands beside the probe with this id, oldest first: further rows of it."""
        return [other for other in self.all_probes() if other.info.companion == probe]

    def all_probes(self) -> list[Probe]:
        """Every probe of the run, oldest first."""
        folder = self.path / "probes"
        found = []
        for entry in folder.iterdir() if folder.is_dir() else ():
            if (entry / "zarr.json").exists() and not is_leftover(entry.name):
                found.append(_open_probe(entry))
        return sorted(found, key=lambda probe: (probe.info.created, probe.info.id))

    def probe(self, wanted: str | None = None) -> Probe:
        """The newest probe, or the newest of granularity (or with id) `wanted`. Raises NotCommittedError.

        A probe that accompanies another one is found by its id only.
        """
        everything = self.all_probes()
        probes = [probe for probe in everything if not probe.info.companion]
        for probe in reversed(probes):
            if wanted is None or wanted in (probe.info.id, probe.info.granularity):
                return probe
        for probe in everything:
            if wanted == probe.info.id:
                return probe
        known = ", ".join(probe.info.id for probe in probes) or "none"
        near = did_you_mean(wanted or "", [name for one in probes for name in (one.info.id, one.info.granularity)])
        raise NotCommittedError(f"run '{self.name}' has no probe '{wanted or ''}'.{near} It has: {known}.")

    def create_probe(self, info: ProbeInfo) -> Probe:
        """The probe with this fingerprint: the existing one, or a new one, whole from its first moment on."""
        path = self.path / "probes" / info.id
        if not (path / "zarr.json").exists():
            path.parent.mkdir(exist_ok=True)
            made = partial_name(path)
            _create_probe(made, info, self.info)
            made.rename(path)
        return _open_probe(path)

    def status(self) -> Status:
        """What is going on: derived from what is committed and from whether a live process holds the lock."""
        probes = self.probes() if self.trained else []
        if not probes:
            return self.status_of(complete=False)
        return self.status_of(complete=probes[-1].progress().complete, probe=probes[-1].info.id)

    def status_of(self, *, complete: bool, probe: str = "") -> Status:
        """The status, given whether the probe looked at has all that its settings ask for; `probe` is its id.

        A run that nobody works on is complete as soon as any of its probes is: a further one that was begun, by a key
        of the app even, takes nothing away.
        """
        if complete and self.trained:
            return "complete"
        if self.writer() is not None:
            return "probing" if self.trained else "training"
        others = (other for other in self.probes() if other.info.id != probe) if self.trained else ()
        return "complete" if any(other.progress().complete for other in others) else "interrupted"


def create_run(path: Path, info: RunInfo, probe: ProbeInfo, files: Mapping[str, bytes]) -> Run:
    """Make a run with all its arrays in a folder of its own, then move it to `path`: it is there whole, or not at all.

    `files` are kept with it.  Raises FileExistsError or OSError when there is something at `path`.
    """
    import zarr

    made = partial_name(path)
    try:
        made.mkdir(parents=True)
        info = replace(info, files=write_files(made, files))
        group = zarr.create_group(made, zarr_format=3, attributes={ATTRIBUTE: info.to_json()})
        create_weights(group, info.checkpoints, info.tensors)
        create_history(group, info.epochs)
        group.create_group("probes")
        _create_probe(made / "probes" / probe.id, probe, info)
        made.rename(path)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return Run(path)


def _create_probe(path: Path, info: ProbeInfo, run: RunInfo) -> None:
    import zarr

    examples, positions = run.data_facts.get("test_examples"), run.data_facts.get("positions")
    shape = tuple(size for size in (examples, positions) if size)
    create_probe_arrays(zarr.create_group(path, zarr_format=3), info, shape if examples else ())


def _open_probe(path: Path) -> Probe:
    try:
        return Probe(path, ProbeInfo.from_json(_attributes(path)))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"{path / 'zarr.json'} is damaged: {type(error).__name__} {error}.") from error


def _attributes(path: Path) -> dict[str, Any]:
    attributes = read_json(path / "zarr.json").get("attributes")
    found: Any = attributes.get(ATTRIBUTE) if isinstance(attributes, dict) else None
    if not isinstance(found, dict):
        raise DamagedError(f"{path / 'zarr.json'} is damaged: it lacks lyrx's attributes.")
    return found
