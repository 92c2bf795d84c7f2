"""Jacobians through time against powers of matrices, autograd through all steps, and each other."""

import pytest
import torch
from torch import nn

from lamina.analysis.gradients_through_time import gradient_norms, jacobians, plot_reach, reach, singular_values
from lamina.modules.cells import Cell, Unfold
from lamina.modules.deep_cells import Bidirectional, Stacked
from lamina.modules.recurrent_init import start
from lamina.modules.slow_cells import Clockwork, Delayed, Leaky, time_constants
from lamina.modules.torch_cells import GRU, LSTM, RNN
from lamina.systems.sequence.model import SequenceModel

HIDDEN, TIME, BATCH = 4, 7, 3


class Linear(Cell):
    """h' = U h + x."""

    def __init__(self) -> None:
        super().__init__(HIDDEN, HIDDEN)
        self.weight_hh = nn.Parameter(torch.randn(HIDDEN, HIDDEN))

    def initial(self, batch):
        return (self.zeros(batch, HIDDEN),)

    def forward(self, prepared, state):
        return (prepared + state[0] @ self.weight_hh.t(),)


def sequences(inputs=HIDDEN):
    return torch.randn(TIME, BATCH, inputs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return Linear().double()


def test_a_linear_network_has_powers_of_its_matrix(linear):
    U = linear.weight_hh.detach()
    found = jacobians(linear, sequences())
    torch.testing.assert_close(found, U.expand_as(found))
    values = singular_values(found)
    for distance in range(TIME + 1):
        power = torch.linalg.matrix_power(U, distance)
        torch.testing.assert_close(values[distance, 0], torch.linalg.svdvals(power), rtol=1e-9, atol=1e-12)


def test_the_gradient_of_a_linear_network_in_closed_form(linear):
    c = torch.randn(HIDDEN, dtype=torch.float64)
    found = gradient_norms(linear, sequences(), lambda outputs: (outputs[-1] @ c).sum())
    for t in range(TIME + 1):
        expected = (c @ torch.linalg.matrix_power(linear.weight_hh, TIME - t)).norm()
        torch.testing.assert_close(found[t], expected.expand(BATCH))


def test_an_orthogonal_network_scales_every_direction_alike(linear):
    start(linear, "orthogonal", 0.9)
    values = singular_values(jacobians(linear, sequences()))
    expected = 0.9 ** torch.arange(TIME + 1, dtype=torch.float64)
    torch.testing.assert_close(values, expected[:, None, None].expand_as(values))
    gradient = gradient_norms(linear, sequences(), lambda outputs: outputs[-1].sum())
    torch.testing.assert_close(gradient / gradient[-1], expected.flip(0)[:, None].expand(-1, BATCH))


CELLS = {
    "rnn": lambda: RNN(2, HIDDEN),
    "lstm": lambda: LSTM(2, HIDDEN),
    "gru": lambda: GRU(2, HIDDEN),
    "leaky": lambda: Leaky(RNN(2, HIDDEN), time_constants(HIDDEN, 8.0)),
    "delayed": lambda: Delayed(2, HIDDEN, (1, 3)),
    "clockwork": lambda: Clockwork(2, HIDDEN, (1, 2)),
    "stacked": lambda: Stacked([GRU(2, 3), LSTM(3, HIDDEN)]),
}


@pytest.mark.parametrize("name", CELLS)
def test_products_of_jacobians_give_the_gradient_of_autograd(name):
    """E = c·h_T; its gradient at s_t by autograd through all steps must be c times the product of the Jacobians."""
    torch.manual_seed(0)
    cell, x = CELLS[name]().double(), sequences(2)
    c = torch.randn(cell.width, dtype=torch.float64)
    found = gradient_norms(cell, x, lambda outputs: (outputs[-1] @ c).sum())
    steps = jacobians(cell, x)
    vector = torch.cat([c, torch.zeros(steps.shape[2] - len(c), dtype=torch.float64)]).expand(BATCH, -1)
    for t in range(TIME, 0, -1):
        torch.testing.assert_close(found[t], vector.norm(dim=1), rtol=1e-9, atol=1e-12)
        vector = torch.einsum("bi,bij->bj", vector, steps[t - 1])
    torch.testing.assert_close(found[0], vector.norm(dim=1), rtol=1e-9, atol=1e-12)


def test_the_bound_holds_and_the_picture_is_written(tmp_path):
    torch.manual_seed(0)
    system = SequenceModel(nn.Identity(), Unfold(GRU(2, HIDDEN)), nn.Linear(HIDDEN, 3)).double()
    x, y = sequences(2)[:, :1].transpose(0, 1), torch.zeros(1, dtype=torch.int64)
    found = reach(system, x, y)
    assert found.stretch.shape == (TIME + 1, HIDDEN)
    assert (found.gradient <= found.gradient[0] * found.stretch[:, 0] * (1 + 1e-9)).all()
    plot_reach({"gru": {"before": found, "after": found}}, tmp_path / "reach.png")
    assert (tmp_path / "reach.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="both ends"):
        reach(SequenceModel(nn.Identity(), Bidirectional(GRU(2, 4), GRU(2, 4)), nn.Linear(8, 3)).double(), x, y)
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_reach({}, tmp_path / "none.png")
