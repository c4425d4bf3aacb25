"""Where to compute, and how full it is."""

from dataclasses import dataclass

import torch

from .errors import DeviceError


def choose_device(wanted: str = "auto") -> torch.device:
    """'auto': the current CUDA GPU if there is one, else the CPU. Raises DeviceError when 'cuda' is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise DeviceError("run.device is 'cuda', but torch sees no CUDA GPU. Use --set run.device=cpu or auto.")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


@dataclass(frozen=True)
class DeviceState:
    """A device's name and memory in bytes (the host's for a CPU)."""

    name: str
    memory_used: int
    memory_total: int


def device_state(device: torch.device) -> DeviceState:
    """What is measured on, and how full it is."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return DeviceState(f"{device} {torch.cuda.get_device_name(device)}", total - free, total)
    import psutil

    memory = psutil.virtual_memory()
    return DeviceState(f"cpu, {torch.get_num_threads()} threads", memory.total - memory.available, memory.total)


_NATIVE = {
    "bf16": ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "sve_bf16"),
    "fp16": ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
"""Of torch.cpu.get_capabilities(): by type, the instructions of x86 and ARM of which one is enough."""


def emulates(device: torch.device, precision: str) -> bool:
    """Whether `device` has no instructions for "bf16" or "fp16", so that it is slower in them than in fp32.

    On a processor with AVX2 only, a convolution and a linear layer took 7 times as long as in fp32.
    """
    if precision not in _NATIVE:
        return False
    if device.type == "cuda":
        return precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False  # not known
    has = torch.cpu.get_capabilities()
    return not any(has.get(name) for name in _NATIVE[precision])


def slow_arithmetic(device: torch.device, setting: str, precision: str) -> str:
    """What to say of a `setting` that makes `device` slower rather than faster; '' where there is nothing to say."""
    if not emulates(device, precision):
        return ""
    what = "this GPU" if device.type == "cuda" else "this processor"
    return f"{setting} is {precision}, for which {what} has no instructions: it can be several times slower than fp32"


def deterministic() -> None:
    """Make the same seed give the same bits on the same machine, on a GPU too, where an algorithm allows it."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory with NaN helps to find a program's mistakes and costs every operation a pass over its output.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice."""
    # On the CPU torch says so in a plain RuntimeError.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
