"""What one probe knows of the trained network holds for the run's others too: it is not found anew."""

from typing import Any

from ..store import DamagedError, Probe, ProbeInfo, Run
from ..store.notes import BATCHES


def take_along(base: Probe, probe: Probe) -> bool:
    """Give `probe` the baseline of `base`, measured on the same examples with the same precision.

    Whether it did: not where the one has none, or the other has its own.
    """
    try:
        known = base.read_baseline()
        if known is None or probe.read_baseline() is not None:
            return False
    except DamagedError:
        return False  # it is measured anew, as in every probe whose baseline is damaged
    facts = {key: known.record[key] for key in ("device",) if key in known.record}
    probe.write_baseline(known.order, known.prediction, known.wrong, known.loss_sum, **facts)
    return True


def take_from_another(run: Run, probe: Probe, device: str) -> None:
    """Give `probe` the baseline of the run's newest probe that was measured as it will be, on a `device` of this type.

    The caller holds the run's writer's lock.  A network whose outputs depend on which examples share a batch is
    measured anew: other rows may make other batches.
    """
    for other in reversed(run.all_probes()):
        if other.info.id == probe.info.id or _arithmetic(other.info) != _arithmetic(probe.info):
            continue
        try:
            known = other.read_baseline()
        except DamagedError:
            continue
        alike = known is not None and known.record.get("device") == device and BATCHES not in other.notes()
        if alike and take_along(other, probe):
            return


def _arithmetic(info: ProbeInfo) -> Any:
    return info.settings.get("precision", "fp32")
