"""The memory network as a language model, against plain loops; what it may look at; that it learns."""

import numpy as np
import pytest
import torch

from lamina.data.text import from_texts
from lamina.recipes.stories import memn2n_lm
from lamina.systems.memory.memory_lm import MemoryLM, band, spread
from lamina.train.evaluate import evaluate
from lamina.train.fit import fit


def network(**changes):
    torch.manual_seed(0)
    net = MemoryLM(**{"vocabulary": 7, "hidden": 5, "hops": 2, "memory": 4, "rows": 3} | changes).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    return net.eval()


def plainly(net, text):
    """Logits after each symbol of a text, by the equations of the paper."""
    weights = {name: value.detach().numpy() for name, value in net.named_parameters()}
    found = []
    for t in range(len(text)):
        before = text[max(0, t + 1 - net.memory) : t + 1][::-1]
        m = np.array([weights["A"][x] + weights["T_A"][i] for i, x in enumerate(before)])
        c = np.array([weights["C"][x] + weights["T_C"][i] for i, x in enumerate(before)])
        u = np.full(net.hidden, 0.1)
        for _ in range(net.hops):
            p = np.exp(m @ u) / np.exp(m @ u).sum()
            u = weights["H"] @ u + p @ c
            u[: net.hidden // 2] = np.maximum(u[: net.hidden // 2], 0)
        found.append(weights["W"] @ u)
    return np.array(found)


def test_equals_the_paper_s_equations_in_plain_loops():
    net = network()
    text = torch.randint(7, (2, 11))
    logits, _ = net.following(text, net.nothing(2))
    for row, found in zip(text.tolist(), logits.detach().numpy(), strict=True):
        np.testing.assert_allclose(found, plainly(net, row), rtol=1e-10)


def test_windows_of_any_length_say_the_same():
    net = network()
    text = torch.randint(7, (2, 11))
    whole, end = net.following(text, net.nothing(2))
    state, parts = net.nothing(2), []
    for part in text.split([1, 6, 4], 1):
        logits, state = net.following(part, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    assert torch.equal(state, end)


def test_band_and_spread_are_each_other_s_inverse():
    p = torch.randn(2, 3, 4)
    wide = spread(p)
    assert wide.shape == (2, 3, 7)
    torch.testing.assert_close(band(wide, 4), p)
    for t in range(3):
        assert torch.equal(wide[:, t, t + 1 : t + 5], p[:, t])
    torch.testing.assert_close(wide.sum(2), p.sum(2))


def test_a_size_of_zero_is_refused():
    with pytest.raises(ValueError, match="hops must be at least 1"):
        network(hops=0)


def test_learns_what_came_some_symbols_before():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(2, (4000,), generator=generator).tolist()
    for place in range(3, 4000):
        codes[place] = codes[place - 3] if place % 10 else codes[place]  # nine in ten repeat the third symbol before
    text = "".join("ab"[code] for code in codes)
    data = from_texts("toy", text[:3000], text[3000:3500], text[3500:])
    run = memn2n_lm(data, hidden=16, hops=2, memory=6, window=20, batch=8, lr=0.02, epochs=8)
    fit(run)
    assert evaluate(run.system, run.test)["bits"] < 0.75  # 0.57 if one knows where; 1 if one does not
