"""Errors of the engine. See :mod:`lyrx.store.errors` for what they have in common."""

from ..store import LyrxError


class SpecError(LyrxError, ValueError):
    """A spec that cannot be used: the file, the key, and what is allowed."""


class ModelError(LyrxError, ValueError):
    """A model that cannot be built, or that does not fit the data."""


class DataNotFoundError(LyrxError, FileNotFoundError):
    """The data set is not where the spec says."""


class DataError(LyrxError, ValueError):
    """Data with a wrong shape, type or label."""


class LayerError(LyrxError, LookupError):
    """A layer pattern that matches nothing."""


class RunConflictError(LyrxError, ValueError):
    """A run of that name exists, made by another spec or from other data."""


class DeviceError(LyrxError, RuntimeError):
    """The device asked for is not there."""


class RunFailedError(LyrxError, RuntimeError):
    """Training or probing started and could not be carried to its end."""

    exit_code = 1


class NetworkFailedError(RunFailedError):
    """The network's own code raises with a cell's values; the other cells do not need them."""


INSTEAD = (
    "If its own code does that in a forward, it cannot be probed as it is: change the weights once before probing, or "
    "compute with a changed copy of them (torch.clamp(self.weight, ...), not self.weight.data.clamp_(...))."
)
"""What to do about a network whose weights were altered by itself."""


class RestoreError(RunFailedError):
    """The trained weights are not what they were after a cell: nothing measured since can be trusted."""


class CancelledError(LyrxError, RuntimeError):
    """A measurement was cancelled between two batches."""

    exit_code = 130
