"""What keeps a spec from being carried out that can be said without its network and its data: no torch here."""

from collections.abc import Sequence
from typing import Any

from ..store import Run, inert
from .errors import RunConflictError, SpecError
from .spec import Spec, differences, identity
from .specfile import stored_spec

RUN_SECTIONS = ("run", "model", "data", "train")
"""The sections of a spec that say what a run is; `probe` says what is measured of it."""


def refuse_together(specs: Sequence[Spec]) -> None:
    """Raise SpecError or RunConflictError if these specs cannot be carried out by one call."""
    devices = sorted({spec.run.device for spec in specs})
    if len(devices) > 1:
        raise SpecError(f"specs of one call must compute on one device; run.device is {' and '.join(devices)}.")
    seen: set[str] = set()
    for spec in specs:
        if spec.run.name in seen:
            raise RunConflictError(f"two of the specs are called '{inert(spec.run.name)}' (run.name). Name them apart.")
        seen.add(spec.run.name)


def refuse_other_spec(run: Run, resolved: dict[str, Any]) -> None:
    """Raise RunConflictError if the existing `run` was made by another spec than `resolved`; the probe may differ."""
    # With every default written out: an older lyrx did not know all keys.
    stored = stored_spec(run.info.spec, run.name, {}).resolved()
    differing = differences(identity(stored, RUN_SECTIONS), identity(resolved, RUN_SECTIONS))
    if differing:
        raise RunConflictError(
            f"a run '{inert(run.name)}' with another spec is in the store already. They differ in "
            f"{'; '.join(map(inert, differing))}. Give this one another name (--set run.name=NAME), "
            "or replace that one with --fresh."
        )
