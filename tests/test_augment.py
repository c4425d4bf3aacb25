"""Augmentation on whole batches: what torchvision makes of each image alone; zeros where they belong; the same draws
whatever the batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lyrx.engine.augment import draw, middle, plain, varied
from lyrx.engine.data.base import Augment, DataSet, checked_augment
from lyrx.engine.data.decode import varied_one
from lyrx.engine.errors import DataError
from lyrx.engine.examples import Normal, Resident, held_out_examples, training_examples
from torchvision.transforms import v2

CPU = torch.device("cpu")


def images(count: int, channels: int = 3, height: int = 9, width: int = 9, seed: int = 0) -> np.ndarray:
    """uint8, no zeros: what is zero has been padded."""
    generator = np.random.default_rng(seed)
    return generator.integers(1, 256, size=(count, channels, height, width), dtype=np.uint8)


def by_hand(image: np.ndarray, top: int, left: int, flip: int, pad: int, height: int, width: int) -> np.ndarray:
    """Pad, crop, flip with NumPy."""
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    cropped = padded[:, top : top + height, left : left + width]
    return cropped[:, :, ::-1] if flip else cropped


@settings(max_examples=40, deadline=None)
@given(
    crop=st.booleans(),
    flip=st.booleans(),
    pad=st.integers(0, 5),
    size=st.one_of(st.none(), st.integers(1, 7)),
    height=st.integers(7, 10),
    width=st.integers(7, 10),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**40),
)
def test_batches_are_what_each_image_becomes_alone(crop, flip, pad, size, height, width, channels, seed):
    augment = Augment(crop, flip, pad if crop else 0, size)
    batch = images(6, channels, height, width)
    drawn = draw(augment, 6, seed, batch.shape[1:])
    high, wide = augment.shape(batch.shape[1:])[-2:]
    found = varied(torch.from_numpy(batch), drawn, augment)
    assert found.dtype == torch.uint8
    for image, (top, left, flipped), ours in zip(batch, drawn.tolist(), found, strict=True):
        expected = by_hand(image, top, left, flipped, augment.pad, high, wide)
        assert np.array_equal(ours.numpy(), expected)
        assert torch.equal(varied_one(torch.from_numpy(image), (top, left, flipped), augment), ours)
        assert 0 <= top <= height + 2 * augment.pad - high
        assert 0 <= left <= width + 2 * augment.pad - wide
        assert flip or not flipped


def test_every_place_and_both_sides_are_drawn_about_equally_often():
    augment = Augment(crop=True, flip=True, pad=2, size=8)  # 10 + 4 - 8 + 1 = 7 places along each axis
    drawn = draw(augment, 14_000, 1, (3, 10, 10))
    for axis in (0, 1):
        counts = torch.bincount(drawn[:, axis])
        assert len(counts) == 7
        assert ((counts - 2000).abs() < 250).all()  # six standard deviations
    assert abs(int(drawn[:, 2].sum()) - 7000) < 360
    assert len(torch.unique(drawn[:, 0] * 100 + drawn[:, 1] * 10 + drawn[:, 2])) == 98  # independent of each other
    assert torch.equal(draw(augment, 14_000, 1, (3, 10, 10)), drawn)
    assert not torch.equal(draw(augment, 14_000, 2, (3, 10, 10)), drawn)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    draw(Augment(True, True, 4), 100, 3, (3, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)


def test_padding_is_black_before_it_is_normalised():
    # All pixels 200, mean 100, std 50: inside 2, padding (0 - 100) / 50 = -2, and not 0.
    pixels = np.full((4, 1, 4, 4), 200, dtype=np.uint8)
    data = DataSet(
        pixels, np.arange(4), pixels, np.arange(4), 4, augment=Augment(crop=True, pad=4), norms=(100.0, 50.0)
    )
    examples = training_examples(data, CPU)
    seen = set()
    for seed in range(20):
        ((inputs, _),) = examples.epoch([torch.arange(4)], seed)
        assert set(inputs.unique().tolist()) <= {2.0, -2.0}
        seen |= set(inputs.unique().tolist())
    assert seen == {2.0, -2.0}


@pytest.mark.parametrize(("height", "width", "size"), [(9, 9, 4), (9, 8, 5), (8, 12, 8), (7, 7, 7)])
def test_the_middle_is_torchvisions(height: int, width: int, size: int):
    batch = torch.from_numpy(images(2, 3, height, width))
    assert torch.equal(plain(batch, Augment(size=size)), v2.functional.center_crop(batch, [size, size]))
    top, left = middle(Augment(size=size), (3, height, width))
    assert torch.equal(draw(Augment(flip=True, size=size), 1, 0, (3, height, width))[0, :2], torch.tensor([top, left]))


def data_set(augment: Augment, count: int = 50, floats: bool = False) -> DataSet:
    train, test = images(count, seed=1), images(20, seed=2)
    if floats:
        train, test = train.astype(np.float32) / 7, test.astype(np.float32) / 7
    labels = np.arange(count) % 5
    return DataSet(train, labels, test, labels[:20], 5, augment=augment)


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("augment", [Augment(), Augment(True, True, 2), Augment(True, size=5), Augment(size=6)])
def test_an_epoch_is_what_a_plain_loop_makes(augment: Augment, floats: bool):
    data = data_set(augment, floats=floats)
    mean, std = np.float64(data.train_inputs.mean(dtype=np.float64)), data.train_inputs.astype(np.float64).std()
    parts = torch.randperm(50, generator=torch.Generator().manual_seed(3)).split(16)
    drawn = draw(augment, 50, 11, (3, 9, 9)).tolist()
    high, wide = augment.shape((3, 9, 9))[-2:]
    batches = list(training_examples(data, CPU).epoch(parts, 11))
    assert [len(targets) for _, targets in batches] == [16, 16, 16, 2]
    for part, (inputs, targets) in zip(parts, batches, strict=True):
        assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)
        assert targets.tolist() == data.train_targets[part.numpy()].tolist()
        for index, ours in zip(part.tolist(), inputs, strict=True):
            image = by_hand(data.train_inputs[index], *drawn[index], augment.pad, high, wide)
            np.testing.assert_allclose(ours.numpy(), (image - mean) / std, rtol=1e-4, atol=1e-5)
    held_out = held_out_examples(data, CPU)
    top, left = middle(augment, (3, 9, 9))
    expected = (data.test_inputs[..., top : top + high, left : left + wide] - mean) / std
    np.testing.assert_allclose(held_out.between(0, 20)[0].numpy(), expected, rtol=1e-4, atol=1e-5)
    # What is looked at without training is not varied.
    taken, _ = training_examples(data, CPU).take(torch.tensor([7, 3]))
    image = data.train_inputs[[7, 3], :, top : top + high, left : left + wide]
    np.testing.assert_allclose(taken.numpy(), (image - mean) / std, rtol=1e-4, atol=1e-5)


def test_an_example_is_varied_the_same_whatever_batch_or_process_it_is_in():
    examples = training_examples(data_set(Augment(True, True, 2)), CPU)
    whole = torch.cat([inputs for inputs, _ in examples.epoch(torch.arange(50).split(50), 4)])
    for size in (1, 7, 16):
        parts = torch.arange(50).split(size)
        assert torch.equal(torch.cat([inputs for inputs, _ in examples.epoch(parts, 4)]), whole)
    shuffled = torch.randperm(50)
    (inputs, _), *_ = examples.epoch([shuffled], 4)
    assert torch.equal(inputs, whole[shuffled])
    (mine, _), *_ = examples.epoch([torch.arange(25, 50)], 4)  # the other half falls to another process
    assert torch.equal(mine, whole[25:])
    assert not torch.equal(next(iter(examples.epoch([torch.arange(50)], 5)))[0], whole)
    assert list(examples.epoch([], 4)) == []


@pytest.mark.parametrize("augment", [Augment(), Augment(True, True, 2, 7)])
def test_kept_on_the_host_it_is_the_same(augment: Augment):
    data = data_set(augment)
    normal = Normal(data)
    here, there = (
        Resident(data.train_inputs, data.train_targets, normal, CPU, augment, on_host=host) for host in (False, True)
    )
    order = np.random.default_rng(1).permutation(50)[:40]
    for one, other in ((here, there), (here.only(order), there.only(order)), (here.only(order).only(order[:20] % 40),
                       there.only(order).only(order[:20] % 40))):  # fmt: skip
        indices = torch.arange(len(one)).flip(0)
        pairs = [*zip(one.epoch(indices.split(9), 2), other.epoch(indices.split(9), 2), strict=True)]
        pairs += [(one.take(indices), other.take(indices)), (one.between(3, 11), other.between(3, 11))]
        for (a, b), (c, d) in pairs:
            assert torch.equal(a, c)
            assert torch.equal(b, d)


def test_what_a_network_does_to_its_inputs_does_not_last():
    for augment in (Augment(), Augment(flip=True)):
        data = data_set(augment)
        examples = training_examples(data, CPU)
        before = data.train_inputs.copy()
        for _ in range(2):
            ((inputs, _),) = examples.epoch([torch.arange(50)], 1)
            first = inputs.clone()
            inputs.zero_()
            examples.between(0, 50)[0].zero_()
        ((again, _),) = examples.epoch([torch.arange(50)], 1)
        assert torch.equal(again, first)
        assert np.array_equal(data.train_inputs, before)


def test_tokens_pass_as_they_are():
    tokens = np.random.default_rng(0).integers(0, 60_000, size=(11, 8)).astype(np.uint16)
    data = DataSet(tokens[:, :-1], tokens[:, 1:], tokens[:4, :-1], tokens[:4, 1:], 60_000, task="language")
    assert data.mean_std == (0.0, 1.0)
    examples = training_examples(data, CPU)
    for part, (inputs, targets) in zip(parts := torch.arange(11).split(4), examples.epoch(parts, 0), strict=True):
        assert (inputs.dtype, targets.dtype) == (torch.int64, torch.int64)
        assert np.array_equal(inputs.numpy(), tokens[part.numpy(), :-1])
        assert np.array_equal(targets.numpy(), tokens[part.numpy(), 1:])
    inputs, targets = held_out_examples(data, CPU).only(np.array([2, 0])).between(0, 2)
    assert np.array_equal(targets.numpy(), tokens[[2, 0], 1:])
    assert np.array_equal(inputs.numpy(), tokens[[2, 0], :-1])


def test_what_cannot_be_varied_is_refused():
    for augment, shape, said in (
        (Augment(flip=True), (5,), "are no images"),
        (Augment(size=10), (3, 9, 12), "smaller than data.size = 10"),
        (Augment(crop=True), (3, 9, 9), "changes nothing"),
        (Augment(crop=True, size=9), (3, 9, 9), "changes nothing"),
    ):
        with pytest.raises(DataError, match=said):
            checked_augment("arrays", "x", augment, shape)
    assert checked_augment("arrays", "x", Augment(), (5,)) == Augment()
