"""Recurrent language model: the probability of each symbol of a text, given all symbols before it.

With the symbol x_t, its embedding e_t, and the top layer's state h_t:

    h_t = cell(e_t, h_{t-1}),   p(x_{t+1} | x_1..x_t) = softmax(W h_t + b)
    nll = mean over t of −log p(x_{t+1} | x_1..x_t)
    rnn:  h' = tanh(W e + b + U h + c)
    lstm: i, f, o = sigmoid(...), g = tanh(...), each of We + b + Uh + c;  c' = f c + i g;  h' = o tanh(c')
    gru:  r, z = sigmoid(...);  n = tanh(W e + b + r (U h + c));  h' = (1 − z) n + z h

Training is backpropagation through time, truncated: a batch holds one window of each of its rows' texts, the next batch
the windows that follow. The state goes on from window to window, the gradient does not.

With scheduled sampling, each x_t that the network reads in training, but the first of a window, is the true one with
probability `truth`, and else one drawn from the p(x_t | ...) that the network has just told (teacher forcing: 1).

Mikolov et al. (2010), Recurrent neural network based language model; Graves (2013), Generating sequences with recurrent
neural networks, sections 2 and 3; cells of Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000),
and of Cho et al. (2014); truncation of Williams & Peng (1990); dropout where Zaremba et al. (2014) have it; one matrix
for embedding and output as in Press & Wolf (2017); scheduled sampling of Bengio et al. (2015).

Differs from the papers: no peepholes; in the GRU the reset gate acts after the product, as in torch's own layer; with
scheduled sampling the symbols of a window are drawn first, and then it is learned from in one pass.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.decoding.beam import beam_search
from lamina.losses.large_softmax import linear_cross_entropy

CELLS: dict[str, type[nn.LSTM | nn.GRU | nn.RNN]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
REMEMBER = 1.0  # bias of forget gates at first (Jozefowicz et al. 2015, An empirical exploration of recurrent networks)
BEGIN = 0  # the symbol that comes before a text's first


class LanguageModel(System):
    """A recurrent network that tells the next symbol of a text.

    Symbol 0 ends a text, and stands before the first symbol of one.

    Args:
        vocabulary: number of symbols.
        hidden: units of a layer.
        layers: recurrent layers, one above the other.
        embedding: size of a symbol's vector.
        cell: kind of the layers: "lstm", "gru" or "rnn".
        dropout: share of the activations that are dropped between layers, while training.
        rows: the most rows of a training batch; the state of each is kept from batch to batch.
        tied: let the matrix of the embedding be that of the output too.

    Raises:
        ValueError: a size below one, a dropout outside 0..1, an unknown cell, or sizes that cannot be tied.
    """

    def __init__(
        self,
        vocabulary: int,
        hidden: int = 256,
        layers: int = 1,
        embedding: int = 32,
        cell: str = "lstm",
        dropout: float = 0.0,
        rows: int = 64,
        tied: bool = False,
    ) -> None:
        super().__init__()
        sizes = {"vocabulary": vocabulary, "hidden": hidden, "layers": layers, "embedding": embedding, "rows": rows}
        if small := [name for name, size in sizes.items() if size < 1]:
            raise ValueError(f"{small[0]} must be at least 1, got {sizes[small[0]]}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a share of at least 0 and below 1, got {dropout}")
        if cell not in CELLS:
            raise ValueError(f"unknown cell '{cell}'; known: {', '.join(CELLS)}")
        if tied and embedding != hidden:
            raise ValueError(f"tied weights need an embedding of the size of a layer, got {embedding} and {hidden}")
        self.vocabulary, self.truth = vocabulary, 1.0
        self.embed = nn.Embedding(vocabulary, embedding)
        self.cells = CELLS[cell](embedding, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, vocabulary)
        if tied:
            self.head.register_parameter("weight", None)
        if cell == "lstm":
            with torch.no_grad():
                for name, bias in self.cells.named_parameters():
                    if name.startswith("bias_ih"):
                        bias[hidden : 2 * hidden] = REMEMBER  # torch orders the gates i, f, g, o
        self.register_buffer("state", torch.zeros(2 if cell == "lstm" else 1, layers, rows, hidden))
        self.state: Tensor  # of training: h, and c of an LSTM
        self.held: Tensor | None = None  # the same of a held-out text; it starts anew with every evaluation

    @torch.no_grad()
    def sample(
        self,
        count: int,
        length: int = 200,
        temperature: float = 1.0,
        prompt: Int[Tensor, " given"] | None = None,
    ) -> Int[Tensor, "{count} symbols"]:
        """Return texts: the prompt and `length` symbols drawn after it, each from p^(1 / temperature).

        Args:
            count: texts.
            length: symbols to draw for each.
            temperature: 1 draws from the model; at 0 the most probable symbol is taken.
            prompt: symbols that each text begins with.

        Raises:
            ValueError: a negative length or temperature, or a symbol that the model does not have.
        """
        if length < 0 or not 0 <= temperature < math.inf:
            raise ValueError(f"length and temperature cannot be negative, got {length} and {temperature}")
        texts = torch.full((count, 1), BEGIN, device=self.state.device)
        if prompt is not None:
            texts = torch.cat([texts, self.checked(prompt.to(texts.device)).expand(count, -1)], 1)
        drawn, state = [texts], self.nothing(count)
        for _ in range(length):
            logits, state = self.following(drawn[-1], state)
            drawn.append(draw(logits[:, -1], temperature))
        return torch.cat(drawn, 1)[:, 1:]

    @torch.no_grad()
    def complete(
        self, prompt: Int[Tensor, " given"], length: int = 20, width: int = 10, without: tuple[int, ...] = ()
    ) -> Int[Tensor, "texts symbols"]:
        """Return the most probable texts that begin with a prompt, as far as beam search finds them, the best first.

        Args:
            prompt: symbols.
            length: the most symbols that follow it; a text that ends earlier is filled with symbol 0.
            width: texts that are kept at each step; with 1 the search is greedy.
            without: symbols that must not follow, such as that of unknown words.

        Raises:
            ValueError: a length or width below one, or a symbol that the model does not have.
        """

        def step(tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            logits, state = self.following(tokens, state)
            logits[:, :, list(without)] = -torch.inf
            return logits, state

        given = torch.cat([prompt.new_full((1,), BEGIN), self.checked(prompt)]).to(self.state.device)
        found, _ = beam_search(step, self.nothing(1), given, length, width, BEGIN, of_rows)
        return torch.cat([given[1:].expand(len(found), -1), found], 1)

    @torch.no_grad()
    def score(self, x: Int[Tensor, "texts symbols"]) -> Float[Tensor, " texts"]:
        """Return log p(x) of whole texts in nats, from their first symbol on.

        Raises:
            ValueError: a symbol that the model does not have.
        """
        before = F.pad(self.checked(x)[:, :-1], (1, 0), value=BEGIN)
        logits, _ = self.following(before, self.nothing(len(x)))
        return -F.cross_entropy(logits.transpose(1, 2), x, reduction="none").sum(1)

    def following(
        self, tokens: Int[Tensor, "rows time"], state: Float[Tensor, "parts layers rows hidden"]
    ) -> tuple[Float[Tensor, "rows time vocabulary"], Float[Tensor, "parts layers rows hidden"]]:
        """Return the logits of the symbol after each of `tokens`, and the state to go on with."""
        h, end = self.told(tokens, state)
        return F.linear(h, self.output(), self.head.bias), end

    def told(
        self, tokens: Int[Tensor, "rows time"], state: Float[Tensor, "parts layers rows hidden"]
    ) -> tuple[Float[Tensor, "rows time hidden"], Float[Tensor, "parts layers rows hidden"]]:
        """Return what the output layer reads after each of `tokens`, and the state to go on with."""
        begin = tuple(state) if len(state) == 2 else state[0]
        h, end = self.cells(self.drop(self.embed(tokens)), begin)
        return self.drop(h), torch.stack(end) if len(state) == 2 else end[None]

    def output(self) -> Float[Tensor, "vocabulary hidden"]:
        """Return W."""
        weight: Tensor | None = self.head.weight
        return self.embed.weight if weight is None else weight

    def loss(
        self, tokens: Int[Tensor, "rows time"], targets: Int[Tensor, "rows time"], fresh: Bool[Tensor, " rows"]
    ) -> Terms:
        """Return the cross-entropy in nats per symbol, and keep the rows' state for the windows that follow.

        Args:
            tokens: a window of each row's text.
            targets: the symbols that follow them.
            fresh: rows that begin a new text, with a state of zeros; the others go on where their last window ended.

        Raises:
            ValueError: more rows than the model keeps states of.
        """
        rows = len(tokens)
        if rows > self.state.shape[2]:
            raise ValueError(f"a batch of {rows} rows for a model that keeps the state of {self.state.shape[2]}")
        begin = begun(self.state[:, :, :rows], fresh)
        h, end = self.told(tokens if self.truth >= 1 else self.mixed(tokens, begin), begin)
        with torch.no_grad():
            self.state[:, :, :rows] = end
        return {"nll": linear_cross_entropy(h.flatten(0, 1), self.output(), self.head.bias, targets.flatten())}

    @torch.no_grad()
    def mixed(
        self, tokens: Int[Tensor, "rows time"], state: Float[Tensor, "parts layers rows hidden"]
    ) -> Int[Tensor, "rows time"]:
        """Return a window in which a symbol is true with probability `truth`, and else the model's own."""
        told = [tokens[:, :1]]
        for true in tokens[:, 1:, None].unbind(1):
            logits, state = self.following(told[-1], state)
            told.append(torch.where(torch.rand_like(logits[:, :, 0]) < self.truth, true, draw(logits[:, -1], 1.0)))
        return torch.cat(told, 1)

    def metrics(
        self, tokens: Int[Tensor, "rows time"], targets: Int[Tensor, "rows time"], fresh: Bool[Tensor, " rows"]
    ) -> Terms:
        """Return bits per symbol, and nats. The batches of a text come in order; the state of training is not touched.

        Raises:
            ValueError: the first batch does not begin its texts.
        """
        if fresh.all():
            self.held = self.nothing(len(tokens))
        if self.held is None or self.held.shape[2] < len(tokens):
            raise ValueError(
                "held-out text must be evaluated from its beginning: every row of the first batch is fresh"
            )
        logits, end = self.following(tokens, begun(self.held[:, :, : len(tokens)], fresh))
        self.held = end.detach()
        nll = cross_entropy(logits, targets)
        return {"bits": nll / math.log(2), "nll": nll}

    def nothing(self, rows: int) -> Float[Tensor, "parts layers {rows} hidden"]:
        """Return the state before a text."""
        parts, layers, _, hidden = self.state.shape
        return self.state.new_zeros(parts, layers, rows, hidden)

    def checked(self, tokens: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Return the tokens if the model has them all."""
        if tokens.numel() and not (tokens.min() >= 0 and tokens.max() < self.vocabulary):
            raise ValueError(f"symbols are numbered 0 to {self.vocabulary - 1}, got another")
        return tokens


def begun(
    state: Float[Tensor, "parts layers rows hidden"], fresh: Bool[Tensor, " rows"]
) -> Float[Tensor, "parts layers rows hidden"]:
    """Return the state with zeros for the rows that begin a text."""
    return state.masked_fill(fresh[:, None], 0.0)


def of_rows(
    state: Float[Tensor, "parts layers rows hidden"], rows: Int[Tensor, " chosen"]
) -> Float[Tensor, "parts layers chosen hidden"]:
    """Return the state of some rows."""
    return state.index_select(2, rows)


def cross_entropy(
    logits: Float[Tensor, "rows time vocabulary"], targets: Int[Tensor, "rows time"]
) -> Float[Tensor, ""]:
    """Return the mean of −log p in nats, in float32 or better."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def draw(logits: Float[Tensor, "rows vocabulary"], temperature: float) -> Int[Tensor, "rows 1"]:
    """Return a symbol for each row."""
    if temperature == 0:
        return logits.argmax(1, keepdim=True)
    below = logits - logits.max(1, keepdim=True).values  # so that a division by little does not overflow
    return torch.multinomial((below / temperature).softmax(1), 1)
