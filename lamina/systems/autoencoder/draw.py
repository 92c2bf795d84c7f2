"""DRAW: a variational auto-encoder that draws its canvas in several glimpses, and looks at its own errors in between.

    x̂_t = x - mean(c_{t-1})                                                                          (eq. 3)
    r_t = read(x, x̂_t, h_dec_{t-1}),   h_enc_t = LSTM(h_enc_{t-1}, [r_t, h_dec_{t-1}])               (eq. 4 and 5)
    z_t from q = N(μ_t, diag σ_t²),    [μ_t, log σ_t] = W h_enc_t + b                                (eq. 1, 2 and 6)
    h_dec_t = LSTM(h_dec_{t-1}, z_t),  c_t = c_{t-1} + write(h_dec_t),   t = 1 … T                   (eq. 7 and 8)
    log p(x) ≥ E log p(x | c_T) - Σ_t KL(q(z_t | …) ‖ N(0, I))                                       (eq. 9 to 12)
    KL = ½ Σ_j (μ_j² + σ_j² - 1 - log σ_j²)

c_T holds the logits of p(x | c_T) = ∏ Bernoulli, or the means of Gaussian units. To sample, z_t is drawn from N(0, I)
and only the decoder runs. Without attention, read gives x and x̂_t whole, and write is linear; with it, both go through
windows of Gaussian filters that h_dec places (`lamina.modules.attention_window`). Gregor, Danihelka, Graves, Rezende &
Wierstra (2015), "DRAW: a recurrent neural network for image generation", sections 2 and 3.

Differs from the paper: h_enc, h_dec and the cells' states begin as learned vectors, c_0 as a learned canvas that starts
at the data's means. The window of the next reading and that of the writing come from one product with h_dec_t, and
products with x alone are taken once before the glimpses; neither changes what is computed.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.modules.attention_window import Window
from lamina.modules.glimpse import Attention, Whole
from lamina.modules.recurrent import lstm, repeated
from lamina.sampling.importance import importance_bound
from lamina.systems.autoencoder.vae import FLOOR, log_likelihood
from lamina.systems.energy.units import Bernoulli, Gaussian

REMEMBER = 1.0  # bias of forget gates at first (Jozefowicz et al. 2015, An empirical exploration of recurrent networks)


class Glimpse(NamedTuple):
    """What there is after one glimpse."""

    canvas: Float[Tensor, "batch visible"]  # c_t, in the order of the view
    written: Window | None  # where; None without attention
    posterior: Float[Tensor, "batch moments"]  # μ_t, then log σ_t; empty when sampling


class DRAW(System):
    """Variational auto-encoder that draws in glimpses.

    Args:
        view: what is read and written: the whole, or windows.
        visible: the units of x, which also turn raw values to theirs.
        canvas: c_0 at first, logits or means.
        hidden: units of each LSTM.
        latent: numbers of z_t.
        glimpses: how many, T.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(
        self,
        view: Whole | Attention,
        visible: Bernoulli | Gaussian,
        canvas: Float[Tensor, "visible"],
        hidden: int,
        latent: int,
        glimpses: int,
    ) -> None:
        super().__init__()
        if min(hidden, latent, glimpses) < 1:
            raise ValueError(f"hidden, latent and glimpses must be at least 1, got {hidden}, {latent} and {glimpses}")
        self.view, self.visible, self.latent, self.count = view, visible, latent, glimpses
        self.first = nn.Linear(view.known, 4 * hidden, bias=False) if view.known else None  # of x, the same each time
        self.encoder = nn.Linear(view.seen + 2 * hidden, 4 * hidden)  # gates i, f, o, g
        self.moments = nn.Linear(hidden, 2 * latent)
        self.decoder = nn.Linear(latent + hidden, 4 * hidden)
        self.start = nn.Parameter(torch.zeros(4, hidden))
        self.canvas = nn.Parameter(canvas.clone())
        self.log_noise = None if visible.binary else nn.Parameter(torch.zeros(len(canvas)))
        nn.init.uniform_(self.encoder.weight[:, : view.seen], -(view.seen**-0.5), view.seen**-0.5)
        with torch.no_grad():
            for layer in (self.encoder, self.decoder):
                layer.bias[hidden : 2 * hidden] += REMEMBER

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch codes"]:
        """Return the means of q of all glimpses, one after the other, each z_t being its mean."""
        v = self.visible.standard(x)
        still = v.new_zeros(self.count, len(v), self.latent)
        return torch.cat([glimpse.posterior[:, : self.latent] for glimpse in self.glimpses(still, v)], 1)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "batch codes"]) -> Float[Tensor, "batch ..."]:
        """Return the means of p(x | z) for the z of all glimpses."""
        theta = self.last(z.reshape(-1, self.count, self.latent).transpose(0, 1))
        return self.visible.restored(self.visible.mean(theta))

    def reconstruct(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the means of p(x | z) at the means of q."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def sample(self, count: int) -> Float[Tensor, "count ..."]:
        """Return draws from p(x); for the means of p(x | z) alone, `decode` draws from N(0, I)."""
        theta, log_s = self.last(self.noise(count)), self.log_deviation()
        if log_s is None:
            return self.visible.restored(self.visible.draw(theta))
        return self.visible.restored(torch.addcmul(theta, log_s.exp(), torch.randn_like(theta)))

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."], samples: int = 20) -> Float[Tensor, "batch"]:
        """Return an estimate of the importance-weighted bound on log p(x) in nats; the more samples, the tighter."""
        return importance_bound(self, x, samples)

    def log_weights(self, x: Float[Tensor, "batch ..."], samples: int) -> Float[Tensor, "samples batch"]:
        """Return log p(x, z) / q(z | x) in nats for draws from q; grey values of binary units are taken as they are."""
        v = self.visible.standard(x).repeat(samples, 1)
        noise = self.noise(len(v))
        theta, mean, log_scale = self.inferred(noise, v)
        z = torch.addcmul(mean, log_scale.exp(), noise)
        ratio = (log_scale + 0.5 * (noise.square() - z.square())).sum((0, 2))
        return (log_likelihood(self.visible, v, theta, self.log_deviation()) + ratio).view(samples, -1)

    def noise(self, count: int) -> Float[Tensor, "glimpses count latent"]:
        """Return draws from N(0, I) for each glimpse."""
        return torch.randn(self.count, count, self.latent, dtype=self.canvas.dtype, device=self.canvas.device)

    def glimpses(
        self, noise: Float[Tensor, "glimpses batch latent"], v: Float[Tensor, "batch visible"] | None = None
    ) -> Iterator[Glimpse]:
        """Yield what there is after each glimpse; given v, z_t is drawn from q by the noise, else it is the noise."""
        view, batch = self.view, noise.shape[1]
        h_enc, c_enc, h_dec, c_dec = (state.expand(batch, -1) for state in self.start)
        canvas, posterior = view.laid(self.canvas.expand(batch, -1)), noise.new_empty(batch, 0)
        infer, decode, place = (repeated(layer.weight, layer.bias) for layer in (self.moments, self.decoder, view.head))
        look, x = view.opened(place(h_dec)), None if v is None else view.laid(v)
        encode = repeated(self.encoder.weight, self.encoder.bias if v is None else self.known(v))
        for draws in noise:
            z = draws
            if x is not None:
                seen = view.read(x, x - self.visible.mean(canvas), look)
                h_enc, c_enc = lstm(encode(torch.cat([seen, h_dec, h_enc], 1)), c_enc)
                posterior = infer(h_enc)
                z = torch.addcmul(posterior[:, : self.latent], posterior[:, self.latent :].exp(), draws)
            h_dec, c_dec = lstm(decode(torch.cat([z, h_dec], 1)), c_dec)
            look = view.opened(place(h_dec))
            canvas = view.written(canvas, look)
            yield Glimpse(canvas, look.writing, posterior)

    def known(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "*batch gates"]:
        """Return what enters the encoder's gates alike in every glimpse."""
        return self.encoder.bias if self.first is None else self.first(v) + self.encoder.bias

    def last(self, z: Float[Tensor, "glimpses batch latent"]) -> Float[Tensor, "batch visible"]:
        """Return c_T for given z."""
        for glimpse in self.glimpses(z):
            canvas = glimpse.canvas
        return self.view.flat(canvas)

    def inferred(
        self, noise: Float[Tensor, "glimpses batch latent"], v: Float[Tensor, "batch visible"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return c_T for z drawn from q by the noise, and μ and log σ of all glimpses."""
        moments = []
        for glimpse in self.glimpses(noise, v):
            moments.append(glimpse.posterior)
            canvas = glimpse.canvas
        mean, log_scale = torch.stack(moments).chunk(2, 2)
        return self.view.flat(canvas), mean, log_scale

    def log_deviation(self) -> Float[Tensor, "visible"] | None:
        """Return log s of Gaussian units."""
        return None if self.log_noise is None else self.log_noise.clamp_min(math.log(FLOOR))

    def parts(self, v: Float[Tensor, "batch visible"]) -> tuple[Tensor, Tensor]:
        """Return -log p(x | c_T) for one draw of all z, and the KL terms' sum, for each example in nats."""
        theta, mean, log_scale = self.inferred(self.noise(len(v)), v)
        divergence = (0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale).sum((0, 2))
        return -log_likelihood(self.visible, v, theta, self.log_deviation()), divergence

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return minus the bound in its two terms, in nats."""
        reconstruction, divergence = self.parts(self.visible.observed(x))
        return {"reconstruction": reconstruction.mean(), "kl": divergence.mean()}

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return minus the bound in nats, and its two terms."""
        terms = self.loss(x)
        return {"negative_elbo": terms["reconstruction"] + terms["kl"], **terms}
