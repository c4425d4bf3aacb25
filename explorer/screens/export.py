"""The dialog that writes what is shown to a file: what, in which format, where."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Input, Static

from ...store import LyrxError, inert
from ..core.export import FORMATS, ExportError, Format, file_name
from ..core.shot import Shot
from ..core.texts import shorten
from ..exporting import checked_path, size_text, write_file
from ..widgets.choice import Choice
from .base import LyrxDialog

SHOT_FORMATS = (
    replace(FORMATS["svg"], about="the app's picture, in vectors"),
    replace(FORMATS["png"], about="the app's picture, in pixels"),
    replace(FORMATS["txt"], about="what is on the screen, letter by letter"),
)


@dataclass(frozen=True)
class Offer:
    """Something that can be written to a file."""

    title: str
    name: str
    """Of the file, without its suffix."""
    formats: tuple[Format, ...]
    make: Callable[[Format], bytes]
    """Its bytes; called in a thread."""


class ExportDialog(LyrxDialog):
    """Write one of `offers` to a file; `done` hears where it went."""

    DEFAULT_CSS = """
    ExportDialog Horizontal { height: 1; width: 68; max-width: 100%; }
    ExportDialog .label { width: 8; color: $lyrx-muted; }
    ExportDialog #heading { margin: 0 0 1 0; }
    ExportDialog #about { width: 60; max-width: 100%; height: 1; margin: 0 0 1 8; color: $lyrx-muted; }
    ExportDialog.-low #heading, ExportDialog.-low #about { margin: 0 0 0 0; }
    ExportDialog Input, ExportDialog Input:focus {
        height: 1; width: 1fr; border: none; padding: 0; background: $surface; color: $lyrx-text;
    }
    ExportDialog #told {
        width: 68; max-width: 100%; height: auto; min-height: 1; max-height: 5; margin: 1 0 0 0; color: $lyrx-muted;
    }
    ExportDialog #told.-alarm { color: $lyrx-alarm; text-style: bold; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "write", "write", id="export.write"),
        Binding("tab,down", "next", "next field", id="export.next"),
        Binding("shift+tab,up", "before", "field before", id="export.previous", show=False),
    ]

    def __init__(self, heading: str, offers: Sequence[Offer], done: Callable[[str], None], folder: Path | None = None):
        super().__init__()
        self.heading, self.offers, self.done = heading, tuple(offers), done
        self.folder = folder
        self.busy = False
        self._over: Path | None = None
        """A file that was asked about: Enter again writes over it."""
        self._suggested = ""

    def content(self) -> ComposeResult:
        yield Static("", classes="head", id="heading")
        with Horizontal():
            yield Static("what", classes="label")
            yield Choice([offer.title for offer in self.offers], id="what")
        with Horizontal():
            yield Static("format", classes="label")
            yield Choice([form.title for form in self.offers[0].formats], id="format")
        yield Static("", id="about")
        with Horizontal():
            yield Static("file", classes="label")
            yield Input(id="path", select_on_focus=False)
        yield Static("", id="told")

    def on_mount(self) -> None:
        self.put("#heading", Text.assemble(("Write  ", "bold"), (inert(self.heading), "accent bold")))
        self._suggest()
        self.query_one("#what" if len(self.offers) > 1 else "#format").focus()

    # What is asked for

    @property
    def offer(self) -> Offer:
        return self.offers[self.query_one("#what", Choice).chosen]

    @property
    def form(self) -> Format:
        return self.offer.formats[self.query_one("#format", Choice).chosen]

    def on_choice_changed(self) -> None:
        formats = self.query_one("#format", Choice)
        titles = [form.title for form in self.offer.formats]
        if titles != list(formats.titles):
            before = formats.titles[formats.chosen]
            formats.offer(titles, titles.index(before) if before in titles else 0)
        self._suggest()

    def _suggest(self) -> None:
        """Say what the format is, and give the file's name its suffix; a name of one's own keeps the rest."""
        path, form = self.query_one("#path", Input), self.form
        self.put("#about", Text(form.about))
        known = {one.suffix for one in FORMATS.values()}
        if path.value == self._suggested:
            name = self.offer.name + form.suffix
            path.value = str(self.folder / name) if self.folder else name
            self._suggested = path.value
        elif Path(path.value).suffix.lower() in known:
            path.value = str(Path(path.value).with_suffix(form.suffix))
        path.cursor_position = len(path.value)
        self.tell("")

    def on_input_changed(self) -> None:
        if not self._follow() and self._over is not None:
            self.tell("")

    def _follow(self) -> bool:
        """Take the format that the suffix of the name means, where that is another one; whether there is a word on it.

        A suffix that no format has, or none, means nothing: the file is what was chosen, under the name that was typed.
        """
        suffix = PurePath(self.query_one("#path", Input).value.strip()).suffix.lower()
        meant = next((form for form in FORMATS.values() if form.suffix == suffix), None)
        if meant is None or suffix == self.form.suffix:
            return False
        suffixes = [form.suffix for form in self.offer.formats]
        if suffix not in suffixes:
            there = ", ".join(dict.fromkeys(suffixes))
            self.tell(
                f"'{self.offer.title}' cannot be {meant.title}, as {suffix} says. "
                f"Choose another of what there is, or end the name in {there}.",
                alarm=True,
            )
            return True
        formats = self.query_one("#format", Choice)
        formats.offer(formats.titles, suffixes.index(suffix))
        self.put("#about", Text(self.form.about))
        self.tell(f"The name ends in {suffix}: the format is {self.form.title} now.")
        return True

    def on_input_submitted(self) -> None:
        self.action_write()

    def tell(self, text: str, *, alarm: bool = False) -> None:
        """Say something below the fields."""
        self._over = None
        told = self.query_one("#told", Static)
        told.update(Text(text))
        told.set_class(alarm, "-alarm")

    def action_next(self) -> None:
        self.focus_next()

    def action_before(self) -> None:
        self.focus_previous()

    # Writing

    def action_write(self) -> None:
        """Write the file; one that is there already only when asked a second time."""
        if not self.busy:
            if self._follow() and self.query_one("#told").has_class("-alarm"):
                return
            self.busy = True
            self.run_worker(self._write(self.offer, self.form, self.query_one("#path", Input).value), group="export")

    async def _write(self, offer: Offer, form: Format, named: str) -> None:
        try:
            if not named.strip():
                raise ExportError("name a file.")
            path, there = await asyncio.to_thread(_look, Path(named.strip()))
            if there is not None and path != self._over:
                self.tell(
                    f"{shorten(named.strip(), 40)} is there already ({size_text(there)}). "
                    "Enter again writes over it; another name keeps it.",
                    alarm=True,
                )
                self._over = path
                return
            self.tell("writing …")
            data = await asyncio.to_thread(offer.make, form)
            await asyncio.to_thread(write_file, path, data)
        except (LyrxError, OSError) as error:
            self.tell(inert(str(error)), alarm=True)
        except Exception as error:  # whatever a library that draws may raise: the app stays
            self.tell(
                f"it could not be made: {type(error).__name__}: {inert(str(error))}. Try another format.", alarm=True
            )
        else:
            self.dismiss()
            self.done(f"wrote {inert(str(path))} ({form.title}, {size_text(len(data))})")
        finally:
            self.busy = False


def _look(path: Path) -> tuple[Path, int | None]:
    """Where the file would be, and how large it is if it is there already."""
    path = checked_path(path)
    return path, path.stat().st_size if path.exists() else None


def shot_of(app: App[Any], screen: Screen[Any]) -> Shot:
    """The screen as it is now."""
    # (The compositor is how Textual's own export_screenshot gets at it, which cannot leave out what lies above.)
    colours = app.get_css_variables()
    lines = [list(strip) for strip in screen._compositor.render_strips()]
    return Shot(lines, screen.size.width, colours.get("lyrx-text", "#d0d0d0"), screen.background_colors[1].hex6.lower())


def shot_offer(screen: Screen[Any], name: str) -> Offer:
    """The app's picture, taken now."""
    shot = shot_of(screen.app, screen)
    return Offer("screenshot", name, SHOT_FORMATS, lambda form: shot.encode(form.suffix, "lyrx"))


def ask(
    screen: Screen[Any], heading: str, offers: Sequence[Offer], done: Callable[[str], None], shot: str | None = None
) -> None:
    """Ask which of `offers`, or the picture of `screen`, is written and where; `done` hears where it went.

    `shot` is what the picture's file is called, without its suffix.
    """
    picture = shot_offer(screen, shot or file_name(heading, "screen"))
    screen.app.push_screen(ExportDialog(heading, [*offers, picture], done))
