"""A list whose chosen line can be read whatever the tones of its words are."""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widgets import OptionList

from ..themes import colours_of


class ToneList(OptionList):
    """An OptionList: on its chosen line words have the tones made for what is behind it (`Colours.chosen`)."""

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        at = self.scroll_offset.y + y
        # (Textual knows an option as one text with one set of colours, chosen or not.)
        if at >= len(self._lines) or self._lines[at][0] != self.highlighted:
            return strip
        colours = colours_of(self.app.current_theme)
        lifted = {
            colour: Style(color=colours.chosen[name]) for name, colour in colours.tones.items() if " " not in colour
        }
        return Strip([_lift(segment, lifted) for segment in strip], strip.cell_length)


def _lift(segment: Segment, lifted: dict[str, Style]) -> Segment:
    style = segment.style
    if style is None or style.color is None or style.color.triplet is None:
        return segment
    other = lifted.get(style.color.triplet.hex)
    return segment if other is None else Segment(segment.text, style + other, segment.control)
