"""Discriminative restricted Boltzmann machine: an RBM over inputs x and a class y, trained to tell the class.

    E(x, y, h)  = -log m(x) - aᵀx - d_y - bᵀh - xᵀWh - U_y h                    p(x, y, h) = exp(-E(x, y, h)) / Z
    -F(x, y)    = log Σ_h exp(-E(x, y, h)) = log m(x) + aᵀx + s_y(x)
    s_y(x)      = d_y + Σ_j softplus(b_j + U_yj + (xᵀW)_j)
    p(y | x)    = exp(s_y(x)) / Σ_k exp(s_k(x))                                  exact: Z and a cancel
    loss        = -log p(y | x) - generative · log p(x, y)

The first term has a closed gradient, that of the cross-entropy of the logits s. The gradient of the second is that of
F(x, y) less its mean under the model, which is estimated from Gibbs chains over x, y and h as in `rbm`: from the data
(CD-k) or persistent (PCD-k). Larochelle & Bengio (2008), "Classification using discriminative restricted Boltzmann
machines", sections 3 (p(y | x)), 4 (discriminative) and 5 (hybrid).

Differs from the paper: updates take batches, where the paper's take single examples; chains may persist.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.sampling.enumerate import LARGEST, states
from lamina.systems.energy.units import Bernoulli, Gaussian, flip


class DiscriminativeRBM(System):
    """RBM over inputs and their class; hybrid if the weight of the generative term is above zero.

    Args:
        visible: the units of the input.
        hidden: how many hidden units.
        classes: how many classes.
        bias: initial bias a of the input, such as `visible.matching` the data; zero by default.
        generative: weight of -log p(x, y).
        k: Gibbs steps an update. A schedule of "system.k" can raise it in the course of a run.
        chains: persistent chains; with none, every update starts from its batch.
    """

    def __init__(
        self,
        visible: Bernoulli | Gaussian,
        hidden: int,
        classes: int,
        bias: Float[Tensor, "visible"] | None = None,
        generative: float = 0.0,
        k: int = 1,
        chains: int = 0,
    ) -> None:
        super().__init__()
        if hidden < 1 or k < 1 or chains < 0 or classes < 2:
            sizes = f"{hidden}, {k}, {chains} and {classes}"
            raise ValueError(f"hidden and k must be at least 1, chains 0 and classes 2, got {sizes}")
        if generative < 0:
            raise ValueError(f"the weight of the generative term must be at least 0, got {generative}")
        size = math.prod(visible.shape)
        self.visible, self.generative = visible, generative
        self.k: float = k  # a schedule may set fractions; they are rounded
        self.W = nn.Parameter(torch.empty(size, hidden).uniform_(-1, 1) / max(size, hidden) ** 0.5)  # the paper's
        self.U = nn.Parameter(torch.empty(classes, hidden).uniform_(-1, 1) / max(classes, hidden) ** 0.5)
        self.a = nn.Parameter(torch.zeros(size) if bias is None else bias.clone())
        self.b = nn.Parameter(torch.zeros(hidden))
        self.d = nn.Parameter(torch.zeros(classes))
        self.chains: Tensor
        self.register_buffer("chains", flip(torch.full((chains, hidden), 0.5)))

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Return p(y | x), of grey values at their means."""
        return self.logits(self.field(self.visible.standard(x))).softmax(1)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch hidden"]:
        """Return p(h_j = 1 | x) = Σ_y p(y | x) p(h_j = 1 | x, y)."""
        field = self.field(self.visible.standard(x))
        p = self.logits(field).softmax(1)
        return torch.einsum("by,byh->bh", p, (field[:, None] + self.U).sigmoid_())

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch"]:
        """Return log Σ_y exp(-F(x, y)) in nats: log p(x) up to a constant; it means little if `generative` is 0."""
        v = self.visible.standard(x)
        return self.visible.log_carrier(v) + v @ self.a + self.logits(self.field(v)).logsumexp(1)

    @torch.no_grad()
    def sample(self, count: int, steps: int = 1000) -> Float[Tensor, "count ..."]:
        """Return inputs of Gibbs chains that start from the persistent ones, or from noise if it has none."""
        return self.visible.restored(self.gibbs(self.start(count), steps)[0])

    @torch.no_grad()
    def sample_of(self, y: Int[Tensor, " count"], steps: int = 1000) -> Float[Tensor, "count ..."]:
        """Return an input of each class in `y`, from Gibbs chains whose class is held."""
        return self.visible.restored(self.gibbs(self.start(len(y)), steps, y)[0])

    @torch.no_grad()
    def log_partition(self) -> float:
        """Return log Z in nats, summed over all hidden states in float64.

        Raises:
            ValueError: too many hidden units.
        """
        W, U, a, b, d = (parameter.double().cpu() for parameter in (self.W, self.U, self.a, self.b, self.d))
        if len(b) > LARGEST:
            raise ValueError(f"cannot enumerate {len(b)} hidden units, at most {LARGEST}: make the machine smaller")
        parts = (
            h @ b + self.visible.log_partition(a + h @ W.t()) + (d + h @ U.t()).logsumexp(1) for h in states(len(b))
        )
        return float(torch.stack([part.logsumexp(0) for part in parts]).logsumexp(0))

    def field(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch hidden"]:
        """Return b + vᵀW, what the hidden units get from all but the class."""
        return torch.addmm(self.b, v, self.W)

    def logits(self, field: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch classes"]:
        """Return s_y(x) for all classes, given b + xᵀW."""
        return self.d + F.softplus(field[:, None] + self.U).sum(-1)

    def free_energy(self, v: Float[Tensor, "batch visible"], y: Int[Tensor, " batch"]) -> Float[Tensor, "batch"]:
        """Return F(x, y) in nats."""
        s = self.d[y] + F.softplus(self.field(v) + self.U[y]).sum(-1)
        return -self.visible.log_carrier(v) - v @ self.a - s

    def start(self, count: int) -> Float[Tensor, "count hidden"]:
        """Return hidden states to begin with: persistent chains drawn at random, or noise."""
        if len(self.chains):
            return self.chains[torch.randint(len(self.chains), (count,), device=self.W.device)]
        return flip(self.b.new_full((count, len(self.b)), 0.5))

    def down(
        self, h: Float[Tensor, "batch hidden"], y: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "batch visible"], Int[Tensor, " batch"]]:
        """Return x and y, drawn given h; a y that is given is held."""
        if y is None:
            y = torch.addmm(self.d, h, self.U.t()).softmax(1).multinomial(1).squeeze(1)
        return self.visible.draw(torch.addmm(self.a, h, self.W.t())), y

    def gibbs(
        self, h: Float[Tensor, "batch hidden"], steps: int, y: Int[Tensor, " batch"] | None = None
    ) -> tuple[Float[Tensor, "batch visible"], Int[Tensor, " batch"]]:
        """Return x and y after drawing them given h, and then `steps` - 1 rounds more; a y that is given is held."""
        v, label = self.down(h, y)
        for _ in range(steps - 1):
            v, label = self.down(flip((self.field(v) + self.U[label]).sigmoid_()), y)
        return v, label

    def loss(self, x: Float[Tensor, "batch ..."], y: Int[Tensor, " batch"]) -> Terms:
        """Return -log p(y | x), and of a hybrid a surrogate that has the gradient of contrastive divergence."""
        data = self.visible.observed(x)
        field = self.field(data)
        s = self.logits(field)
        terms = {"discriminative": F.cross_entropy(s, y)}
        if self.generative:
            with torch.no_grad():
                h = self.chains if len(self.chains) else flip((field + self.U[y]).sigmoid_())
                model, label = self.gibbs(h, round(self.k))
                means = model.mean(0) - data.mean(0)
            shown = self.field(model) + self.U[label]
            if len(self.chains):
                flip(shown.detach().sigmoid(), out=self.chains)
            rise = (self.d[label] + F.softplus(shown).sum(-1)).mean() - s.gather(1, y[:, None]).mean()
            terms["generative"] = self.generative * (means @ self.a + rise)  # the carrier has no parameter
        return terms

    def metrics(self, x: Float[Tensor, "batch ..."], y: Int[Tensor, " batch"]) -> Terms:
        """Return the error of the most probable class, and -log p(y | x) in nats."""
        s = self.logits(self.field(self.visible.standard(x)))
        return {"error": (s.argmax(1) != y).float().mean(), "nll": F.cross_entropy(s, y)}
