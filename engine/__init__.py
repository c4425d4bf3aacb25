"""Specs, models, data, training, probing and the worker. Knows torch and the store, and no terminal.

Importing this package imports no torch; its modules do, those named in CONTRIBUTING excepted.  `probe` and
`ProbeResult` are there as soon as they are asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import probe
    from .result import ProbeResult

__all__ = ["ProbeResult", "probe"]


def __getattr__(name: str) -> Any:
    if name == "probe":
        from .api import probe

        return probe
    if name == "ProbeResult":
        from .result import ProbeResult

        return ProbeResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
