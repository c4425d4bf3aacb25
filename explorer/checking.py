"""Is this spec right, and what would become of it?  Asked of `lyrx batch --dry-run` in a process of its own.

The app knows no specs: they are the engine's.  A check takes half a second and is given up as soon as somebody asks
about another spec.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import trainings
from .core.specs import Checked
from .specfiles import stamp_of

_KEPT = 200
"""Answers that are remembered."""
_PATIENCE = 60.0
"""Seconds for an answer."""


class SpecChecker:
    """Answers what a dry run says of a spec, remembering answers while file, options and store stay what they were."""

    def __init__(self, store: Path):
        self.store = store
        self._known: dict[Any, Checked] = {}

    def known(self, spec: Path, options: Sequence[str]) -> Checked | None:
        """The answer, if it is remembered."""
        return self._known.get(self._key(spec, options))

    def forget(self) -> None:
        """Ask anew from now on: something may have happened to the store."""
        self._known.clear()

    async def check(self, spec: Path, options: Sequence[str]) -> Checked:
        """The answer of a dry run.  Cancelled, it ends the process."""
        key = await asyncio.to_thread(self._key, spec, options)
        if key not in self._known:
            found = await self._ask(spec, options)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = found
        return self._known[key]

    def _key(self, spec: Path, options: Sequence[str]) -> Any:
        return spec, stamp_of(spec), tuple(options), stamp_of(self.store / "runs")

    async def _ask(self, spec: Path, options: Sequence[str]) -> Checked:
        command = trainings.batch_command(spec, self.store, [*options, "--dry-run", "--json"])
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            return Checked(error=f"the spec cannot be checked: {error.strerror or error}: {error.filename}")
        try:
            out, errors = await asyncio.wait_for(process.communicate(), _PATIENCE)
        except TimeoutError:
            return Checked(error=f"the spec cannot be checked: no answer within {_PATIENCE:g} s.")
        finally:
            with contextlib.suppress(ProcessLookupError):
                if process.returncode is None:
                    process.kill()
        with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
            return Checked.from_json(json.loads(out)[0])
        said = errors.decode(errors="replace").strip().removeprefix("lyrx: ")
        return Checked(error=said or f"the check ended without a word (exit code {process.returncode}).")
