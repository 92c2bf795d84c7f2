"""The conditional RBM against enumeration, the RBM, numerical integration, and frames whose law is known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lamina
from lamina.core import Samples
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, whole
from lamina.data.series import ball, from_frames
from lamina.recipes.frames import continuation, crbm, log_likelihood
from lamina.sampling.ais import ais
from lamina.sampling.enumerate import log_partition, states
from lamina.systems.energy.conditional import ConditionalRBM
from lamina.systems.energy.rbm import RBM
from lamina.systems.energy.units import Bernoulli, Gaussian

VISIBLE, HIDDEN, ORDER = 4, 3, 2


def machine(k: int = 1, seed: int = 0, gaussian: bool = False, visible: int = VISIBLE) -> ConditionalRBM:
    """Return a float64 machine with large random parameters."""
    torch.manual_seed(seed)
    shift, scale = torch.randn(visible), torch.rand(visible) + 0.5
    units = Gaussian(shift, scale) if gaussian else Bernoulli((visible,), binarize=False)
    model = ConditionalRBM(units, HIDDEN, torch.zeros(ORDER, visible), k=k).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4 if gaussian else 0.8)
    return model


def every(units: int) -> Tensor:
    return torch.cat(list(states(units)))


def joint(model: ConditionalRBM, past: Tensor) -> Tensor:
    """Return -E(v, h | past) for one past and all binary v and h, written out as in the definition."""
    v, h, u = every(len(model.a)), every(len(model.b)), past.flatten()
    a = torch.stack([model.a[i] + (u * model.A[:, i]).sum() for i in range(len(model.a))])
    b = torch.stack([model.b[j] + (u * model.B[:, j]).sum() for j in range(len(model.b))])
    return (v @ a)[:, None] + (h @ b)[None] + torch.einsum("vi,ij,hj->vh", v, model.W, h)


def gradients(model: nn.Module, value: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters), strict=True))


def pasts(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, ORDER, VISIBLE, generator=torch.Generator().manual_seed(seed)).double()


def test_free_energy_partition_and_features_by_enumeration_for_each_past():
    model = machine()
    for past in pasts(3):
        log_joint, v = joint(model, past).detach(), every(VISIBLE)
        repeated = past.expand(len(v), -1, -1)
        torch.testing.assert_close(model.score(v, repeated), log_joint.logsumexp(1), rtol=0, atol=1e-12)
        torch.testing.assert_close(model.encode(v, repeated), log_joint.softmax(1) @ every(HIDDEN), rtol=0, atol=1e-12)
        exact = float(log_joint.logsumexp((0, 1)))
        assert abs(log_partition(model.given(past)) - exact) < 1e-12
        longer = torch.cat([torch.ones(3, VISIBLE).double(), past])  # what is before the last frames does not matter
        assert abs(log_partition(model.given(longer)) - exact) < 1e-12
    total = log_likelihood(model, v, repeated).exp().sum()
    assert abs(float(total) - 1) < 1e-12


@pytest.mark.parametrize("gaussian", [False, True])
def test_without_conditional_weights_it_is_an_rbm(gaussian):
    model = machine(gaussian=gaussian, k=2)
    plain = RBM(model.visible, HIDDEN, k=2, chains=0).double()
    with torch.no_grad():
        model.A.zero_()
        model.B.zero_()
        for name in ("W", "a", "b"):
            getattr(plain, name).copy_(getattr(model, name))
    x, past = torch.rand(30, VISIBLE).double(), pasts(30)
    torch.testing.assert_close(model.score(x, past), plain.score(x))
    torch.testing.assert_close(model.encode(x, past), plain.encode(x))
    torch.manual_seed(2)
    found = gradients(model, model.loss(x, past)["divergence"])
    torch.manual_seed(2)
    for name, value in gradients(plain, plain.loss(x)["divergence"]).items():
        torch.testing.assert_close(found[name], value)


def test_gaussian_units_by_numerical_integration():
    model = machine(gaussian=True, visible=2).requires_grad_(False)
    axis = torch.linspace(-16, 16, 801, dtype=torch.float64)
    v, cell = torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2
    raw = v * model.visible.scale + model.visible.shift
    past = torch.randn(ORDER, 2).double()
    log_Z = log_partition(model.given(past))
    log_p = model.score(raw, past.expand(len(raw), -1, -1)) - log_Z
    assert abs(float(log_p.exp().sum()) * cell - 1) < 1e-10
    one = log_likelihood(model, raw[:1], past[None])
    torch.testing.assert_close(one, log_p[:1] - model.visible.scale.log().sum())


@pytest.mark.parametrize("gaussian", [False, True])
def test_surrogate_has_the_gradient_of_the_free_energy_difference(gaussian):
    model, past = machine(k=3, gaussian=gaussian), pasts(20)
    x = torch.rand(20, VISIBLE).double()
    torch.manual_seed(3)
    surrogate = gradients(model, model.loss(x, past)["divergence"])
    torch.manual_seed(3)
    a, b = model.biases(past)
    with torch.no_grad():
        data = model.visible.observed(x)
        negative = model.gibbs(data, a, b, 3)
    expected = gradients(model, model.free_energy(data, a, b).mean() - model.free_energy(negative, a, b).mean())
    for name, value in expected.items():
        torch.testing.assert_close(surrogate[name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_contrastive_divergence_by_powers_of_the_transition_matrix(k):
    """200,000 examples after two pasts, seed 4, bound 5 standard errors of at most 1.5 * 0.0011 (pasts reach 1.5).

    Many steps give the gradient of the exact conditional log-likelihood.
    """
    model, v = machine(k=k), every(VISIBLE)
    two = pasts(2).clamp(-1.5, 1.5)
    torch.manual_seed(4)
    begun = torch.rand(2, len(v)).softmax(1).double()
    counts = (begun * 100_000).round().long()
    begun = counts.double() / counts.sum()
    x = torch.cat([v.repeat_interleave(c, 0) for c in counts])
    past = two.repeat_interleave(counts.sum(1), 0)

    def divergence(steps: int | None) -> dict[str, Tensor]:
        total = torch.zeros(()).double()
        for start, u in zip(begun, two, strict=True):
            log_joint = joint(model, u)
            F = -log_joint.logsumexp(1)
            if steps is None:
                total = total + start @ F + start.sum() * log_joint.logsumexp((0, 1))
                continue
            step = (log_joint.softmax(1) @ log_joint.softmax(0).t()).detach()
            total = total + (start - start @ torch.linalg.matrix_power(step, steps)) @ F
        return gradients(model, total)

    estimate = gradients(model, model.loss(x, past)["divergence"])
    for name, value in divergence(k).items():
        assert float((estimate[name] - value).abs().max()) < 0.0083
    exact = divergence(None)
    for name, value in divergence(3000).items():
        torch.testing.assert_close(value, exact[name], rtol=0, atol=1e-9)


def test_annealing_after_a_past():
    """100 runs of 1,000 temperatures, seed 5: within 5 standard errors."""
    model, past = machine(), pasts(1)[0]
    torch.manual_seed(5)
    estimate = ais(model.given(past), betas=torch.linspace(0, 1, 1001))
    assert abs(estimate.value - log_partition(model.given(past))) < 5 * estimate.error


def test_expected_frames_are_the_means_by_enumeration():
    """20,000 copies of a past, 200 steps, seed 6: standard errors below 0.5 / sqrt(20,000) = 0.0036."""
    model, past = machine(), pasts(1)
    exact = joint(model, past[0]).logsumexp(1).softmax(0).detach() @ every(VISIBLE)
    torch.manual_seed(6)
    found = model.expected(past.expand(20_000, -1, -1), steps=200).mean(0)
    assert float((found - exact).abs().max()) < 0.018
    with torch.no_grad():
        frames = model.generate(past.expand(20_000, -1, -1), 2, steps=100)
    assert frames.shape == (20_000, 2, VISIBLE)
    assert float((frames[:, 0].mean(0) - exact).abs().max()) < 0.018


def spring(count: int, seed: int) -> np.ndarray:
    """Return x_t = 1.6 x_(t-1) - 0.9 x_(t-2) + e of two series, e normal with deviation 0.5."""
    rng = np.random.default_rng(seed)
    x = np.zeros((count, 2))
    for t in range(2, count):
        x[t] = 1.6 * x[t - 1] - 0.9 * x[t - 2] + 0.5 * rng.normal(size=2)
    return 3 + 2 * x


def test_gaussian_machine_foretells_like_the_law_of_the_series():
    """6,000 frames, 20 epochs: the error is near that of the noise, 2 x (2 x 0.5)², and of linear regression."""
    run = crbm(from_frames([spring(6000, 0)], past=2), hidden=4, order=2, visible="gaussian", epochs=20, lr=0.01)
    lamina.fit(run)
    figures = continuation(run)
    assert figures["error"] < 1.15 * figures["error_of_linear"]
    assert figures["error_of_last"] > 2 * figures["error"]


def test_frames_keep_their_order_and_their_sequences():
    first, second = torch.arange(30.0)[:, None], 100 + torch.arange(20.0)[:, None]
    data = from_frames([first, second, first[:2]], past=3)
    parts = [whole(part) for part in (data.train, data.valid, data.test)]
    for part in parts:
        assert torch.equal(part["past"][..., 0], part["x"] - torch.arange(3.0, 0, -1))
    found = torch.cat([part["x"].flatten() for part in parts]).sort().values
    assert torch.equal(found, torch.cat([first[3:], second[3:]]).flatten())
    for low, high in ((0, 50), (100, 150)):  # each sequence is cut in time
        chosen = [part["x"][(part["x"] >= low) & (part["x"] < high)] for part in parts]
        assert chosen[0].max() < chosen[1].min()
        assert chosen[1].max() < chosen[2].min()


def test_the_ball_flies_straight_and_stays_in_its_box():
    data = ball(films=4)
    x, past = (whole(data.train)[name] for name in ("x", "past"))
    assert data.shape == (1, 12, 12)
    same = (past[1:, -1] == x[:-1]).flatten(1).all(1)
    assert int((~same).sum()) <= 3  # where a film ends
    axis = torch.arange(12.0)
    center = torch.stack([(x.sum((1, d)) @ axis) / x.sum((1, 2, 3)) for d in (3, 2)], 1)
    assert float(center.min()) > 1.4
    assert float(center.max()) < 9.6


def test_a_table_is_a_series(tmp_path):
    rows = "\n".join(f"{t},{t * t % 7},{t // 30}" for t in range(60))
    (tmp_path / "a.csv").write_text(f"x,y,sequence\n{rows}")
    data = lamina.load_data(f"series:{tmp_path / 'a.csv'}")
    assert data.shape == (2,)
    assert len(data.train) + len(data.valid) + len(data.test) == 2 * (30 - 10)
    run = crbm(data, hidden=3, visible="gaussian", epochs=1)
    lamina.fit(run, tmp_path / "run")
    again = lamina.load(tmp_path / "run")
    assert isinstance(again, Samples)
    assert again.sample(5).shape == (5, 2)
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ValueError, match="no table of frames"):
        lamina.load_data(f"series:{tmp_path / 'a.txt'}")


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="which rows follow each other"):
        crbm(Data("toy", Arrays(x=torch.rand(9, 3))))
    data = from_frames([torch.rand(60, 3)])
    with pytest.raises(ValueError, match="order must be 1 to 10"):
        crbm(data, order=11)
    with pytest.raises(ValueError, match="at least 1"):
        crbm(data, k=0)
    with pytest.raises(ValueError, match="binary units"):
        crbm(from_frames([3 * torch.rand(60, 3)]))
    with pytest.raises(ValueError, match="too short"):
        from_frames([torch.rand(12, 3)])
    with pytest.raises(ValueError, match="no finite number"):
        from_frames([torch.full((60, 3), torch.nan)])
    with pytest.raises(ValueError, match="shape"):
        from_frames([torch.rand(60)])
