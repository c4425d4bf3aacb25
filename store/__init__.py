"""Runs, checkpoints, results, commits and their integrity, in Zarr. Knows no torch and no terminal.

The layout is described in :mod:`lyrx.store.layout` and, for readers without lyrx, in `store/FORMAT.md`.
Importing this package imports neither zarr nor numpy: reading tables and heatmaps needs neither.
"""

from .baseline import Baseline
from .checkpoints import CheckpointError, Checkpoints
from .columns import DRAWN, NOISE, PATH, REINITIALISE, RERANDOMISE, SHUFFLE, ZERO, Column, ColumnError
from .errors import (
    DamagedError,
    LyrxError,
    NotAStoreError,
    NotAvailableError,
    NotCommittedError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
    StoreNotFoundError,
    StoreNotWritableError,
    StoreVersionError,
    UnreadableError,
)
from .failure import Failure
from .fallbacks import Fallback
from .history import EpochMetrics, History
from .lock import Writer
from .plan import Cell, Estimate, Layer, ProbeInfo
from .probe import Probe, Progress, Results
from .resume import Resume, ResumeState
from .rows import RowError
from .run import Run, RunInfo
from .settings import change_settings
from .store import Store
from .tensors import TensorInfo, storage_dtype
from .text import did_you_mean, inert, nearest

__all__ = [
    "DRAWN",
    "NOISE",
    "PATH",
    "REINITIALISE",
    "RERANDOMISE",
    "SHUFFLE",
    "ZERO",
    "Baseline",
    "Cell",
    "CheckpointError",
    "Checkpoints",
    "Column",
    "ColumnError",
    "DamagedError",
    "EpochMetrics",
    "Estimate",
    "Failure",
    "Fallback",
    "History",
    "Layer",
    "LyrxError",
    "NotAStoreError",
    "NotAvailableError",
    "NotCommittedError",
    "Probe",
    "ProbeInfo",
    "Progress",
    "Results",
    "Resume",
    "ResumeState",
    "RowError",
    "Run",
    "RunExistsError",
    "RunInfo",
    "RunLockedError",
    "RunNotFoundError",
    "Store",
    "StoreNotFoundError",
    "StoreNotWritableError",
    "StoreVersionError",
    "TensorInfo",
    "UnreadableError",
    "Writer",
    "change_settings",
    "did_you_mean",
    "inert",
    "nearest",
    "storage_dtype",
]
