"""A small list over a heatmap: the run's probes, and the granularities that can be made."""

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ...store import LyrxError, Store, inert
from ..core.doing import ProbeKey
from ..core.probes import ProbeRow, chooser_lines, probe_rows
from ..widgets.toned import toned
from ..widgets.tonelist import ToneList

Choice = tuple[str, str] | None
"""('probe', its id), ('granularity', its name), or None where it was left without a choice."""


class ProbeChooser(ModalScreen[Choice]):
    """Choose a probe of the run, or where something can be measured (`make`) a granularity to be made."""

    DEFAULT_CSS = """
    ProbeChooser { align: center middle; background: $background 60%; }
    #probes { width: 110; max-width: 94%; height: auto; max-height: 80%; padding: 1 2; background: $panel; }
    #probes-title { margin: 0 0 1 0; }
    #probes OptionList { height: auto; max-height: 16; background: $panel; border: none; padding: 0; }
    #probes-note { margin: 1 0 0 0; color: $lyrx-muted; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,p", "leave", "back", id="probes.back"),
        Binding("j", "move('down')", "down", id="probes.down", show=False),
        Binding("k", "move('up')", "up", id="probes.up", show=False),
    ]

    def __init__(self, store: Path, key: ProbeKey, *, make: bool = True):
        super().__init__()
        self._store, self._key, self._make = store, key, make
        self._rows: list[ProbeRow] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="probes"):
            yield Static("", id="probes-title")
            yield ToneList(id="probes-list")
            does = "shows or makes it" if self._make else "shows it"
            yield Static(f"enter {does}   escape goes back", id="probes-note")

    def on_mount(self) -> None:
        title = Text.assemble(("probes of ", "muted"), (inert(self._key[0]), "accent bold"))
        self.query_one("#probes-title", Static).update(toned(title, self.app))
        self.run_worker(self._read(), group="probes")

    async def _read(self) -> None:
        try:
            self._rows = await asyncio.to_thread(self._known)
        except (LyrxError, OSError) as error:
            said = toned(Text(inert(str(error)), "alarm"), self.app)
            self.query_one("#probes-note", Static).update(said)
            return
        self._fill()

    def _known(self) -> list[ProbeRow]:
        return probe_rows(Store.open(self._store).run(self._key[0]), make=self._make)

    def _fill(self) -> None:
        options = self.query_one(OptionList)
        before = options.highlighted
        width = options.size.width or 60
        options.clear_options()
        lines = chooser_lines(self._rows, width - 2, self._key[1])
        options.add_options([Option(toned(line, self.app)) for line in lines])
        here = next((place for place, row in enumerate(self._rows) if row.id == self._key[1]), 0)
        options.highlighted = here if before is None else before
        options.focus()

    def on_resize(self, event: events.Resize) -> None:
        del event
        if self._rows:
            self.call_after_refresh(self._fill)

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        row = self._rows[message.option_index]
        self.dismiss(("probe", row.id) if row.id else ("granularity", row.granularity))

    def action_move(self, way: str) -> None:
        options = self.query_one(OptionList)
        options.action_cursor_down() if way == "down" else options.action_cursor_up()

    def action_leave(self) -> None:
        self.dismiss(None)
