"""What the widgets that draw themselves line by line have in common."""

from textual.geometry import Size
from textual.scroll_view import ScrollView


class LineView(ScrollView):
    """A ScrollView whose scrollbars always fit what it shows.

    Textual looks whether bars are needed when it arranges the screen, but leaves a ScrollView out whose contents are
    just as large as what its bars leave free: a bar that was needed for earlier contents then stays beside contents
    that need none.  Here they follow as soon as the contents have another size.
    """

    def watch_virtual_size(self, size: Size) -> None:
        if self.container_size:
            self._scroll_update(size)
