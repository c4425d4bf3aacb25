"""What a device can do, and what is said where it cannot."""

from types import MappingProxyType

import pytest
import torch
from lyrx.engine.device import emulates, slow_arithmetic
from running import batch

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("has", "bf16", "fp16"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "avx512_fp16": False}, True, True),
        ({"architecture": "x86_64", "avx2": True, "avx512_f": True, "avx512_bf16": True}, False, True),
        ({"architecture": "x86_64", "amx_bf16": True, "avx512_fp16": True}, False, False),
        ({"architecture": "aarch64", "neon": True, "bf16": True, "fp16_arith": True}, False, False),
        ({"architecture": "aarch64", "neon": True, "bf16": False, "fp16_arith": True}, True, False),
    ],
)
def test_what_a_processor_has_instructions_for(monkeypatch, has: dict, bf16: bool, fp16: bool):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: MappingProxyType(has))
    assert emulates(CPU, "bf16") is bf16
    assert emulates(CPU, "fp16") is fp16
    assert not any(emulates(CPU, name) for name in ("no", "fp32", "tf32"))


def test_the_names_are_those_that_torch_has_for_this_processor():
    has = torch.cpu.get_capabilities()
    assert {"avx512_bf16", "amx_bf16", "avx512_fp16", "amx_fp16"} <= set(has) or {"bf16", "fp16_arith"} <= set(has)


@pytest.mark.parametrize("native", [False, True])
def test_batch_says_that_a_precision_is_slow_here(tmp_path, monkeypatch, native: bool):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": native})
    _, events = batch(
        tmp_path / "lyrx.zarr",
        train={"precision": "bf16", "epochs": 1, "checkpoints": [0]},
        probe={"precision": "bf16"},
    )
    notes = [event.note for event in events if type(event).__name__ == "Noted"]
    said = [slow_arithmetic(CPU, setting, "bf16") for setting in ("train.precision", "probe.precision")]
    assert notes == ([] if native else said)
    assert native or "no instructions" in said[0]
