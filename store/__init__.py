"""Runs, checkpoints, results, commits and their integrity, in Zarr. Knows no torch and no terminal.

The layout is described in :mod:`lyrx.store.layout` and, for readers without lyrx, in `store/FORMAT.md`.
Importing this package imports neither zarr nor numpy: reading tables and heatmaps needs neither.
"""

from .checkpoints import CheckpointError, Checkpoints
from .errors import (
    DamagedError,
    LyrxError,
    NotAStoreError,
    NotCommittedError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
    StoreNotFoundError,
    StoreNotWritableError,
    StoreVersionError,
)
from .history import EpochMetrics, History
from .lock import Writer
from .plan import REINITIALISE, RERANDOMISE, Cell, Column, Estimate, Layer, ProbeInfo
from .probe import Probe, Results
from .resume import Resume, ResumeState
from .run import Run, RunInfo
from .store import Store
from .tensors import TensorInfo, storage_dtype
from .text import did_you_mean, inert, nearest

__all__ = [
    "REINITIALISE",
    "RERANDOMISE",
    "Cell",
    "CheckpointError",
    "Checkpoints",
    "Column",
    "DamagedError",
    "EpochMetrics",
    "Estimate",
    "History",
    "Layer",
    "LyrxError",
    "NotAStoreError",
    "NotCommittedError",
    "Probe",
    "ProbeInfo",
    "Results",
    "Resume",
    "ResumeState",
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
    "Writer",
    "did_you_mean",
    "inert",
    "nearest",
    "storage_dtype",
]
