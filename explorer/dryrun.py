"""What `lyrx batch --dry-run` prints."""

from collections.abc import Sequence
from typing import Any

from ..store import LyrxError, inert
from .core.specs import Checked, facts, outlook_text
from .jsonout import dumps


def show_outlooks(found: Sequence[Any], *, as_json: bool) -> list[LyrxError]:
    """Print what would become of each spec (an `Outlook` of the engine each). Returns why some would be refused."""
    if as_json:
        print(dumps([outlook.to_json() for outlook in found]))
    else:
        for outlook in found:
            checked = Checked.from_json(outlook.to_json())
            print(outlook_text(checked, "the store").plain)
            for label, value in facts(outlook.spec, outlook.columns):
                print(f"  {label:<9}{value}")
            for note in outlook.notes:
                print(f"  ! {inert(note)}")
        print("Nothing was begun: --dry-run.")
    return [outlook.error for outlook in found if outlook.error is not None]
