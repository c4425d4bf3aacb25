"""The command palette: all that can be done on the screen below, found by typing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from ...store import LyrxError, Store, inert
from ..core.commands import Command, ranked
from ..core.keys import APP, LOOKING, MEASURING, MOVING, TAKING
from ..core.picture import METRICS
from ..core.query import KEYS
from ..widgets.toned import toned
from ..widgets.tonelist import ToneList
from .base import LyrxDialog
from .help import active_keys

_ORDER = (MEASURING, LOOKING, TAKING, APP, MOVING)

_MOST = 200
"""Lines that are shown at once; a store may have thousands of runs."""


@dataclass(frozen=True)
class Doable(Command):
    """A command with what it does."""

    do: Callable[[], Awaitable[Any] | Any] = lambda: None


class Palette(LyrxDialog):
    """Type a few letters of what is wanted; enter does it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+p", "dismiss", "close", id="palette.close", show=False),
        Binding("down,ctrl+n", "move(1)", "down", id="palette.down", show=False, priority=True),
        Binding("up", "move(-1)", "up", id="palette.up", show=False, priority=True),
        Binding("pagedown", "move(10)", "a page down", id="palette.page-down", show=False, priority=True),
        Binding("pageup", "move(-10)", "a page up", id="palette.page-up", show=False, priority=True),
    ]

    DEFAULT_CSS: ClassVar[str] = """
    Palette { align: center top; }
    Palette > .dialog { width: 64; margin: 2 0 0 0; padding: 1 1; }
    Palette.-narrow > .dialog { margin: 0; padding: 0 1; }
    Palette Input { height: 1; border: none; padding: 0 1; background: $surface; }
    Palette Input:focus { border: none; }
    Palette OptionList { height: auto; max-height: 20; border: none; padding: 0; margin: 1 0 0 0; }
    Palette OptionList { scrollbar-size: 1 1; background: $panel; }
    Palette OptionList > .option-list--option { padding: 0 1; }
    Palette.-normal OptionList { max-height: 14; }
    Palette.-low OptionList { max-height: 7; }
    """

    def __init__(self, screen: Screen):
        super().__init__()
        self._commands = list(screen_commands(screen))
        self._shown: list[Doable] = []

    def content(self) -> ComposeResult:
        yield Input(placeholder="what to do", id="wanted")
        yield ToneList(id="found", compact=True)

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self.query_one(Input).focus()
        self._find("")
        self.run_worker(self._add_runs())

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._draw)

    async def _add_runs(self) -> None:
        """The runs of the store, behind all else: reading their names may take a while."""
        try:
            names = await asyncio.to_thread(_run_names, self.lyrx.store_path)
        except (LyrxError, OSError):
            return  # the screen below says it
        self._commands += [Doable(f"run {inert(name)}", "open", partial(self.lyrx.open_run, name)) for name in names]
        self._find(self.query_one(Input).value)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._find(event.value)

    def _find(self, query: str) -> None:
        self._shown = ranked(query, self._commands, _MOST)
        self._draw()

    def _draw(self) -> None:
        found = self.query_one(OptionList)
        here = found.highlighted
        found.clear_options()
        # Padding of the lines and of the frame, and a scroll bar.
        width = max(20, min(64, self.size.width) - 6)
        found.add_options(Option(toned(_line(command, width), self.app)) for command in self._shown)
        if self._shown:
            found.highlighted = here if here is not None and here < len(self._shown) and here > 0 else 0
        else:
            found.add_option(Option(toned(Text("nothing is called so", "muted"), self.app), disabled=True))

    def on_input_submitted(self) -> None:
        here = self.query_one(OptionList).highlighted
        if here is not None and here < len(self._shown):
            self._choose(self._shown[here])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._choose(self._shown[event.option_index])

    def action_move(self, lines: int) -> None:
        found = self.query_one(OptionList)
        if self._shown:
            found.highlighted = min(len(self._shown) - 1, max(0, (found.highlighted or 0) + lines))

    def _choose(self, command: Doable) -> None:
        self.dismiss()
        # Done on the screen below, once it is the one that is shown.
        self.app.call_later(command.do)


def _run_names(store: Path) -> list[str]:
    runs, _ = Store.open(store).runs()
    return [run.name for run in runs]


def _line(command: Command, width: int) -> Text:
    hint = Text(command.hint, "accent" if command.hint else "")
    title = Text(command.title, "text", no_wrap=True)
    title.truncate(max(8, width - hint.cell_len - 1), overflow="ellipsis")
    title.append(" " * max(1, width - title.cell_len - hint.cell_len))
    return title.append_text(hint)


def screen_commands(screen: Screen) -> Iterator[Doable]:
    """Everything that can be done on `screen` now, the runs to go to left out."""
    from ..app import LyrxApp

    app = screen.app
    assert isinstance(app, LyrxApp)
    # Moving is what the keys are best at: last.
    for key, action, node in sorted(active_keys(screen), key=lambda one: _ORDER.index(one[0].group)):
        if key.id != "app.palette":
            yield Doable(key.description, " ".join(key.keys), partial(app.run_action, action, node))
    yield Doable("quit lyrx", "", partial(app.run_action, "app.quit"))
    sort_by = getattr(screen, "sort_by", None)
    if sort_by is not None:
        # Columns for which there is no room, too: those have no head to click, and their key passes them over.
        for column in KEYS:
            yield Doable(f"sort by {column}", _here(column == getattr(screen, "sort", "")), partial(sort_by, column))
    view, restore = getattr(screen, "view", None), getattr(screen, "restore", None)
    if view is not None and restore is not None:
        for name, metric in METRICS.items():
            yield Doable(
                f"metric {metric.title}", _here(view.metric == name), partial(restore, view.with_(metric=name))
            )
        for number, name in enumerate(app.ramp_names()):
            chosen = view.ramp == name or (not view.ramp and number == 0)
            yield Doable(f"colour scale {name}", _here(chosen), partial(restore, view.with_(ramp=name)))
    for name in sorted(app.available_themes, key=lambda name: (not name.startswith("lyrx"), name)):
        yield Doable(f"theme {name}", _here(name == app.theme), partial(app.choose_theme, name))


def _here(chosen: bool) -> str:
    return "✓" if chosen else ""
