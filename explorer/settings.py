"""A person's settings against what there is: themes and colour scales."""

from .config import Config, load


def theme_names() -> tuple[str, ...]:
    """All themes, the app's own first."""
    from textual.theme import BUILTIN_THEMES

    from .themes import OURS

    return (*OURS, *sorted(BUILTIN_THEMES))


def ramp_names() -> tuple[str, ...]:
    """All colour scales, the usual one first."""
    from .core import ramp

    return tuple(getattr(ramp, "RAMPS", ()))


def settings() -> Config:
    """Read them. Raises ConfigError if LYRX_CONFIG names a file that is not there or is no TOML."""
    return load(theme_names(), ramp_names())
