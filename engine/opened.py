"""A batch of examples whose shared forward has been made: variants are computed on it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .device import out_of_memory
from .replay.record import Arguments, DivergedError, Record

if TYPE_CHECKING:
    from .forwards import Forwards, Row, Variant


class Batch:
    """One batch of examples, with what was recorded of it."""

    def __init__(
        self,
        forwards: "Forwards",
        arguments: Arguments,
        record: Record | None,
        rows: "Mapping[str, Row]",
        reason: str = "",
    ):
        self.arguments = arguments
        self._forwards, self._record, self._rows, self._reason = forwards, record, rows, reason

    def outputs(self, variants: "Sequence[Variant]") -> Any | None:
        """The output of several variants of one row and kind as of one batch, behind one another; None: one by one."""
        if self._record is None or variants[0].row.name not in self._rows:
            return None
        output = self._forwards.outputs(self._record, variants, self)
        self._mend()
        return output

    def _mend(self) -> None:
        """A record that a run has spoilt is made anew."""
        if self._record is not None and self._record.spoilt:
            self._record = self._forwards.again(self._record, self.arguments, list(self._rows.values()))

    def output(self, variant: "Variant") -> tuple[Any, str]:
        """A variant's output, and why it was not replayed ('' where it was)."""
        forwards, name = self._forwards, variant.row.name
        failed: Exception | None = None
        if (
            self._record is not None
            and name in self._rows
            and forwards.checked(variant, self._record.trace, self.arguments)
        ):
            try:
                return forwards.replayed(self._record, forwards.recipe(self._record.trace, variant.row), variant), ""
            except DivergedError as error:
                forwards.trust.diverged(variant, error)
                self._mend()
            except Exception as error:
                if out_of_memory(error):
                    raise
                failed = error
        output = forwards.reference(variant, self.arguments)
        if failed is not None:
            forwards.trust.failed(variant, failed)
        return output, forwards.trust.reason(name, variant.kind) or self._reason
