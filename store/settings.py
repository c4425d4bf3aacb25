"""The settings of a probe that are no part of what it is: they may change while its numbers stay."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .files import read_json, write_json
from .layout import ATTRIBUTE
from .probe import Probe


def change_settings(probe: Probe, settings: Mapping[str, Any]) -> Probe:
    """`probe` with other settings, such as the tolerance. The caller holds the run's writer's lock.

    Its fingerprint, which says what its numbers belong to, stays: the caller sees to it that these settings do not
    change what a number means.  Nothing is written when they are the same.  Raises DamagedError.
    """
    if dict(probe.info.settings) == dict(settings):
        return probe
    info = replace(probe.info, settings=dict(settings))
    meta = read_json(probe.path / "zarr.json")
    meta["attributes"][ATTRIBUTE] = info.to_json()
    write_json(probe.path / "zarr.json", meta)
    return Probe(probe.path, info)
