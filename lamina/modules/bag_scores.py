"""Score of two bags of words that have features, and so columns of U, of their own.

    s(x, y) = Φ_x(x)ᵀ Uᵀ U Φ_y(y)

Weston, Chopra & Bordes (2015), Memory networks, sections 3.1 and 3.6; see `lamina.systems.memory.memnn`.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.modules.bags import Bags, Features, Sentences


class Scores(nn.Module):
    """s(x, y) = Φ_x(x)ᵀ Uᵀ U Φ_y(y), for x of up to `parts` sentences.

    Args:
        vocabulary: known symbols.
        hidden: rows of U.
        parts: sentences in x.
        matching: whether words have features for being in y and x, or in the first and another sentence of x.
        order: whether the order of words counts.
        context: whether unseen words have features.
        words: whether y are single words, which have no place.
    """

    def __init__(
        self,
        vocabulary: int,
        hidden: int,
        parts: int,
        matching: bool,
        order: bool,
        context: bool,
        words: bool = False,
    ) -> None:
        super().__init__()

        def features(count: int) -> nn.ModuleList:
            return nn.ModuleList(Features(vocabulary, hidden, order, context) for _ in range(count))

        self.x, self.shared = features(parts), features((parts - 1) * matching)
        self.y = Features(vocabulary, hidden, order and not words, context)
        self.match = features(parts * matching)

    def given(self, bags: Bags, x: list[Sentences]) -> Float[Tensor, "batch hidden"]:
        """Return U Φ_x(x), of one sentence each."""
        shared = [part.only(x[0].counts > 0) for part in x[1:]]
        every = [*zip(x, self.x, strict=False), *zip(shared, self.shared, strict=False)]
        return torch.cat([table(bags, part) for part, table in every], 1).sum(1)

    def of_statements(self, bags: Bags, x: list[Sentences]) -> Float[Tensor, "batch memory hidden"]:
        """Return U Φ_y(m) of each statement m."""
        found: Tensor = self.y(bags, bags.story)
        for part, table in zip(x, self.match, strict=False):
            found = found + table(bags, bags.story.only(part.counts > 0))
        return found

    def of_words(self, bags: Bags, x: list[Sentences]) -> Float[Tensor, "*batch words hidden"]:
        """Return U Φ_y(w) of each word w; where it is in x is what its places mean."""
        found: Tensor = self.y.words(bags)
        for part, table in zip(x, self.match, strict=False):
            assert isinstance(table, Features)
            found = found + table.each(bags, part.each(lambda values: values[:, 0]))
        return found
