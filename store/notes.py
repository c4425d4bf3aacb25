"""What else to know of all of a probe's numbers: one small file for each subject."""

from pathlib import Path

from .errors import DamagedError
from .sayings import Sayings

BATCHES = "batches"
"""The subject of what is said where an example's output depends on the others in its batch."""


class Notes:
    """The notes kept in the folder `path`, which lies inside an array's."""

    def __init__(self, path: Path, fingerprint: str):
        self.path = path
        self._sayings = Sayings(path, fingerprint)

    def write(self, subject: str, text: str) -> None:
        """Keep a sentence, in place of what was said on this subject before."""
        self._sayings.write(f"{subject}.json", {"subject": subject, "text": text})

    def read(self) -> tuple[dict[str, str], list[DamagedError]]:
        """By subject what is whole, and what is damaged."""
        found, damaged = self._sayings.read()
        return {said["subject"]: said["text"] for said in found}, damaged
