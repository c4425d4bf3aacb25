"""An error in one handler or in one widget's drawing must not end the app.

Textual ends an app at the first exception that nobody caught: the loop that reads a widget's messages is left, and with
it all that the widget would have done. Here every widget of the app catches its own, when it handles a message and when
it draws, and tells the app (`failed`), which shows it among the incidents. What failed is left undone; the next key
works. Errors of workers, timers and callbacks need nothing of this: Textual asks the app's `_handle_exception` first.
"""

from asyncio import CancelledError
from collections.abc import Callable

from rich.segment import Segment
from textual.geometry import Region
from textual.message import Message
from textual.message_pump import MessagePump
from textual.strip import Strip
from textual.widget import Widget

_SAID = "× this could not be drawn"


def make_sturdy(pump: MessagePump, failed: Callable[[Exception], None], forgiving: Callable[[], bool]) -> None:
    """Have `pump` tell `failed` of its exceptions instead of ending by them, as long as `forgiving` says so.

    To be called before its messages are read.
    """
    dispatch = pump._dispatch_message

    async def _dispatch_message(message: Message) -> None:
        try:
            await dispatch(message)
        except CancelledError:
            raise
        except Exception as error:
            if not forgiving():
                raise
            failed(error)

    pump._dispatch_message = _dispatch_message
    if not isinstance(pump, Widget):
        return
    render = pump.render_lines

    def render_lines(crop: Region) -> list[Strip]:
        try:
            return render(crop)
        except Exception as error:
            if not forgiving():
                raise
            failed(error)
            return [_blank(crop.width, _SAID if y == 0 else "") for y in range(crop.y, crop.bottom)]

    pump.render_lines = render_lines


def _blank(width: int, text: str) -> Strip:
    return Strip([Segment(text[:width].ljust(width))], width)
