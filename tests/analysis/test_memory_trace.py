"""The trace of a machine is what it does."""

import pytest
import torch

from lamina.analysis.memory_trace import plot_trace, shown, trace
from lamina.modules.ntm import NTM
from lamina.modules.torch_cells import LSTM
from lamina.systems.memory.transducer import Transducer


@pytest.mark.parametrize("controller", ["lstm", "feedforward"])
def test_trace_is_what_the_machine_does(controller, tmp_path):
    torch.manual_seed(0)
    system = Transducer(NTM(3, controller, 5, 8, 4, reads=2, writes=1), 2)
    x = torch.randn(6, 3)
    found = trace(system, x)
    torch.testing.assert_close(found.p, system.answer(x[None])[0])
    before = torch.cat([system.reader.cell.initial(1)[-1], found.memory[:-1]])
    torch.testing.assert_close(found.found, found.reading @ before.transpose(1, 2))
    written = found.memory - before
    assert (written.abs().amax(1) <= found.writing[:, 0] * 2 + 1e-6).all()  # what is erased and added is within ±1
    plot_trace(system, x, torch.arange(6) > 3, tmp_path / "trace.png")
    assert (tmp_path / "trace.png").stat().st_size > 1000


def test_slots_that_are_looked_at():
    weights = torch.zeros(3, 9)
    weights[0, 5], weights[1, 2], weights[2, 7] = 1.0, 0.9, 0.01
    assert torch.equal(shown(weights, 40), weights[:, [2, 5]])
    assert torch.equal(shown(weights, 1), weights[:, [5]])


def test_a_cell_without_memory_has_no_trace():
    with pytest.raises(ValueError, match="this cell is a LSTM"):
        trace(Transducer(LSTM(2, 3), 1), torch.zeros(4, 2))
