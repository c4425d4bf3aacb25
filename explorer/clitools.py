"""What the commands of `lyrx` have in common: their store, their errors, how they end."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ..store import LyrxError, inert

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_STORE = "lyrx.zarr"

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="STORE",
        help="The store; default: $LYRX_STORE, then ./lyrx.zarr.",
        show_default=False,
    ),
]


def store_path(given: Path | None) -> Path:
    """The store that a command works on: `--store`, then LYRX_STORE, then ./lyrx.zarr."""
    return given or Path(os.environ.get("LYRX_STORE") or DEFAULT_STORE)


def leads() -> bool:
    """Whether this process speaks for its team: under a launcher only the first one does."""
    return os.environ.get("RANK", "0") == "0"


def complain(message: str, *, alone: bool = False) -> None:
    """Say on standard error what is wrong; of a team only the first process does, unless nobody else can."""
    if leads() or alone:
        print(f"lyrx: {inert(message, keep=chr(10))}", file=sys.stderr)


def command(function: F) -> F:
    """Turn lyrx's errors into one message and an exit code: 2 bad input, 1 a run failed, 130 interrupted."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except LyrxError as error:
            complain(str(error), alone=getattr(error, "unheard", False))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            complain("interrupted. What was finished is kept; the same command goes on from there.")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader of a pipe has gone (`lyrx show | head`). Nothing is wrong, and nobody to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if function.__name__ not in ("batch", "probe"):
                raise typer.Exit(0) from None
            complain(
                "nobody reads the output any more. What was finished is kept; the same command goes on from there."
            )
            raise typer.Exit(1) from None
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            said = f"the system refused: {error.strerror or error}{where}. What was finished is kept."
            complain(said, alone=getattr(error, "unheard", False))
            raise typer.Exit(1) from None

    return wrapped  # type: ignore[return-value]


def end_with(problems: Any) -> None:
    """Name what is damaged; a command that met damage has not succeeded."""
    for problem in problems:
        complain(str(problem))
    if problems:
        raise typer.Exit(2)
