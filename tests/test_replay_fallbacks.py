"""Where replay cannot be right, or cannot be known to be: full forwards, the reason, and right numbers all the same."""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import nasty_networks as nasty
import pytest
import torch
from lyrx.engine.forwards import Forwards, Row, Variant
from lyrx.engine.precision import Precision
from lyrx.engine.replay.replayer import Arguments
from replaying import CPU, Oracle, batches, compared, difference, fingerprint, made, values_for
from torch import Tensor, nn

WIDTH = nasty.WIDTH
lin = nasty.lin


class HookedAside(nn.Module):
    """A user's hook keeps what a layer found, summed up over the batch, in a variable that only it and forward know."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = lin(), lin(), lin(), lin(WIDTH, 3)
        kept: dict[str, Tensor] = {}
        self.a.register_forward_hook(lambda module, args, output: kept.update(mean=output.mean()))
        self.get = lambda: kept["mean"]

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(self.b(self.a(x)))
        return self.head(x + 3 * self.get())


GLOBAL: Any = nasty.Opaque(torch.zeros(0))
NAMED: dict[str, Any] = {}


def keep(module: nn.Module, args: Any, output: Tensor) -> None:
    NAMED["a"] = output.mean()


class HookedInto(nn.Module):
    """A user's hook keeps what a layer found in a variable of its file."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = lin(), lin(), lin(WIDTH, 3)
        self.a.register_forward_hook(keep)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x)))


def keep_beside(module: nn.Module, args: Any, output: Tensor) -> None:
    GLOBAL.value = output.mean()


class HookedBeside(nn.Module):
    """The same with an object of its file."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = lin(), lin(), lin(WIDTH, 3)
        self.a.register_forward_hook(keep_beside)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x)))


class Naming(nn.Module):
    """A layer keeps what it found in a variable of its file; it decides something that seldom matters."""

    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = lin()

        def forward(self, x: Tensor) -> Tensor:
            x = self.fc(x)
            NAMED["largest"] = float(x.max())
            return x

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = self.Keeping(), lin(), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        return self.head(x * (2.0 if NAMED["largest"] > 3 else -1.0))


class Elsewhere(nn.Module):
    """Keeps what a layer found where nobody looks: only wrong numbers tell."""

    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = lin()

        def forward(self, x: Tensor) -> Tensor:
            GLOBAL.value = self.fc(x)
            return GLOBAL.value + 1

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = self.Keeping(), lin(), lin(), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(self.b(self.a(x)))
        return self.head(x + GLOBAL.value.mean(0))


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(lin(), nn.utils.weight_norm(lin()), nn.ReLU(inplace=True), lin(WIDTH, 3))


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = lin(), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.sparse.mm(self.a(x).relu().to_sparse(), torch.eye(WIDTH)))


NEVER: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "attribute": (nasty.Keeps, "keeps something from one forward to the next (last)"),
    "object": (nasty.KeepsAside, "keeps something from one forward to the next (aside)"),
    "hook": (HookedAside, "keeps something from one forward to the next"),
    "hook of a file's": (HookedInto, "keeps something from one forward to the next (a._forward_hooks)"),
    "hook of a file's, object": (HookedBeside, "keeps something from one forward to the next (a._forward_hooks)"),
    "variable of a file": (Naming, "keeps something from one forward to the next (what Naming.forward names)"),
    "old weight norm": (old_weight_norm, "keeps something from one forward to the next (1.weight)"),
    "buffer": (nasty.Counts, "alters"),
    "running statistics": (nasty.AlwaysLearns, "alters its buffer norm.running_mean"),
    "torch's numbers": (lambda: nasty.Draws("torch"), "draws random numbers in a forward (torch)"),
    "numpy's numbers": (lambda: nasty.Draws("numpy"), "draws random numbers in a forward (numpy)"),
    "another generator": (lambda: nasty.Draws("own"), "draws random numbers in a forward (aten.rand.generator)"),
    "sparse": (Sparse, "tensors without plain memory"),
}


@pytest.mark.parametrize("name", NEVER)
def test_never_replayed(name: str):
    build, reason = NEVER[name]
    # Batches of one size: numbers that were kept from another one fit, and would be taken.
    found = compared(made(build), batches(WIDTH, sizes=(8, 8)), kinds=("random",), copied=lambda: made(build))
    assert not found.replayed
    assert found.fallbacks
    assert {kind for _, kind in found.fallbacks} == {""}
    assert all(reason in fallback.reason for fallback in found.fallbacks.values()), found.reasons
    assert found.reasons == {fallback.reason for fallback in found.fallbacks.values()}


def test_kept_out_of_sight():
    found = compared(made(Elsewhere), batches(WIDTH, sizes=(8, 8, 8)))
    assert all("differs from a full forward" in reason for reason in found.reasons)
    assert ("b.weight", "random") in found.fallbacks
    assert ("a.fc.weight", "random") not in found.fallbacks
    assert found.replayed


def test_a_reset_that_changes_the_way():
    found = compared(made(nasty.Branches), batches(WIDTH), draws=6)
    assert found.replayed
    assert all("another way" in reason for reason in found.reasons)
    rows = {row for row, _ in found.fallbacks}
    assert not rows & {"head.weight", "head.bias", "left.weight", "right.weight"}


def test_a_write_on_a_way_that_only_a_reset_network_goes():
    found = compared(made(nasty.WritesWhenReset), batches(WIDTH, sizes=(8, 8)), kinds=("noise", "random", "zero"))
    assert any("altered in place" in reason for reason in found.reasons)
    assert not {row for row, _ in found.fallbacks} & {"head.weight", "head.bias"}
    assert found.replayed


def test_memory_that_the_state_does_not_name():
    class Shadow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = lin(), lin(), lin(WIDTH, 3)
            self.view = self.b.weight.detach()[:3]

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.b(self.a(x))) + nn.functional.linear(x, self.view)

    model = made(Shadow)
    values = {"b.weight": torch.randn(WIDTH, WIDTH)}
    (batch,) = batches(WIDTH, sizes=(8,))
    with torch.no_grad():
        kept, expected = model.b.weight.clone(), None
        model.b.weight.copy_(values["b.weight"])
        expected = model(batch.args[0])
        model.b.weight.copy_(kept)
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        row = Row("b", ("b.weight",))
        output, reason = forwards.open(batch, [row]).output(Variant(row, "random", values))
    assert difference(expected, output) < 1e-6
    assert "differs from a full forward" in reason


class Raises(nn.Module):
    """Cannot compute with some weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.gate, self.head = lin(), lin(), lin(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gate(self.a(x))
        if not x.any():
            raise ValueError("nothing is left")
        return self.head(x)


def test_a_network_that_raises_for_a_reset():
    model = made(Raises)
    before, oracle = fingerprint(model), Oracle(model)
    (batch,) = batches(WIDTH, sizes=(8,))
    gate, head = Row("gate", ("gate.weight", "gate.bias")), Row("head", ("head.weight",))
    zeros = {name: torch.zeros_like(model.state_dict()[name]) for name in gate.tensors}
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        opened = forwards.open(batch, [gate, head])
        for seed in (1, 2):  # before and after its replays are trusted
            with pytest.raises(ValueError, match="nothing is left"):
                opened.output(Variant(gate, "zero", zeros))
            values = values_for(model, head.tensors, "random", seed)
            output, reason = opened.output(Variant(head, "random", values))
            assert not reason
            assert difference(oracle(values, batch), output) < 1e-6
            values = values_for(model, gate.tensors, "random", seed)
            assert not opened.output(Variant(gate, "random", values))[1]
            with pytest.raises(ValueError, match="nothing is left"):
                opened.output(Variant(gate, "random", zeros))
    assert fingerprint(model) == before
    assert not forwards.fallbacks


def test_a_cancel_in_the_middle():
    class CancelError(BaseException):
        pass

    class Cancels(nn.Module):
        armed = False

        def forward(self, x: Tensor) -> Tensor:
            if Cancels.armed:
                raise CancelError
            return x * 1

    model = made(lambda: nn.Sequential(lin(), nn.ReLU(inplace=True), lin(), Cancels(), lin(WIDTH, 3)))
    model.train()
    model[2].eval()
    before = fingerprint(model)
    (batch,) = batches(WIDTH, sizes=(8,))
    row = Row("2", ("2.weight",))
    for moment in ("record", "replay"):
        Cancels.armed = False
        with contextlib.suppress(CancelError), Forwards(model, Precision("fp32", CPU)) as forwards:
            forwards.prepare(batch)
            Cancels.armed = moment == "record"
            last = Row("4", ("4.weight",))
            opened = forwards.open(batch, [row, last])
            Cancels.armed = True
            opened.output(Variant(row, "random", {"2.weight": torch.randn(WIDTH, WIDTH)}))
            raise AssertionError("it was not cancelled")
        assert fingerprint(model) == before


def test_checks_that_prove_nothing():
    # The first values are the trained ones: that replay agrees with them says nothing of others.
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = lin(), lin(), lin(WIDTH, 3)
            self.shadow = self.b.weight.detach()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(nn.functional.linear(self.a(x), self.shadow) + 0 * self.b(x))

    model = made(Detached)
    (batch,) = batches(WIDTH, sizes=(8,))
    row = Row("b", ("b.weight",))
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(batch)
        opened = forwards.open(batch, [row])
        assert not opened.output(Variant(row, "reinitialise", {"b.weight": model.b.weight.detach().clone()}))[1]
        output, reason = opened.output(Variant(row, "reinitialise", {"b.weight": torch.zeros(WIDTH, WIDTH)}))
    assert "differs" in reason
    expected = model.head(torch.zeros(8, WIDTH)).detach()
    assert difference(expected, output) < 1e-6


def test_an_error_while_recording():
    class Fragile(nn.Module):
        """Does not bear to be looked at on large batches."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = lin(), lin(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 4 and torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
                raise RuntimeError("someone is looking")
            return self.head(self.a(x))

    found = compared(made(Fragile), batches(WIDTH, sizes=(4, 8)), kinds=("random",))
    assert found.reasons == {"recording failed (RuntimeError: someone is looking)"}
    assert found.replayed
    found = compared(made(Fragile), batches(WIDTH, sizes=(8, 8)), kinds=("random",))
    assert found.reasons == {"following it failed (RuntimeError: someone is looking)"}


def test_full_forwards_only():
    model = made(nasty.InPlaceChain)
    (batch,) = batches(WIDTH, sizes=(8,))
    oracle, row = Oracle(model), Row("b", ("b.weight",))
    with Forwards(model, Precision("fp32", CPU), replay=False) as forwards:
        assert not forwards.replays
        forwards.prepare(batch)
        values = {"b.weight": torch.randn(WIDTH, WIDTH)}
        output, reason = forwards.open(batch, [row]).output(Variant(row, "random", values))
    assert reason == "full forwards were asked for"
    assert difference(oracle(values, batch), output) < 1e-6


def test_too_many_ways():
    class Sizes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.head = nn.ModuleList([lin() for _ in range(12)]), lin(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers[: len(x)]:
                x = layer(x)
            return self.head(x)

    rows = [Row(name, (f"{name}.weight",)) for name in ("layers.0", "layers.5", "head")]
    found = compared(made(Sizes), batches(WIDTH, sizes=range(1, 13)), rows=rows, kinds=("random",))
    assert found.reasons == {"the network goes another way on every batch"}
    assert found.replayed == 8 * 3


def test_arguments_are_left_alone():
    # One batch that is all of the data: nothing of it may be handed to the network itself.
    batch = Arguments((torch.randn(8, WIDTH),))
    kept = batch.args[0].clone()
    compared(made(nasty.InPlaceChain), [batch])
    assert torch.equal(batch.args[0], kept)
