"""Probes that somebody asks for while looking at another one: other rows, everything else as there.

They are what `lyrx probe` would make, and its numbers are theirs.  Joint rows go into a *companion*, a probe of just
these rows: nothing of the probe beside it is measured again, and that stays what it was.
"""

import glob
from collections.abc import Mapping, Sequence
from typing import Any

from ..store import DamagedError, Probe, ProbeInfo, Run, did_you_mean, inert
from .baselines import take_along
from .distances import commit_distances
from .errors import LayerError
from .prepare import Prepared, companion_info, probe_of


def plan_joint(run: Run, base: Probe, groups: Sequence[Sequence[str]]) -> tuple[Probe, Prepared | None]:
    """The probe that holds a row for each of `groups` of `base`'s rows (by name): it is made unless there is one.

    With what it takes to measure it, where that was made.  The caller holds the run's writer's lock.
    Raises LayerError for names that are no plain rows of `base` and for fewer than two, and what
    :func:`lyrx.engine.prepare.probe_of` raises.
    """
    wanted = [_in_order(base.info, group) for group in groups]
    if not wanted:
        raise LayerError("a joint reset needs a group of layers; none was given.")
    if {row.joint for row in base.info.layers}.issuperset(wanted):
        return base, None
    for other in run.companions(base.info.id):
        if [row.joint for row in other.info.layers] == wanted:
            _take_along(base, other)
            return other, None
    # Names are meant, whatever they look like as patterns.
    overrides = {"probe.layers": [], "probe.joint": [list(map(glob.escape, group)) for group in wanted]}
    prepared = probe_of(run, _settings(base.info) | overrides)
    probe = run.create_probe(companion_info(prepared, base.info))
    commit_distances(run, probe)
    _take_along(base, probe)
    return probe, prepared


def plan_granularity(run: Run, base: Probe, granularity: str) -> tuple[Probe, Prepared]:
    """The probe with rows of another granularity and all else as in `base`: it is made unless there is one.

    The caller holds the run's writer's lock.  Raises what :func:`lyrx.engine.prepare.probe_of` raises.
    """
    rows = {"probe.granularity": granularity, "probe.patterns": {}, "probe.layers": [], "probe.joint": []}
    prepared = probe_of(run, _settings(base.info) | rows)
    probe = run.create_probe(prepared.probe)
    commit_distances(run, probe)
    _take_along(base, probe)
    return probe, prepared


def _settings(info: ProbeInfo) -> dict[str, Any]:
    settings: Mapping[str, Any] = info.settings
    return {f"probe.{key}": value for key, value in settings.items()}


def _in_order(info: ProbeInfo, names: Sequence[str]) -> tuple[str, ...]:
    """`names` once each, by depth."""
    known = {row.name: row for row in info.layers}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, list(known))
            raise LayerError(f"probe {info.id} has no row '{inert(name)}' to be reset jointly.{hint}")
        if known[name].joint:
            raise LayerError(f"'{inert(name)}' is several layers already; reset those of which it is made.")
    chosen = tuple(name for name in known if name in names)
    if len(chosen) < 2:
        raise LayerError(f"a joint reset needs two layers or more; {inert(', '.join(chosen)) or 'none'} was given.")
    return chosen


def _take_along(base: Probe, probe: Probe) -> None:
    """What is known of the trained network, its cell of the whole network included: the columns are the same."""
    if not take_along(base, probe):
        return
    for cell in probe.info.network_cells()[-1:]:
        try:
            estimate = base.read(cell)
        except DamagedError:
            estimate = None
        if estimate is not None and estimate.exact:
            probe.write(cell, estimate, evaluator="baseline")
