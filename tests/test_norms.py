"""BatchNorm's statistics, estimated anew: equal to those computed by hand, and nothing is left changed."""

import numpy as np
import pytest
import torch
from lyrx.engine.errors import LayerError
from lyrx.engine.norms import norm_batches, norms_of, reestimated
from lyrx.engine.state import describe, named_tensors
from models_for_tests import convolutional
from torch import Tensor, nn

BATCHES = list(torch.randn(3, 8, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


def trained() -> nn.Module:
    """A network whose every tensor is away from its default, in evaluation mode."""
    torch.manual_seed(1)
    model = convolutional()
    model.train()
    for batch in BATCHES:
        model(batch * 2 + 1)
    return model.eval()


def everything(model: nn.Module) -> dict[str, bytes]:
    values = {name: tensor.numpy().tobytes() for name, tensor in named_tensors(model).items()}
    modes = {f"{n}: mode": str(m.training).encode() for n, m in model.named_modules()}
    settings = {f"{n}: dict": str(sorted(m.__dict__)).encode() for n, m in model.named_modules()}
    momenta = {f"{n}: momentum": str(getattr(m, "momentum", "")).encode() for n, m in model.named_modules()}
    return values | modes | settings | momenta


def by_hand(batches: list[Tensor], weight: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance per channel of a convolution's output, averaged over the batches. NumPy only."""
    means, variances = [], []
    for batch in batches:
        padded = np.pad(batch.numpy()[:, 0].astype(np.float64), ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        out = np.einsum("nhwij,cij->cnhw", windows, weight.numpy()[:, 0].astype(np.float64)).reshape(len(weight), -1)
        means.append(out.mean(1))
        variances.append(out.var(1, ddof=1))
    return np.mean(means, 0), np.mean(variances, 0)


def test_statistics_equal_those_computed_by_hand_and_all_is_put_back():
    model = trained()
    before = everything(model)
    weight = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(2))
    found = reestimated(model, {"0.weight": weight}, BATCHES, ["1"])
    assert set(found) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    mean, variance = by_hand(BATCHES, weight)
    np.testing.assert_allclose(found["1.running_mean"].numpy(), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["1.running_var"].numpy(), variance, rtol=1e-4)
    assert found["1.num_batches_tracked"].item() == 3
    assert everything(model) == before


def test_a_norm_that_learns_normalises_by_the_batch_and_the_others_by_what_they_know():
    model = trained()
    weight = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(2))
    both = reestimated(model, {"0.weight": weight}, BATCHES, ["1", "4"])
    late = reestimated(model, {"0.weight": weight}, BATCHES, ["4"])
    # The second norm's input, with the first one normalising by the batch, or by the trained statistics.
    norm: nn.BatchNorm2d = model[1]  # type: ignore[assignment]
    for found, by_batch in ((both, True), (late, False)):
        means = []
        for batch in BATCHES:
            with torch.no_grad():
                out = nn.functional.conv2d(batch, weight, padding=1)
                dims = [0, 2, 3]
                mean = out.mean(dims) if by_batch else norm.running_mean
                var = out.var(dims, unbiased=False) if by_batch else norm.running_var
                assert mean is not None
                assert var is not None
                out = (out - mean[:, None, None]) / (var[:, None, None] + norm.eps).sqrt()
                out = torch.relu(out * norm.weight[:, None, None] + norm.bias[:, None, None])
                means.append(model[3](out).mean(dims))
        torch.testing.assert_close(found["4.running_mean"], torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)
    assert "1.running_mean" not in late


def test_dropout_does_not_act():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.BatchNorm1d(64)).train()
    found = reestimated(model, {}, BATCHES, ["2"])
    want = torch.stack([batch.flatten(1).mean(0) for batch in BATCHES]).mean(0)
    torch.testing.assert_close(found["2.running_mean"], want)
    assert all(module.training for module in model.modules())


class Shared(nn.Module):
    """One norm that is called twice, one that is never called, one without running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.idle = nn.BatchNorm1d(2)
        self.stateless = nn.BatchNorm1d(2, track_running_stats=False)
        self.again = self.norm

    def forward(self, x: Tensor) -> Tensor:
        self.norm(x)
        return self.stateless(self.again(x + 10))


def test_a_norm_that_is_called_several_times_averages_over_its_calls():
    model = Shared().eval()
    assert norms_of(model) == ["norm", "idle"]
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    found = reestimated(model, {}, [x, x + 100], ["norm", "idle"])
    # Calls: means 2 and 4, 12 and 14, 102 and 104, 112 and 114; variances 2 and 8 in each.
    assert found["norm.running_mean"].tolist() == pytest.approx([57, 59])
    assert found["norm.running_var"].tolist() == pytest.approx([2, 8])
    assert found["norm.num_batches_tracked"].item() == 4
    assert not [name for name in found if name.startswith("idle")]
    assert found.keys() <= {info.name for info in describe(model)}


def test_a_norm_that_synchronises_works_alone():
    model = nn.Sequential(nn.SyncBatchNorm(1)).eval()
    x = torch.tensor([[[1.0, 3.0]], [[5.0, 7.0]]])
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        # In a team it would gather from all processes, which it refuses to do on a CPU.
        with pytest.raises(ValueError, match="SyncBatchNorm"):
            model.train()(x)
        found = reestimated(model.eval(), {}, [x], ["0"])
    finally:
        torch.distributed.destroy_process_group()
    assert found["0.running_mean"].item() == pytest.approx(4)
    assert found["0.running_var"].item() == pytest.approx(20 / 3)
    assert "forward" not in model[0].__dict__
    assert not model[0].training


def test_a_norm_that_is_the_whole_network():
    model = nn.BatchNorm1d(1).eval()
    assert norms_of(model) == [""]
    found = reestimated(model, {}, [torch.tensor([[1.0], [2.0]])], [""])
    assert found["running_mean"].item() == pytest.approx(1.5)


def test_after_an_error_all_is_as_it_was():
    model = trained()
    before = everything(model)

    def failing(network: nn.Module, batch: Tensor) -> None:
        network(batch)
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        reestimated(model, {"0.weight": torch.zeros(4, 1, 3, 3)}, BATCHES, ["1", "4"], failing)
    assert everything(model) == before
    with pytest.raises(LayerError, match="'3' is no BatchNorm"):
        reestimated(model, {}, BATCHES, ["3"])
    assert everything(model) == before


def test_momentum_and_the_trained_statistics_do_not_count():
    model = trained()
    want = reestimated(model, {}, BATCHES, ["1"])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
            assert module.running_mean is not None
            module.running_mean.fill_(float("nan"))
    found = reestimated(model, {}, BATCHES, ["1"])
    assert all(torch.equal(found[name], want[name]) for name in want)


def test_which_examples_statistics_are_estimated_on():
    batches = norm_batches(7, 100, 3, 16)
    assert [len(batch) for batch in batches] == [16, 16, 16]
    assert len(set(torch.cat(batches).tolist())) == 48
    assert torch.equal(torch.cat(norm_batches(7, 100, 2, 16)), torch.cat(batches[:2]))
    assert not torch.equal(norm_batches(8, 100, 1, 16)[0], batches[0])
    assert [len(batch) for batch in norm_batches(7, 100, 20, 16)] == [16] * 6  # the last four are left out
    assert [sorted(batch.tolist()) for batch in norm_batches(7, 5, 20, 16)] == [[0, 1, 2, 3, 4]]
    assert len(norm_batches(7, 32, 20, 16)) == 2
