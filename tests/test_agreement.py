"""When two outputs are the same but for rounding."""

from dataclasses import dataclass

import torch
from lyrx.engine.agreement import differ
from lyrx.engine.forwards import Forwards, Row, Variant
from lyrx.engine.precision import Precision
from lyrx.engine.replay.replayer import Arguments
from replaying import CPU, Oracle, compared, difference, made
from test_replay_fallbacks import Elsewhere
from torch import Tensor, nn


def test_by_hand():
    one = torch.tensor([[100.0, 1.0], [-3.0, 0.5]])
    assert not differ(one, one.clone(), 0.0)
    # 0.01 away, where the largest that differs is 1.
    assert "1.0e-02" in differ(one, one + torch.tensor([[0.0, -0.01], [0.0, 0.0]]), 1e-4)
    assert not differ(one, one + torch.tensor([[0.009, 0.009], [0.0, 0.0]]), 1e-4)
    assert "another shape" in differ(one, one[:1], 1e-4)
    assert "finite" in differ(one, one / torch.tensor([1.0, 0.0]), 1e-4)
    nothing = torch.full((2,), torch.nan)
    assert not differ(nothing, nothing, 1e-4)


def test_imaginary_parts_count():
    one = torch.complex(torch.ones(3), torch.ones(3))
    assert not differ(one, one.clone(), 1e-4)
    assert differ(one, torch.complex(torch.ones(3), -torch.ones(3)), 1e-4)
    assert not differ(one.conj(), torch.complex(torch.ones(3), -torch.ones(3)), 1e-4)


def test_masked_scores_hide_nothing():
    scores = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    for mask in (-1e9, torch.finfo(torch.float32).min):
        masked, other = (torch.cat([one, torch.full((8, 3), mask)], 1) for one in (scores, scores.flip(0)))
        assert "differs from a full forward" in differ(masked, other, 1e-4)


class Masked(Elsewhere):
    """A wrong replay, and classes that are masked."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super().forward(x), torch.full((len(x), 2), -1e9)], 1)


def test_a_wrong_replay_with_masked_scores_is_found():
    generator = torch.Generator().manual_seed(1)
    data = [Arguments((torch.randn(8, 6, generator=generator),)) for _ in range(3)]
    rows = [Row(name, (f"{name}.weight",)) for name in ("b", "c")]
    model = made(Masked)
    oracle = Oracle(model)
    with Forwards(model, Precision("fp32", CPU)) as forwards:
        forwards.prepare(data[0])
        for batch in data:
            opened = forwards.open(batch, rows)
            for row in rows:
                values = {row.tensors[0]: torch.randn(6, 6, generator=generator)}
                output, reason = opened.output(Variant(row, "random", values))
                assert "differs from a full forward" in reason
                assert difference(oracle(values, batch)[:, :3], output[:, :3]) < 1e-5


def test_what_cannot_be_compared_is_not_replayed():
    @dataclass
    class Scores:
        values: list[list[float]]

    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Scores:
            return Scores(self.head(self.a(x)).tolist())

    data = [Arguments((torch.randn(8, 6),))]
    found = compared(made(Listed), data, rows=[Row("head", ("head.weight",))], kinds=("random",))
    assert found.reasons == {"replay gives no tensors that could be compared"}
