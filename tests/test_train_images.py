"""Training on images by real processes: two of them on uneven data, and one killed while others decode for it."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from images import image_folder
from lyrx.engine.augment import draw
from lyrx.engine.building import build_model
from lyrx.engine.data.base import Augment
from lyrx.engine.seeds import derive
from lyrx.engine.specfile import make_spec
from lyrx.engine.train import epoch_order
from lyrx.store import Store
from running import assert_trained_alike, batch, command, environment, launched, spec_values, weights, write_spec
from torch.nn import functional


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LYRX_CACHE", str(tmp_path / "cache"))


def sections(root: Path, *, epochs: int = 3, **data: Any) -> dict[str, dict[str, Any]]:
    """A convolutional network without BatchNorm, whose statistics would be each process's own, on varied images."""
    return {
        "model": {"name": "models_for_tests:images", "options": {"side": 12, "norm": False}},
        "data": {"name": "image-folder", "root": str(root), "augment": "crop-flip", "pad": 2, **data},
        "train": {"epochs": epochs, "batch_size": 8, "lr": 0.02, "checkpoints": [0, 1, epochs]},
        "probe": {"draws": 1},
    }


def test_training_on_varied_images_equals_a_plain_loop_bit_for_bit(tmp_path: Path):
    root = image_folder(tmp_path / "d", {"train": 9, "val": 5})
    values = sections(root)
    run, _ = batch(tmp_path / "s.zarr", **values)
    spec = make_spec(spec_values(**values))
    data = spec.data.load()
    mean, std = data.mean_std
    pixels = torch.from_numpy(np.array(data.train_inputs[:]))
    model = build_model(spec.model, (3, 12, 12), 3, derive(3, "init"))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, fused=True)
    for epoch in (1, 2, 3):
        drawn = draw(Augment(True, True, 2), 27, derive(3, "augment", epoch), (3, 12, 12)).tolist()
        varied = []
        for image, (top, left, flip) in zip(functional.pad(pixels, [2] * 4), drawn, strict=True):
            part = image[:, top : top + 12, left : left + 12]
            varied.append(part.flip(2) if flip else part)
        inputs = torch.stack(varied).to(torch.float32).sub(mean).div(std)
        for indices in epoch_order(3, epoch, 27).split(8):
            optimiser.zero_grad()
            functional.cross_entropy(model(inputs[indices]), torch.from_numpy(data.train_targets)[indices]).backward()
            optimiser.step()
    assert weights(run, 3) == {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


@pytest.mark.slow
def test_two_processes_train_on_uneven_varied_images_as_one_does(tmp_path: Path):
    # 27 examples in batches of 8 leave 3, of which one process gets 2; 15 test examples on 2.
    root = image_folder(tmp_path / "d", {"train": 9, "val": 5})
    one, _ = batch(tmp_path / "one.zarr", **sections(root))
    for name, data in (("resident", {}), ("streamed", {"memory": "1B", "workers": 1})):
        spec = write_spec(tmp_path / f"{name}.toml", **sections(root, **data))
        code, output, errors = launched("batch", spec, "--store", tmp_path / f"{name}.zarr")
        assert code == 0, errors
        assert "2 processes" in output
        assert ("decoded in every epoch" in output) == (name == "streamed")
        assert_trained_alike(Store.open(tmp_path / f"{name}.zarr").run("r"), one, epoch=3, atol=1e-5)
    first, two = (Store.open(tmp_path / f"{name}.zarr").run("r") for name in ("resident", "streamed"))
    assert weights(first, 3) == weights(two, 3)


@pytest.mark.slow
def test_a_killed_process_goes_on_at_once_though_others_decoded_for_it(tmp_path: Path):
    root = image_folder(tmp_path / "d", {"train": 9, "val": 5})
    whole, _ = batch(tmp_path / "whole.zarr", **sections(root, epochs=20))
    spec = write_spec(tmp_path / "spec.toml", **sections(root, epochs=20, memory="1B", workers=2))
    call = command("batch", spec, "--store", tmp_path / "killed.zarr")
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "epoch 3/20" in line:
                helpers = psutil.Process(process.pid).children(recursive=True)
                process.send_signal(signal.SIGKILL)
                break
        else:
            pytest.fail("never came to epoch 3")
    assert len(helpers) >= 2
    # Those that decoded may live a moment longer, but hold nothing that the next one needs.
    assert Store.open(tmp_path / "killed.zarr").run("r").status() == "interrupted"
    done = subprocess.run(call, capture_output=True, text=True, env=environment(), timeout=240)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch" in done.stdout
    assert not psutil.wait_procs(helpers, timeout=30)[1]
    killed = Store.open(tmp_path / "killed.zarr").run("r")
    assert weights(killed, 20) == weights(whole, 20)
