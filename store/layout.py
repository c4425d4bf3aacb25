"""Where things are in a store, and how they are named.

    STORE/zarr.json                          group; attributes.lyrx.schema
    STORE/runs/RUN/zarr.json                 group; attributes.lyrx: name, spec, data, tensors, versions
    STORE/runs/RUN/checkpoint/               int64[checkpoint]: the epoch of each checkpoint
                  /checkpoint/commits/I.json commit record of checkpoint I
                  /checkpoint/{lock,writer}  the writer's lock, and who holds it
                  /checkpoint/failure        why the last training or probe ended in an error
    STORE/runs/RUN/weights/TENSOR/           [checkpoint, *tensor]
    STORE/runs/RUN/metrics/history/          float64[epoch, quantity], one commit record an epoch
    STORE/runs/RUN/resume/                   uint8[slot, byte]: optimiser state of the last epoch (until trained)
    STORE/runs/RUN/probes/PROBE/zarr.json    group; attributes.lyrx: layers, columns, fingerprint
                  /probes/PROBE/estimate/    float64[layer, column, draw, quantity], one commit record a cell
                  /probes/PROBE/network/     float64[checkpoint, quantity]: the whole network at each checkpoint
                  /probes/PROBE/distance/    float64[checkpoint, layer, norm]
                  /probes/PROBE/order/       int64[example]: the order in which cells see the test examples
                  /probes/PROBE/baseline/    int64[example]: the trained network's predictions; one record for both
                  /probes/PROBE/estimate/fallbacks/X.json  why a layer is not replayed
                  /probes/PROBE/estimate/notes/SUBJECT.json  what to know of all numbers

Everything that is not Zarr (commit records, locks) lies *inside* an array's folder: Zarr lists the members of groups,
never those of arrays, so a stranger who walks the hierarchy meets arrays and groups only.
"""

from urllib.parse import quote

from .errors import LyrxError
from .files import PARTIAL

SCHEMA = 3
"""Version of this layout. A reader refuses a store or a run with a higher one.

2: records of small numbers carry the numbers; probes have `order` and `baseline`, and more kinds of columns.
3: an imported checkpoint may lack tensors, and probes then have cells that are not available.
"""

ATTRIBUTE = "lyrx"
"""The one key that lyrx uses in a Zarr node's attributes."""

CHUNK_BYTES = 32 * 2**20
"""A tensor's chunk is split above this size."""

_LONGEST = 180


class NameTooLongError(LyrxError, ValueError):
    """A name that cannot become a folder's name."""


def folder_name(name: str) -> str:
    """The folder for a run or tensor called `name`: reversible, safe on every file system, legal in Zarr.

    Zarr forbids names made of dots and names that start with `__`.  Raises NameTooLongError.
    """
    encoded = quote(name, safe="", errors="surrogatepass")
    if encoded.startswith((".", "_")):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    if encoded.endswith(PARTIAL):  # what is being written is called so, and swept when its writer is dead
        encoded = f"{encoded.removesuffix(PARTIAL)}%2E{PARTIAL[1:]}"
    if not encoded or len(encoded) > _LONGEST:
        raise NameTooLongError(
            f"the name '{name[:40]}' takes {len(encoded)} characters as a folder's name; 1 to {_LONGEST} are allowed. "
            "Choose a shorter one."
        )
    return encoded


def chunk_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The chunk of one tensor at one checkpoint: the whole tensor, split along its first axes above CHUNK_BYTES."""
    chunk = [max(1, length) for length in shape]
    for axis in range(len(chunk)):
        rest = itemsize
        for length in chunk[axis + 1 :]:
            rest *= length
        if rest * chunk[axis] <= CHUNK_BYTES:
            break
        chunk[axis] = max(1, CHUNK_BYTES // rest)
    return tuple(chunk)
