"""What a device can do, and what is said where it cannot."""

import subprocess
import sys
from types import MappingProxyType

import pytest
import torch
from lyrx.engine.device import emulates, slow_arithmetic
from lyrx.engine.precision import _tf32
from running import batch, environment

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


def _asked_for() -> list[object]:
    """Everything that torch can be asked about TF32, an error included."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    questions = [
        lambda: matmul.fp32_precision, lambda: cudnn.conv.fp32_precision, lambda: cudnn.rnn.fp32_precision,
        lambda: matmul.allow_tf32, lambda: cudnn.allow_tf32, torch.get_float32_matmul_precision,
    ]  # fmt: skip
    found: list[object] = []
    for question in questions:
        try:
            found.append(str(question()).replace("none", "ieee"))  # what is not said is not allowed
        except RuntimeError:
            found.append("refused")
    return found


SETTINGS = [
    "pass",
    "torch.backends.cuda.matmul.allow_tf32 = True",
    "torch.backends.cudnn.allow_tf32 = False",
    "torch.set_float32_matmul_precision('medium')",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "torch.backends.fp32_precision = 'tf32'",
]


def _kept(setting: str, allowed: bool) -> None:
    exec(setting)
    before = _asked_for()
    with _tf32(allowed):
        inside = _asked_for()[:3]
    assert inside == ["tf32" if allowed else "ieee"] * 3, inside
    assert _asked_for() == before, (before, _asked_for())


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="this torch has the old names alone")
def test_whatever_the_caller_has_set_is_as_it_was_afterwards():
    # Each in a process of its own, which torch is loaded for once: it does not let everything be set back.
    code = f"""
import os, sys
from test_device import _kept
for setting in {SETTINGS!r}:
    for allowed in (False, True):
        child = os.fork()
        if not child:
            try:
                _kept(setting, allowed)
            except BaseException as error:
                print(setting, allowed, repr(error), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
print("all tried")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=120)
    assert done.stdout == "all tried\n", done.stdout + done.stderr
