"""A heatmap among others: its cursor is named by its layer and column, and it tells when it is scrolled."""

from textual.message import Message

from .heatmap import Heatmap


class SceneMap(Heatmap):
    """One of several heatmaps of one frame. Nothing is measured in it."""

    class Scrolled(Message):
        """Another part of it is seen."""

        def __init__(self, source: "SceneMap"):
            super().__init__()
            self.source = source

    @property
    def row_key(self) -> str | None:
        """Key of the row under the cursor."""
        return self.row.key if self.row else None

    @property
    def column_label(self) -> str | None:
        """Label of the column under the cursor."""
        column = self.cursor[1]
        return self.scene.columns[column].label if self.scene and column < len(self.scene.columns) else None

    def go_to(self, row: str | None, column: str | None) -> None:
        """Put the cursor at a row and a column, where they are there."""
        if self.scene is not None:
            down, right = self.scene.row_of(row), self.scene.column_of(column)
            self.move_to(self.cursor[0] if down is None else down, self.cursor[1] if right is None else right)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing is measured here."""
        return action != "choose"

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Scrolled(self))

    def watch_scroll_x(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_x(old_value, new_value)
        self.post_message(self.Scrolled(self))
