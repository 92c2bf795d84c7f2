"""Memory network with strong supervision: which statements an answer follows from is told while training.

I turns sentences into bags of words Φ, G writes them to memory, O looks k statements up, one after the other, and R
answers with a word:

    o₁ = argmax_i s_O(q, m_i),   o₂ = argmax_i s_O([q, m_o₁], m_i),   r = argmax_w s_R([q, m_o₁, m_o₂], w)   (2 to 4)
    s(x, y) = Φ_x(x)ᵀ Uᵀ U Φ_y(y)                                                                              (5)

Words of the question, of each looked-up memory and of y have features, and so columns of U, of their own. With
`matching`, Φ_y(y) has further ones for its words that are in the question and in each looked-up memory (section 3.6),
and Φ_x(x) for words of a looked-up memory that are in the question. With `order`, each of these features has another
beside it, whose value is the place of the word in its sentence; a bag of words alone does not tell who gives to whom.
The loss has margins over all other statements f and words w, with the true o₁, o₂ and r:

    Σ_f max(0, γ − s_O(q, m_o₁) + s_O(q, f)) + Σ_f max(0, γ − s_O([q, m_o₁], m_o₂) + s_O([q, m_o₁], f))      (6, 7)
    + Σ_w max(0, γ − s_R([q, m_o₁, m_o₂], r) + s_R([q, m_o₁, m_o₂], w))                                        (8)

With `time` (section 3.4) O compares two statements by when they were written: y is preferred to y' if

    s_Ot(x, y, y') = s_O(x, y) − s_O(x, y') + Φ_x(x)ᵀ Uᵀ U Φ_t(x, y, y') > 0

where Φ_t has two features: [x older than y] − [x older than y'], and 1 or −1 as y is newer or older than y'. The
margins are over s_Ot(x, m_o, f), and the search goes from the oldest statement to the newest and keeps the preferred
one. Words not seen in training have features by their neighbors (`lamina.modules.bags`); while training some known
words are taken for unseen.

Weston, Chopra & Bordes (2015), Memory networks, section 3.

Differs from the paper: its three time features are made antisymmetric, so that y is preferred to y' exactly if y' is
not to y; its own cannot prefer the newer of two statements with the same words. The age of [q, m_o₁] is that of m_o₁.
Each memory in x has columns of its own. `order` is ours. A question with fewer supporting facts than looks has the
empty statement for the others, as in Weston et al. (2015), Towards AI-complete question answering. The order of the
supporting facts is not in the data: the first is the one that shares most with the question, the next that which shares
most with the one before, rare words of the story counting more. A temperature, learned beside the rest, makes
probabilities out of s_R.
"""

from operator import itemgetter

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from lamina.core import System, Terms
from lamina.modules.bag_scores import Scores
from lamina.modules.bags import SCALE, Bags, Sentences, bags_of

SPECIAL = 2  # symbols 0 and 1 are no word and an unknown word: never an answer
LATE = 1e-4  # what being one statement older takes off, among supporting facts that share as much


class MemNN(System):
    """A memory network that is trained by answers and by the statements that they follow from.

    Args:
        vocabulary: number of symbols; 0 is no word and 1 an unknown one. Higher ones than these are unseen words.
        hidden: rows of U.
        looks: k, statements that are looked up.
        time: compare statements by when they were written.
        matching: have features for words that two sentences share.
        order: let the order of words count.
        unseen: share of the words that are taken for unseen in half of the questions while training; with 0, unseen
            words have no features.
        margin: γ.
        negatives: statements and words that each margin is drawn over; with 0 it is over all.

    Raises:
        ValueError: a size below one, or a share outside 0..1.
    """

    def __init__(
        self,
        vocabulary: int,
        hidden: int = 50,
        looks: int = 2,
        time: bool = True,
        matching: bool = True,
        order: bool = False,
        unseen: float = 0.0,
        margin: float = 0.1,
        negatives: int = 0,
    ) -> None:
        super().__init__()
        if min(vocabulary, hidden, looks, negatives + 1) < 1:
            told = f"got {vocabulary}, {hidden}, {looks} and {negatives}"
            raise ValueError(f"it takes at least 1 symbol, number and look, and 0 negatives, {told}")
        if not 0 <= unseen <= 1:
            raise ValueError(f"the share of words that are taken for unseen lies in 0..1, got {unseen:g}")
        self.vocabulary, self.looks, self.order, self.unseen = vocabulary, looks, order, unseen
        self.margin, self.negatives = margin, negatives
        self.O = Scores(vocabulary, hidden, looks, matching, order, unseen > 0)
        self.R = Scores(vocabulary, hidden, looks + 1, matching, order, unseen > 0, words=True)
        self.ages = nn.Parameter(SCALE * torch.randn(2, hidden)) if time else None
        self.nothing = nn.Parameter(SCALE * torch.randn(hidden)) if looks > 1 else None
        self.temperature = nn.Parameter(torch.zeros(()))

    @property
    def new_words(self) -> bool:
        """Whether words never seen in training have features."""
        return self.unseen > 0

    @torch.no_grad()
    def answer(
        self, story: Int64[Tensor, "batch memory places"], question: Int64[Tensor, "batch asked"]
    ) -> tuple[Float[Tensor, "batch words"], Float[Tensor, "batch looks memory"]]:
        """Return the probability of each symbol, and for each look 1 at the statement that it finds.

        Unseen words may have numbers of their own, above those of the vocabulary; they can be answers.
        """
        words = max(self.vocabulary, 1 + int(story.max()), 1 + int(question.max()))
        bags = self.bags(story, question, words)
        places = self.look_up(bags)
        p = self.logits(self.responses(bags, places)).softmax(1)
        return p, F.one_hot(places, story.shape[1] + 1)[..., :-1].float()

    def bags(
        self, story: Int64[Tensor, "batch memory places"], question: Int64[Tensor, "batch asked"], words: int
    ) -> Bags:
        """Return I and G: a story and a question as bags of words, some of them unseen."""
        if not self.unseen:
            return bags_of(story, question, words, order=self.order)
        symbols = torch.arange(words, device=story.device)
        strange = ((symbols == 1) | (symbols >= self.vocabulary)).expand(len(story), -1)
        if self.training:
            share = self.unseen * torch.randint(2, (len(story), 1), device=story.device)
            strange = strange | ((torch.rand(strange.shape, device=story.device) < share) & (symbols > 0))
        return bags_of(story, question, words, strange, self.vocabulary, self.order)

    def parts(self, bags: Bags, places: Int64[Tensor, "batch found"]) -> list[Sentences]:
        """Return the question and the statements at these places, as x; the place after the last is empty."""
        here = torch.arange(len(places), device=places.device)[:, None]
        story = bags.story.each(lambda values: F.pad(values, (0, 0, 0, 1)))
        found = [story.each(itemgetter((here, place[:, None]))) for place in places.unbind(1)]
        return [bags.question.each(lambda values: values[:, None]), *found]

    def preferences(
        self, bags: Bags, places: Int64[Tensor, "batch found"]
    ) -> tuple[Float[Tensor, "batch options"], Float[Tensor, "batch 1"]]:
        """Return g and b with s_Ot(x, y, y') = g(y) − g(y') ± b, for a newer or an older y.

        After the first look there is one option more than there are statements, the empty one, which has no age.
        """
        x = self.parts(bags, places)
        given, options = self.O.given(bags, x), self.O.of_statements(bags, x)
        late = given.new_zeros(len(given), 1)
        if self.ages is not None:
            late = given @ self.ages[1:].T
            if len(x) > 1:
                age, last = torch.arange(options.shape[1], device=options.device), places[:, -1:]
                older = (last > age) & (last < len(age))  # the empty statement has no age
                options = options + older[..., None] * self.ages[0]
        if len(x) > 1 and self.nothing is not None:
            options = torch.cat([options, self.nothing.expand(len(options), 1, -1)], 1)
        return (options @ given[..., None])[..., 0], late

    def look_up(self, bags: Bags) -> Int64[Tensor, "batch looks"]:
        """Return the places of the statements that are looked up; the place after the last is the empty statement."""
        memory = bags.told.shape[1]
        places = torch.zeros(len(bags.told), 0, dtype=torch.int64, device=bags.told.device)
        for _ in range(self.looks):
            g, late = self.preferences(bags, places)
            found = preferred(g[:, :memory].masked_fill(~bags.told, -torch.inf), late)
            if g.shape[1] > memory:
                best = g.gather(1, found[:, None])[:, 0]
                found = torch.where((g[:, memory] > best) | ~bags.told[:, 0], memory, found)
            places = torch.cat([places, found[:, None]], 1)
        return places

    def responses(self, bags: Bags, places: Int64[Tensor, "batch looks"]) -> Float[Tensor, "batch words"]:
        """Return s_R of each word."""
        x = self.parts(bags, places)
        return (self.R.of_words(bags, x) @ self.R.given(bags, x)[..., None])[..., 0]

    def logits(self, scores: Float[Tensor, "batch words"]) -> Float[Tensor, "batch words"]:
        """Return the logits of answers with these scores."""
        never = torch.arange(scores.shape[1], device=scores.device) < SPECIAL
        return (self.temperature.exp() * scores).masked_fill(never, -torch.inf)

    def loss(
        self,
        story: Int64[Tensor, "batch memory places"],
        question: Int64[Tensor, "batch asked"],
        y: Int64[Tensor, " batch"],
        support: Bool[Tensor, "batch memory"],
    ) -> Terms:
        """Return the margins of looks and answer, and the nats that the answer takes, which train the temperature."""
        bags = self.bags(story, question, self.vocabulary)
        places = ordered(bags, support, self.looks)
        output = story.new_zeros((), dtype=torch.float32)
        for look in range(self.looks):
            g, late = self.preferences(bags, places[:, :look])
            output = output + self.margins(bags.told, g, late, places[:, look], support.any(1))
        scores = self.responses(bags, places)
        others = (torch.arange(scores.shape[1], device=scores.device) >= SPECIAL).expand_as(scores)
        gaps = scores.gather(1, y[:, None]) - scores
        response = self.over(gaps, others.scatter(1, y[:, None], False)).mean()
        return {"output": output, "response": response, "nll": F.cross_entropy(self.logits(scores.detach()), y)}

    def margins(
        self,
        told: Bool[Tensor, "batch memory"],
        g: Float[Tensor, "batch options"],
        late: Float[Tensor, "batch 1"],
        place: Int64[Tensor, " batch"],
        marked: Bool[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Return Σ_f max(0, γ − s_Ot(x, m_o, f)), equations 6 and 7, for questions whose support is marked."""
        memory, options = told.shape[1], g.shape[1]
        there = F.pad(told, (0, options - memory), value=True)
        at = place.clamp(max=options - 1)[:, None]  # the first look finds a statement
        age = torch.arange(options, device=g.device)
        newer = (age - at).sign() * (age < memory) * (at < memory)
        gaps = g.gather(1, at) - g + late * newer
        sums = self.over(gaps, there.scatter(1, at, False))
        return (sums * marked).sum() / marked.sum().clamp(min=1)

    def over(
        self, gaps: Float[Tensor, "batch options"], others: Bool[Tensor, "batch options"]
    ) -> Float[Tensor, " batch"]:
        """Return the sum of max(0, γ − gap) over the other options, or its mean over some that are drawn."""
        short = (self.margin - gaps).relu() * others
        if not self.negatives:
            return short.sum(1)
        chance = torch.where(others.any(1, keepdim=True), others, True).float()
        return short.gather(1, chance.multinomial(self.negatives, replacement=True)).mean(1)

    def metrics(
        self,
        story: Int64[Tensor, "batch memory places"],
        question: Int64[Tensor, "batch asked"],
        y: Int64[Tensor, " batch"],
        support: Bool[Tensor, "batch memory"],
    ) -> Terms:
        """Return the share of wrong answers, that of questions with other statements than are marked, and the nats."""
        p, looks = self.answer(story, question)
        marked = support.any(1)
        wrong = (looks.amax(1).bool() != support).any(1) & marked
        return {
            "error": (p.argmax(1) != y).float().mean(),
            "support": wrong.sum() / marked.sum().clamp(min=1),
            "nll": -p.gather(1, y[:, None]).clamp(min=torch.finfo(p.dtype).tiny).log().mean(),
        }


def preferred(g: Float[Tensor, "batch memory"], late: Float[Tensor, "batch 1"]) -> Int64[Tensor, " batch"]:
    """Return the statement that is kept from the oldest to the newest: a newer y is if g(y) − g(y') + b > 0."""
    found = torch.full((len(g),), g.shape[1] - 1, device=g.device)
    best = g[:, -1]
    for place in range(g.shape[1] - 2, -1, -1):
        better = g[:, place] + late[:, 0] > best
        found = torch.where(better, place, found)
        best = torch.where(better, g[:, place], best)
    return found


def ordered(bags: Bags, support: Bool[Tensor, "batch memory"], looks: int) -> Int64[Tensor, "batch looks"]:
    """Return the places of the supporting facts in the order of the looks, and the place after the last for no more."""
    memory = support.shape[1]
    there = (bags.story.counts > 0).float()
    rare = (bags.told.sum(1, keepdim=True) / there.sum(1).clamp(min=1)).log()  # of each word, by its statements
    here, left = torch.arange(len(support), device=support.device), support.clone()
    shared, places = (bags.question.counts > 0) * rare, []
    for _ in range(looks):
        score = (there @ shared[..., None])[..., 0] - LATE * torch.arange(memory, device=support.device)
        place = score.masked_fill(~left, -torch.inf).argmax(1)
        places.append(torch.where(left.any(1), place, memory))
        left[here, place] = False
        shared = there[here, place] * rare
    return torch.stack(places, 1)
