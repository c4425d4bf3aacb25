"""Text of the core, in the colours of the theme."""

from rich.text import Text
from textual.app import App
from textual.content import Content, Span
from textual.style import Style

from ..themes import colours_of


def toned(text: Text | str, app: App[object]) -> Content:
    """`text` as Textual draws it: words of :mod:`..core.tones` become colours. It is text, never markup."""
    if isinstance(text, str):
        return Content(text)
    known = colours_of(app.current_theme).tones
    spans = [
        Span(
            span.start,
            span.end,
            named(span.style, known) if isinstance(span.style, str) else Style.from_rich_style(span.style),
        )
        for span in text.spans
    ]
    if text.style:
        own = named(text.style, known) if isinstance(text.style, str) else Style.from_rich_style(text.style)
        spans.insert(0, Span(0, len(text.plain), own))
    return Content(text.plain, spans)


def named(style: str, known: dict[str, str]) -> Style:
    """The style that these words name: tones, and words such as 'bold' and 'italic'."""
    return Style.parse(" ".join(known.get(word, word) for word in style.split()))
