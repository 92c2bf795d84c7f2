"""Semi-supervised variational auto-encoder (M2), alone or upon the codes of another (M1+M2).

    p(x, y, z) = p(y) N(z; 0, I) p(x | y, z),   p(y) uniform
    q(y | x) = softmax of a network,   q(z | x, y) = N(z; μ(x, y), diag σ²(x, y))
    L(x, y) = -E_q log p(x | y, z) - log p(y) + KL(q(z | x, y) ‖ p(z))  ≥  -log p(x, y)          (eq. 6)
    U(x)    = Σ_y q(y | x) (L(x, y) + log q(y | x))                      ≥  -log p(x)             (eq. 7)
    J / N   = share · mean L + (1 - share) · mean U - α mean log q(y | x)                         (eq. 8 and 9)

The means are over labelled, unlabelled and labelled examples; the paper's share is that of the labelled among all N.
The sum over classes is exact. Kingma, Rezende, Mohamed & Welling (2014), Semi-supervised learning with deep generative
models, section 3. For M1+M2, x is a draw z₁ from q(z₁ | raw input) of a variational auto-encoder (M1) that stays as it
is.

Differs from the paper: the networks of q(z | x, y) and p(x | y, z) read a class by weights of its own in their first
layer, which is the same as the class beside the input; no prior on the weights.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.systems.autoencoder.vae import VAE
from lamina.systems.energy.units import Bernoulli, Gaussian

LEAST = -5.0  # of log σ of a real number given y and z, so that no density grows without bound


class Given(nn.Module):
    """Linear in an input and in a class, then hidden layers of softplus units.

    Args:
        inputs: numbers of the input.
        classes: how many.
        hidden: units of each hidden layer.
        outputs: numbers that come out.
    """

    def __init__(self, inputs: int, classes: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden[0])
        self.shift = nn.Parameter(torch.empty(classes, hidden[0]).uniform_(-1, 1) / math.sqrt(inputs + classes))
        layers: list[nn.Module] = []
        for low, high in zip(hidden, (*hidden[1:], outputs), strict=True):
            layers += [nn.Softplus(), nn.Linear(low, high)]
        self.rest = nn.Sequential(*layers)

    def forward(
        self, x: Float[Tensor, "*classes batch inputs"], y: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "classes batch outputs"]:
        """Return the outputs for every class of each input, or those of its own class y with a first axis of one."""
        shift = self.shift[:, None] if y is None else self.shift[y][None]
        out: Tensor = self.rest(self.first(x) + shift)
        return out


class SemiSupervisedVAE(System):
    """Tells classes from few labels, with a generative model of class and style.

    Args:
        visible: the units of x, or Gaussian ones of M1's codes.
        classes: how many classes.
        hidden: units of the hidden layers of every network.
        latent: numbers of the style z.
        share: weight of the labelled examples' bound, against 1 - share of the others.
        alpha: weight α of the classifier's own loss.
        codes: M1; None takes raw input. Its weights are not trained.
    """

    def __init__(
        self,
        visible: Bernoulli | Gaussian,
        classes: int,
        hidden: tuple[int, ...],
        latent: int,
        share: float,
        alpha: float = 0.1,
        codes: VAE | None = None,
    ) -> None:
        super().__init__()
        if not hidden or min(classes, latent, *hidden) < 1:
            raise ValueError(f"classes, latent and hidden sizes must be at least 1, got {classes}, {latent}, {hidden}")
        size = math.prod(visible.shape)
        self.visible, self.classes, self.latent = visible, classes, latent
        self.share, self.alpha = share, alpha
        self.codes = codes
        layers: list[nn.Module] = [nn.Linear(size, hidden[0])]
        for low, high in zip(hidden, (*hidden[1:], classes), strict=True):
            layers += [nn.Softplus(), nn.Linear(low, high)]
        self.classifier = nn.Sequential(*layers)
        self.encoder = Given(size, classes, hidden, 2 * latent)
        self.decoder = Given(latent, classes, hidden[::-1], size if visible.binary else 2 * size)

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Return q(y | x)."""
        p: Tensor = self.classifier(self.observed(x, mean=True)).softmax(1)
        return p

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch latent"]:
        """Return the style: the mean of q(z | x, y) at the most probable class."""
        v = self.observed(x, mean=True)
        mean: Tensor = self.encoder(v, self.classifier(v).argmax(1))[0, :, : self.latent]
        return mean

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "batch latent"], y: Int[Tensor, " batch"]) -> Float[Tensor, "batch ..."]:
        """Return the means of x given style and class, in raw form."""
        theta = self.decoder(z, y)[0][:, : math.prod(self.visible.shape)]
        x = self.visible.restored(self.visible.mean(theta))
        return x if self.codes is None else self.codes.decode(x)

    def sample_of(self, y: Int[Tensor, " count"]) -> Float[Tensor, "count ..."]:
        """Return means of x for each class in `y`, with styles drawn at random."""
        return self.decode(torch.randn(len(y), self.latent, device=y.device), y)

    def sample(self, count: int) -> Float[Tensor, "count ..."]:
        """Return means of x with classes and styles drawn at random."""
        return self.sample_of(torch.randint(self.classes, (count,), device=self.encoder.shift.device))

    def analogies(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "classes batch ..."]:
        """Return what each example would look like as each class, in its own style."""
        z = self.encode(x)
        y = torch.arange(self.classes, device=x.device)
        made = self.decode(z.repeat(self.classes, 1), y.repeat_interleave(len(x)))
        return made.reshape(self.classes, *x.shape)

    @torch.no_grad()
    def observed(self, x: Float[Tensor, "batch ..."], mean: bool = False) -> Float[Tensor, "batch size"]:
        """Return what the model is of: values of the units, or M1's codes, drawn or at their means."""
        if self.codes is None:
            return self.visible.standard(x) if mean else self.visible.observed(x)
        inner = self.codes.visible
        center, log_scale = self.codes.posterior(inner.standard(x) if mean else inner.observed(x))
        return self.visible.standard(
            center if mean else torch.addcmul(center, log_scale.exp(), torch.randn_like(center))
        )

    def bounds(
        self, v: Float[Tensor, "batch size"], y: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "classes batch"]:
        """Return L(x, y) in nats for every class, or for y alone with a first axis of one; one draw of z each."""
        mean, log_scale = self.encoder(v, y).chunk(2, -1)
        scale = log_scale.exp()
        z = torch.addcmul(mean, scale, torch.randn_like(mean))
        theta = self.decoder(z if y is None else z[0], y)
        divergence = (0.5 * (mean.square() + scale.square() - 1) - log_scale).sum(-1)
        bounds: Tensor = divergence - self.log_likelihood(v, theta) + math.log(self.classes)
        return bounds

    def log_likelihood(
        self, v: Float[Tensor, "batch size"], theta: Float[Tensor, "classes batch _"]
    ) -> Float[Tensor, "classes batch"]:
        """Return log p(x | y, z) in nats, given the decoder's output."""
        if self.visible.binary:
            log_p: Tensor = (theta * v).sum(-1) - F.softplus(theta).sum(-1)
            return log_p
        mean, log_s = theta.chunk(2, -1)
        log_s = log_s.clamp_min(LEAST)
        errors = (v - mean) * log_s.neg().exp()
        density: Tensor = -(0.5 * errors.square() + log_s).sum(-1) - 0.5 * v.shape[1] * math.log(2 * math.pi)
        return density

    def loss(
        self, x: Float[Tensor, "labelled ..."], y: Int[Tensor, " labelled"], unlabelled: Float[Tensor, "batch ..."]
    ) -> Terms:
        """Return the bound of the labelled and of the unlabelled examples, and the classifier's loss, in nats."""
        few, v = self.observed(x), self.observed(unlabelled)
        log_q = F.log_softmax(self.classifier(v), 1).t()
        return {
            "labelled": self.share * self.bounds(few, y).mean(),
            "unlabelled": (1 - self.share) * (log_q.exp() * (self.bounds(v) + log_q)).sum(0).mean(),
            "classification": self.alpha * F.cross_entropy(self.classifier(few), y),
        }

    def metrics(self, x: Float[Tensor, "batch ..."], y: Int[Tensor, " batch"]) -> Terms:
        """Return the error of the most probable class, and -log q(y | x) in nats."""
        logits = self.classifier(self.observed(x, mean=True))
        return {"error": (logits.argmax(1) != y).float().mean(), "nll": F.cross_entropy(logits, y)}
