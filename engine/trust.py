"""Which rows may be replayed: compared with plain forwards before they are, and no longer once they were wrong.

Before the replays of a row and a kind of intervention are trusted, one actual variant is compared with a plain forward
on a slice of the data, its values copied into the weights (the reference evaluator's way).  Where the two differ, or
replay cannot be used, full forwards are made instead, and the reason is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .agreement import CHECKS, TELLING, differ, finite
from .device import out_of_memory
from .replay.record import Arguments, DivergedError
from .replay.trace import Trace

if TYPE_CHECKING:
    from .forwards import Forwards, Variant


@dataclass(frozen=True)
class Fallback:
    """Why the variants of a row are computed by full forwards. `kind` '' stands for every kind."""

    row: str
    kind: str
    reason: str


class Trust:
    """What is known of the replays of one network's rows.

    `on_fallback` hears of every fallback, once; `on_trusted` of each row and kind whose replays were proven right.
    """

    def __init__(
        self,
        forwards: "Forwards",
        on_fallback: Callable[[Fallback], None],
        on_trusted: Callable[[str, str], None],
    ):
        self._forwards, self._on_fallback, self._on_trusted = forwards, on_fallback, on_trusted
        self.fallbacks: dict[tuple[str, str], Fallback] = {}
        self._checks: dict[tuple[str, str, int], int] = {}  # by row, kind, trace: those that are still to be made

    def clear(self) -> None:
        """Nothing was checked any more; fallbacks stay."""
        self._checks.clear()

    def checked(self, variant: "Variant", trace: Trace, place: int, arguments: Arguments) -> bool:
        """Whether replays of this row and kind are right, as far as actual variants can show.

        On the way through the network that most batches take (the `trace` at `place` 0), that is seen on a few
        examples, else on `arguments`.
        """
        row, kind = variant.row.name, variant.kind
        if (row, kind) in self.fallbacks or (row, "") in self.fallbacks:
            return False
        key = (row, kind, place)
        if not self._checks.get(key, CHECKS):
            return True
        wrong, proven = self._difference(variant, trace, arguments if place else self._forwards.slice)
        if wrong:
            self.fall_back(Fallback(row, kind, wrong))
            return False
        self._checks[key] = 0 if proven else self._checks.get(key, CHECKS) - 1
        if proven and not place:
            self._on_trusted(row, kind)
        return True

    def _difference(self, variant: "Variant", trace: Trace, arguments: Arguments) -> tuple[str, bool]:
        """What is wrong with a replay of `variant` (empty where it is right), and whether the check proves anything."""
        forwards = self._forwards
        try:
            record = forwards.recorded(trace, arguments, [variant.row])
            forwards.distract(arguments)
            replayed = forwards.replayed(record, forwards.recipe(trace, variant.row), variant)
        except DivergedError as error:
            return _elsewhere(error), True
        except Exception as error:  # somebody's network; the full forward says whether it is its own fault
            if out_of_memory(error):
                raise
            forwards.reference(variant, arguments)
            return _failed(error), True
        full, tolerance = forwards.reference(variant, arguments), forwards.precision.tolerance
        # Where nothing changes, a replay that takes no notice of the variant would be equal as well.
        proven = arguments is not forwards.slice or bool(differ(forwards.trained, full, TELLING * tolerance))
        wrong = differ(full, replayed, tolerance)
        return wrong and f"replay {wrong}", proven and finite(full)

    def diverged(self, variant: "Variant", error: DivergedError) -> None:
        """A replay that was trusted noticed that it was wrong."""
        self.fall_back(Fallback(variant.row.name, variant.kind, _elsewhere(error)))

    def failed(self, variant: "Variant", error: Exception) -> None:
        """A replay that was trusted ended in an error, and a full forward did not."""
        self.fall_back(Fallback(variant.row.name, variant.kind, _failed(error)))

    def fall_back(self, fallback: Fallback) -> None:
        """From here on full forwards; also where another process has found that."""
        key = (fallback.row, fallback.kind)
        if key not in self.fallbacks:
            self.fallbacks[key] = fallback
            self._on_fallback(fallback)

    def reason(self, row: str, kind: str) -> str:
        """Why the variants of a row and kind are computed by full forwards, '' where they need not be."""
        found = self.fallbacks.get((row, "")) or self.fallbacks.get((row, kind))
        return found.reason if found else ""


def _elsewhere(error: DivergedError) -> str:
    return f"with it the network goes another way ({error})"


def _failed(error: Exception) -> str:
    return f"replay failed ({type(error).__name__}: {error})"
