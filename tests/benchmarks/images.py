"""Images a second of an epoch's inputs: kept in memory, streamed, by hand on tensors, and by a plain DataLoader.

    python tests/benchmarks/images.py [--data FOLDER] [--images 5000] [--workers 2] [--resize 256 --size 224]

All give the same: normalised float32 batches of 128 that were padded, cropped and flipped at random.  With --data the
images of FOLDER/train/<class>/, else random JPEG files of 32 x 32.  The ways take turns, in another order each round;
medians of the rounds, and the ratios of each round.

- resident: `epoch()` of images kept as uint8
- by hand: the same uint8 tensors, a Python loop that crops and flips image by image, one normalisation a batch
- no variation: the same tensors without any of it, only a batch's index and normalisation
- streamed: `epoch()` of images that do not fit, decoded by worker processes
- DataLoader: torchvision's ImageFolder with the same transforms (v2) and as many workers
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lyrx.engine.data import data_spec
from lyrx.engine.data.base import DataSet
from lyrx.engine.data.files import ImageFiles
from lyrx.engine.decoding import read
from lyrx.engine.examples import training_examples
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

BATCH = 128
PAD = 4


def random_folder(root: Path, count: int) -> Path:
    """Noise, as JPEG: the dearest there is to decode."""
    generator = np.random.default_rng(0)
    for half, images in (("train", count), ("val", 20)):
        for number in range(images):
            folder = root / half / f"class{number % 10}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.jpg")
    return root


def first_images(data: DataSet, count: int) -> DataSet:
    """With the training half cut down to `count` images, evenly taken from all of it."""
    from dataclasses import replace

    assert isinstance(data.train_inputs, ImageFiles)
    chosen = np.linspace(0, len(data.train_inputs) - 1, min(count, len(data.train_inputs))).astype(np.int64)
    return replace(data, train_inputs=data.train_inputs.only(chosen), train_targets=data.train_targets[chosen])


def by_hand(pixels: Tensor, targets: Tensor, order: Tensor, size: int, norms: tuple[float, float]) -> Iterable[Any]:
    """What one would write for images on the device."""
    mean, std = norms
    places = pixels.shape[-1] + 2 * PAD - size + 1
    for indices in order.split(BATCH):
        batch = functional.pad(pixels[indices], [PAD] * 4)
        tops, lefts = torch.randint(places, (2, len(indices))).tolist()
        flips = (torch.rand(len(indices)) < 0.5).tolist()
        parts = []
        for image, top, left, flip in zip(batch, tops, lefts, flips, strict=True):
            part = image[:, top : top + size, left : left + size]
            parts.append(part.flip(2) if flip else part)
        yield torch.stack(parts).float().sub_(mean).div_(std), targets[indices]


def unvaried(pixels: Tensor, targets: Tensor, order: Tensor, size: int, norms: tuple[float, float]) -> Iterable[Any]:
    mean, std = norms
    for indices in order.split(BATCH):
        yield pixels[indices][..., :size, :size].float().sub_(mean).div_(std), targets[indices]


def loader(root: Path, data: DataSet, options: argparse.Namespace, norms: tuple[float, float]) -> DataLoader[Any]:
    """As in torchvision's own training scripts."""
    assert isinstance(data.train_inputs, ImageFiles)
    mean, std = (value / 255 for value in norms)
    size = data.shape[-1]
    resized = [v2.Resize(options.resize), v2.CenterCrop(options.resize)] if options.resize else []
    varied = [v2.RandomCrop(size, padding=PAD), v2.RandomHorizontalFlip()]
    end = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([mean] * 3, [std] * 3)]
    folder = ImageFolder(str(root / "train"), v2.Compose([*resized, *varied, *end]))
    known = {path: place for place, (path, _) in enumerate(folder.samples)}
    chosen = [known[data.train_inputs.path(index)] for index in range(len(data.train_inputs))]
    workers = options.workers
    return DataLoader(Subset(folder, chosen), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def seconds(batches: Iterable[Any]) -> float:
    start = time.perf_counter()
    for inputs, _ in batches:
        assert inputs.dtype == torch.float32
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with train/<class>/ and val/ or test/")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--resize", type=int)
    parser.add_argument("--size", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LYRX_CACHE"] = f"{folder}/cache"
        root = options.data or random_folder(Path(folder) / "images", options.images)
        keys = {"augment": "crop-flip", "pad": PAD, "resize": options.resize, "size": options.size, "mean": 120.0}
        keys |= {"name": "image-folder", "root": str(root), "workers": options.workers, "std": 64.0}
        here = first_images(data_spec(keys).load(), options.images)
        there = first_images(data_spec({**keys, "memory": "1B"}).load(), options.images)
        start = time.perf_counter()
        assert isinstance(here.train_inputs, ImageFiles)
        pixels = torch.from_numpy(read(here.train_inputs, here.keeping))
        count, size, norms = len(pixels), here.shape[-1], here.mean_std
        print(f"{torch.get_num_threads()} threads, {options.workers} workers, torch {torch.__version__}")
        print(f"{count:,} images {list(pixels.shape[1:])}, decoded once in {time.perf_counter() - start:.1f} s")
        device = torch.device("cpu")
        resident, streamed = training_examples(here, device), training_examples(there, device)
        plain, targets = loader(root, here, options, norms), torch.from_numpy(here.train_targets)

        def parts() -> list[Tensor]:
            return list(torch.randperm(count).split(BATCH))

        ways: dict[str, Callable[[], Iterable[Any]]] = {
            "resident": lambda: resident.epoch(parts(), 0),
            "by hand": lambda: by_hand(pixels, targets, torch.randperm(count), size, norms),
            "no variation": lambda: unvaried(pixels, targets, torch.randperm(count), size, norms),
            "streamed": lambda: streamed.epoch(parts(), 0),
            "DataLoader": lambda: plain,
        }
        took: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(options.rounds + 1):
            order = list(ways) if number % 2 else list(reversed(ways))
            for way in order:
                spent = seconds(ways[way]())
                if number:  # the first warms up
                    took[way].append(spent)
        for way, times in took.items():
            middle = statistics.median(times)
            print(f"{way:13} {count / middle:10,.0f} images/s, {1e6 * middle / count:8.1f} us an image")
        for one, other in (("resident", "by hand"), ("resident", "no variation"), ("streamed", "DataLoader")):
            ratios = [a / b for a, b in zip(took[one], took[other], strict=True)]
            print(f"time of {one} / {other}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
