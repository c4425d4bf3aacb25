"""Errors of lyrx.

Every error a user can cause or meet subclasses :class:`LyrxError` and the builtin that fits it.  Its message says what
was wrong, where, and what to do.  `exit_code` is what a command ends with: 2 for bad input, 1 for a run that failed.
"""


class LyrxError(Exception):
    """Base of everything lyrx raises on purpose."""

    exit_code = 2


class StoreNotFoundError(LyrxError, FileNotFoundError):
    """There is nothing at the store's path."""


class NotAStoreError(LyrxError, ValueError):
    """The path exists and is no lyrx store."""


class StoreVersionError(LyrxError, ValueError):
    """The store was written by a newer lyrx than this one."""


class StoreNotWritableError(LyrxError, PermissionError):
    """The store can be read but not written."""


class UnreadableError(LyrxError, OSError):
    """The system refuses to read a file of a store, which may well be whole."""


class RunNotFoundError(LyrxError, LookupError):
    """The store holds no run of that name."""


class RunExistsError(LyrxError, FileExistsError):
    """A run of that name exists already."""


class RunLockedError(LyrxError, BlockingIOError):
    """Another live process writes this run."""


class DamagedError(LyrxError, ValueError):
    """Something committed does not have the contents it was committed with."""


class NotCommittedError(LyrxError, LookupError):
    """What was asked for has not been committed (yet)."""


class NotAvailableError(NotCommittedError):
    """What was asked for is not there and never will be: an imported checkpoint may lack some of the tensors."""
