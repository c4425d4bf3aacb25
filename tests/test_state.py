"""A model's state as arrays: bit for bit, tied weights once."""

import numpy as np
import pytest
import torch
from lyrx.engine.interventions import applied
from lyrx.engine.state import (
    describe,
    load_arrays,
    named_tensors,
    same_bits,
    state_arrays,
    to_array,
    to_tensor,
)
from models_for_tests import Tied, bfloat, convolutional
from torch import nn


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([1.5, float("nan"), -0.0, float("inf")], dtype=torch.bfloat16),
        torch.randn(3, 2, dtype=torch.float16),
        torch.randn(2, 3).to(torch.float8_e4m3fn),
        torch.tensor(7),
        torch.zeros(0, 4),
        torch.randn(4, 5, dtype=torch.float64).t(),
        torch.tensor([True, False]),
        torch.tensor([1, 2], dtype=torch.uint8),
    ],
    ids=lambda t: f"{t.dtype}{list(t.shape)}",
)
def test_tensors_survive_bit_for_bit(tensor: torch.Tensor):
    array = to_array(tensor)
    back = to_tensor(array, str(tensor.dtype).removeprefix("torch."))
    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    assert same_bits(back, tensor)
    if tensor.numel():
        array.reshape(-1).view("uint8")[0] ^= 1  # a copy: the live tensor must not follow
        assert not same_bits(to_tensor(array, str(tensor.dtype).removeprefix("torch.")), tensor)


def test_same_bits_sees_what_equality_does_not():
    assert not same_bits(torch.tensor(0.0), torch.tensor(-0.0))
    assert same_bits(torch.tensor([float("nan")]), torch.tensor([float("nan")]))


def test_tied_weights_are_described_once():
    infos = describe(Tied())
    assert [info.name for info in infos] == ["first.weight", "head.weight", "head.bias"]
    assert infos[0].aliases == ("second.weight",)


@pytest.mark.parametrize("make", [Tied, convolutional, bfloat, lambda: nn.LSTM(3, 4)])
def test_a_models_state_goes_into_another_one(make):
    one, other = make(), make()
    infos = {info.name: info for info in describe(one)}
    load_arrays(other, infos, state_arrays(one, infos.values()))
    for name, tensor in named_tensors(one).items():
        assert same_bits(named_tensors(other)[name], tensor)


def test_an_intervention_is_taken_back_bit_for_bit_also_after_an_error():
    model = convolutional()
    before = {name: tensor.clone() for name, tensor in named_tensors(model).items()}
    values = {"0.weight": torch.ones(4, 1, 3, 3), "1.num_batches_tracked": torch.tensor(9)}
    with applied(model, values):
        assert model[0].weight.sum() == 36
        assert int(model[1].num_batches_tracked) == 9
        assert np.array_equal(to_array(model[3].weight), to_array(before["3.weight"]))
    with pytest.raises(RuntimeError), applied(model, values):
        raise RuntimeError
    for name, tensor in named_tensors(model).items():
        assert same_bits(tensor, before[name])
