"""The text of a log as a terminal would have left it, made harmless: lines, progress lines, no escape sequences."""

import codecs
import re
from collections.abc import Sequence
from functools import lru_cache

from rich.cells import cell_len, chop_cells
from rich.text import Text

from ...store import inert

MOST_LINES = 2_000
"""Lines kept, the last ones."""

_LONGEST = 4_000
"""Characters of a line that are kept."""
_TOKEN = re.compile(
    r"[\n\r\b\t]"
    r"|\x1b\[(?P<csi>[0-?]*[ -/]*[@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-Z\\^-~]"
    r"|(?P<text>[^\n\r\b\t\x1b]+)"
    r"|(?P<stray>\x1b)"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,256}\x1b?|[ -/]*)?\Z")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
_BAD = re.compile(
    r"lyrx: (?!interrupted)|Traceback \(most recent call last\)|\w*(Error|Exception)\b:|RuntimeWarning|\[rank\d+\]: "
)


class LogText:
    """Bytes in, lines out.  A carriage return goes back to the line's start, as progress bars want it."""

    def __init__(self, most: int = MOST_LINES):
        self._most = most
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._lines: list[str] = []
        self._line, self._at = "", 0
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """The next bytes of the log."""
        text = self._rest + self._decode(data)
        cut = _UNFINISHED.search(text)
        self._rest = text[cut.start() :] if cut else ""
        for token in _TOKEN.finditer(text, 0, cut.start() if cut else len(text)):
            self._take(token)
        del self._lines[: -self._most]

    def _take(self, token: re.Match[str]) -> None:
        what = token[0]
        if what == "\n":
            self._lines.append(self._line.rstrip())
            self._line, self._at = "", 0
        elif what == "\r":
            self._at = 0
        elif what == "\t":
            self._at = (self._at // 8 + 1) * 8
        elif what == "\b":
            self._at = max(0, self._at - 1)
        elif token["csi"] in ("K", "0K"):
            self._line = self._line[: self._at]
        elif token["csi"] in ("2K", "2J"):
            self._line = " " * self._at
        elif token["text"] or token["stray"]:
            written = inert(what)[: max(0, _LONGEST - self._at)]
            end = self._at + len(written)
            self._line = self._line[: self._at].ljust(self._at) + written + self._line[end:]
            self._at = end

    @property
    def lines(self) -> tuple[str, ...]:
        """What is there, the line that is not ended yet among them."""
        last = self._line.rstrip()
        return (*self._lines, last) if last else tuple(self._lines)


@lru_cache(8_192)
def wrapped(line: str, width: int) -> tuple[str, ...]:
    """A line in pieces of at most `width` columns, broken between words where one can be."""
    if cell_len(line) <= width:
        return (line,)
    pieces, rest = [], line
    while cell_len(rest) > width:
        piece = chop_cells(rest, width)[0]
        space = piece.rfind(" ")
        if space > width // 2 and rest[len(piece) : len(piece) + 1] != " ":
            piece = piece[: space + 1]
        pieces.append(piece.rstrip())
        rest = rest[len(piece) :].lstrip()
    return (*pieces, rest) if rest else tuple(pieces)


def layout(lines: Sequence[str], width: int) -> list[tuple[int, str]]:
    """All lines in pieces: (number of the line, piece)."""
    return [(number, piece) for number, line in enumerate(lines) for piece in wrapped(line, max(8, width))]


def styled(line: str, piece: str) -> Text:
    """A piece of a line in tones: what went wrong stands out, the time does not."""
    text = Text(piece, "alarm" if _BAD.match(line) else "", no_wrap=True, end="")
    if piece and line.startswith(piece) and (stamp := _STAMP.match(piece)):
        text.stylize("muted", 0, stamp.end())
    return text


def last_words(lines: Sequence[str]) -> str:
    """What to quote of a log that ended badly: lyrx's own message, or the last line."""
    said = next((line for line in reversed(lines[-40:]) if line.startswith("lyrx: ")), "")
    return said.removeprefix("lyrx: ") or next((line.strip() for line in reversed(lines) if line.strip()), "")
