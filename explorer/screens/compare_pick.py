"""Which runs to compare one with: a small list that narrows as one types."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ...store import LyrxError, Store, inert
from ..core.texts import shorten
from ..widgets.toned import toned
from ..widgets.tonelist import ToneList
from .base import LyrxDialog

MOST = 8
"""So many others can be chosen."""
_SHOWN = 200
"""Lines in the list; who has more runs types a part of a name."""


@dataclass(frozen=True)
class Known:
    """A run that can be chosen."""

    name: str
    model: str
    data: str

    def holds(self, words: Sequence[str]) -> bool:
        """Whether every word is in its name, model or data."""
        text = f"{self.name} {self.model} {self.data}".lower()
        return all(word in text for word in words)


def read_runs(store: Path, run: str) -> list[Known]:
    """The other runs of a store: those of the same model first. Raises LyrxError or OSError."""
    found, _ = Store.open(store).runs()
    known = [Known(one.name, one.info.model, one.info.data) for one in found]
    own = next((one for one in known if one.name == run), None)
    others = [one for one in known if one.name != run]
    return sorted(others, key=lambda one: own is None or one.model != own.model)


class PickRuns(LyrxDialog):
    """Pick one or more runs to compare `run` with; `done` is told their names, when some were picked."""

    DEFAULT_CSS = """
    PickRuns > .dialog { width: 76; }
    PickRuns #pick-query, PickRuns #pick-query:focus { height: 1; border: none; padding: 0; background: $surface; }
    PickRuns OptionList, PickRuns OptionList:focus {
        height: auto; max-height: 14; border: none; padding: 0; margin: 1 0 0 0; background: $panel;
    }
    PickRuns #pick-note { height: auto; color: $lyrx-muted; }
    PickRuns.-low OptionList { max-height: 5; margin: 0; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "compare", id="pick.choose", priority=True),
        Binding("tab", "mark", "mark several", id="pick.mark", key_display="tab", priority=True),
        Binding("down", "step(1)", "down", id="pick.down", show=False, priority=True),
        Binding("up", "step(-1)", "up", id="pick.up", show=False, priority=True),
        Binding("escape", "dismiss", "close", id="dialog.close"),
    ]

    def __init__(self, store: Path, run: str, done: Callable[[list[str]], None]):
        super().__init__()
        self._store, self._run, self._done = store, run, done
        self._known: list[Known] = []
        self.marked: list[str] = []
        """Names, in the order in which they were marked."""
        self.shown: list[Known] = []

    def content(self) -> ComposeResult:
        yield Static("", id="pick-head", classes="head")
        yield Input(id="pick-query", placeholder="a part of a name, model or data set")
        yield ToneList(id="pick-list")
        yield Static("", id="pick-note")

    def on_mount(self) -> None:
        self.put("#pick-head", Text.assemble("Compare ", (shorten(self._run, 40), "accent bold"), " with"))
        self.query_one(OptionList).can_focus = False
        self.query_one(Input).focus()
        self.query_one("#pick-note", Static).update(Text("reading …"))
        self.run_worker(self._read(), group="pick")

    async def _read(self) -> None:
        try:
            self._known = await asyncio.to_thread(read_runs, self._store, self._run)
        except (LyrxError, OSError) as error:
            self.query_one("#pick-note", Static).update(Text(inert(str(error))))
            return
        self._fill()

    def on_input_changed(self) -> None:
        self._fill()

    def _fill(self, at: int = 0) -> None:
        words = self.query_one(Input).value.lower().split()
        found = [one for one in self._known if one.holds(words)]
        self.shown = found[:_SHOWN]
        room = max(20, (self.query_one(OptionList).size.width or 70) - 2)
        listed = self.query_one(OptionList)
        listed.clear_options()
        listed.add_options(Option(toned(self._line(one, room), self.app)) for one in self.shown)
        if self.shown:
            listed.highlighted = min(at, len(self.shown) - 1)
        note = ""
        if not self._known:
            note = "this store has no other run."
        elif not found:
            note = "no run is called so."
        elif len(found) > _SHOWN:
            note = f"{len(found) - _SHOWN:,} more: type a part of the name."
        self.query_one("#pick-note", Static).update(Text(note))

    def _line(self, run: Known, room: int) -> Text:
        about = f"{inert(run.model)} on {inert(run.data)}"
        line = Text(no_wrap=True)
        line.append("◆ " if run.name in self.marked else "  ", "accent bold")
        name = shorten(run.name, max(12, room - cell_len(about) - 4))
        line.append(name.ljust(26) if len(name) <= 26 and room > 60 else name, "bold")
        line.append(f"  {about}", "muted")
        line.truncate(room, overflow="ellipsis")
        return line

    @property
    def here(self) -> Known | None:
        """The run under the cursor."""
        at = self.query_one(OptionList).highlighted
        return self.shown[at] if at is not None and at < len(self.shown) else None

    def on_option_list_option_selected(self) -> None:
        self.action_choose()

    def action_step(self, step: int) -> None:
        listed = self.query_one(OptionList)
        if step > 0:
            listed.action_cursor_down()
        else:
            listed.action_cursor_up()

    def action_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away."""
        if self.here is None:
            return
        if self.here.name in self.marked:
            self.marked.remove(self.here.name)
        elif len(self.marked) < MOST:
            self.marked.append(self.here.name)
        at = self.query_one(OptionList).highlighted or 0
        self._fill(at)
        self.action_step(1)

    def action_choose(self) -> None:
        """Compare with the marked runs, or with the one under the cursor."""
        names = self.marked or ([self.here.name] if self.here else [])
        if names:
            self.dismiss()
            self._done(list(names))
