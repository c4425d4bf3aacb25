"""Help: every key of a screen, from its bindings, so that none can be forgotten."""

from itertools import zip_longest
from typing import ClassVar

from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from ..widgets.marks import MARKS, WORDS

_KEY = Style(color="#ffaf5f", bold=True)


def bindings_of(screen: Screen) -> list[tuple[str, str]]:
    """(keys, description) of every binding of lyrx that works on `screen` now, those of one id together.

    Bindings without an id are Textual's own.
    """
    found: dict[str, tuple[list[str], str]] = {}
    for _, binding, enabled, _ in screen.active_bindings.values():
        if enabled and binding.id and not binding.system:
            keys, _ = found.setdefault(binding.id, ([], binding.description))
            keys.append(screen.app.get_key_display(binding))
    return [(" ".join(keys), description) for keys, description in found.values()]


class Help(ModalScreen[None]):
    """The keys of the screen below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "dismiss", "close", id="help.close"),
    ]

    def __init__(self, screen: Screen):
        super().__init__()
        self._bindings_shown = bindings_of(screen)

    def compose(self) -> ComposeResult:
        table = Table.grid(padding=(0, 2))
        half = -(-len(self._bindings_shown) // 2)
        for left, right in zip_longest(self._bindings_shown[:half], self._bindings_shown[half:], fillvalue=("", "")):
            table.add_row(Text(left[0], _KEY), Text(left[1]), Text(right[0], _KEY), Text(right[1]))
        marks = Text("\n")
        for number, (state, word) in enumerate(WORDS.items()):
            marks.append(f"{MARKS[state]} ", Style(bold=True))
            marks.append(word.ljust(16) if number % 3 < 2 else f"{word}\n", Style(color="#8a8a8a"))
        with VerticalScroll(id="help"):
            yield Static(table)
            yield Static(marks)
