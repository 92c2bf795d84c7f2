"""Text as numbered symbols, and the windows of it that a language model learns from.

A text is a set of examples in which every symbol is one, in order, with the single field `tokens`. Symbols are
characters, numbered by a vocabulary: `END`, `UNKNOWN`, and then those of the training part in the order of Unicode.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from lamina.core import Batch, select
from lamina.data.dataset import Data
from lamina.data.examples import Examples, Mapped
from lamina.data.folders import fingerprint

END = "\N{SYMBOL FOR END OF TEXT}"  # symbol 0: ends each of several texts, and stands before the first
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # symbol 1: in held-out text, what training has never seen
LEAST = 100  # symbols in the shortest text that is worth cutting into three
PARTS = (0.9, 0.95)  # where a text is cut into training, validation and test part
CHUNK = 1 << 24  # characters that are numbered at a time


class Text:
    """A text as examples, one a symbol; up to 256 symbols take one byte each.

    Args:
        text: what it says.
        symbols: the vocabulary; a character that is not in it becomes `UNKNOWN`.
    """

    def __init__(self, text: str, symbols: Sequence[str]) -> None:
        kind = np.uint8 if len(symbols) <= 256 else np.int32
        table = np.full(0x110000, symbols.index(UNKNOWN), kind)  # one entry for each character of Unicode
        table[[ord(symbol) for symbol in symbols]] = np.arange(len(symbols))
        chunks = (text[at : at + CHUNK] for at in range(0, len(text), CHUNK))
        codes = [table[np.frombuffer(chunk.encode("utf-32-le"), "<u4")] for chunk in chunks]
        self.codes = torch.from_numpy(np.concatenate([table[:0], *codes]))

    def __len__(self) -> int:
        return len(self.codes)

    def fetch(self, indices: Int64[Tensor, " batch"]) -> Batch:
        return {"tokens": self.codes.index_select(0, indices).long()}


class Windows:
    """A long text laid out in rows that are read side by side, each in order, window after window.

    The rows are consecutive stretches of the text, as equal as whole windows make them: the first ones may be a window
    longer, and the last batch then has only these. Every symbol is told once in an epoch, from the one before it, but
    for fewer than `window` at the text's end. The order is always the same.

    A batch has `tokens` and `targets`, int64 (rows, window), and `fresh`, bool (rows,), which is true in the first.
    The targets are the text; the tokens are the symbols before them, and `END` before the first of all.

    Args:
        text: examples with the field `tokens`, one a symbol.
        rows: rows of a batch; as many as there are windows if they are fewer.
        window: symbols that each row goes on by; all if there are fewer.

    Raises:
        ValueError: a size below one, or a text without a symbol.
    """

    def __init__(self, text: Examples, rows: int, window: int) -> None:
        if rows < 1 or window < 1:
            raise ValueError(f"windows need at least 1 row and 1 symbol, got {rows} rows of {window}")
        if not len(text):
            raise ValueError("the text has no symbol")
        self.text, self.window = text, min(window, len(text))
        windows = len(text) // self.window
        self.rows = min(rows, windows)
        self.short, self.longer = divmod(windows, self.rows)  # windows of each row, and rows that have one more

    def __len__(self) -> int:
        return self.short + bool(self.longer)

    def epoch(self, k: int, start: int = 0) -> Iterator[Batch]:
        row = torch.arange(self.rows)
        begins = row * self.short + row.clamp(max=self.longer)  # in windows
        for i in range(start, len(self)):
            yield self.batch((begins if i < self.short else begins[: self.longer]) + i, fresh=i == 0)

    def batch(self, windows: Int64[Tensor, " rows"], fresh: bool) -> Batch:
        """Return the windows of the given numbers."""
        places = (windows * self.window)[:, None] + torch.arange(-1, self.window)
        symbols = select(self.text.fetch(places.clamp(min=0).flatten()), ("tokens",))["tokens"]
        symbols = symbols.view(len(windows), -1).masked_fill(places < 0, 0)
        return {
            "tokens": symbols[:, :-1].contiguous(),
            "targets": symbols[:, 1:].contiguous(),
            "fresh": torch.full((len(windows),), fresh),
        }


def read_text(path: Path) -> Data:
    """Return a file's text: its first 90 % to learn from, the next 5 % to choose with, the last 5 % to report on.

    Args:
        path: .txt, one text; or .jsonl, objects with the field "text", one a line, each followed by `END`. In UTF-8.

    Raises:
        ValueError: it is empty, shorter than 100 symbols, not UTF-8, or a line is not as it should be.
    """
    text = decoded(path)
    if path.suffix.lower() == ".jsonl":
        text = "".join(parsed(path, number, line) + END for number, line in lines(text))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(text) < LEAST:
        told = f"holds {len(text)} symbols" if text else "is empty"
        raise ValueError(f"{path} {told}; it takes {LEAST} to learn from, to choose with and to report on")
    first, second = (int(share * len(text)) for share in PARTS)
    return from_texts(str(path), text[:first], text[first:second], text[second:], fingerprint(path, [path]))


def from_texts(name: str, train: str, valid: str, test: str, hashes: Mapping[str, str] | None = None) -> Data:
    """Return a data set of three texts, with the vocabulary of the first."""
    symbols = (END, UNKNOWN, *sorted(set(train) - {END, UNKNOWN}))
    return Data(name, Text(train, symbols), Text(valid, symbols), Text(test, symbols), symbols, hashes or {})


def recoded(text: Examples, have: Sequence[str], want: Sequence[str]) -> Examples:
    """Return text whose symbols are numbered by `want` in place of `have`; those that `want` lacks become `UNKNOWN`."""
    if tuple(have) == tuple(want):
        return text
    place = {symbol: number for number, symbol in enumerate(want)}
    table = torch.tensor([place.get(symbol, place[UNKNOWN]) for symbol in have])
    return Mapped(text, lambda batch: {**batch, "tokens": table[select(batch, ("tokens",))["tokens"]]})


def decoded(path: Path) -> str:
    """Return the content of a file in UTF-8, without the mark that some editors put before it.

    Raises:
        ValueError: it is in another encoding; the message names the byte and its line.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        where = f"byte {error.start + 1}, in line {line}, is 0x{content[error.start]:02x}"
        raise ValueError(f"{path} is not UTF-8: {where}; save it as UTF-8") from None


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def parsed(path: Path, number: int, line: str) -> str:
    """Return the text of a line of .jsonl.

    Raises:
        ValueError: it has none.
    """
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: this is no JSON: {error}") from None
    if not isinstance(record, dict) or "text" not in record:
        there = f"it has {', '.join(record) or 'no field'}" if isinstance(record, dict) else "it is no object"
        raise ValueError(f"{path}, line {number}: the field 'text' is missing; {there}")
    text = record["text"]
    if not isinstance(text, str):
        raise ValueError(f"{path}, line {number}: the field 'text' holds {text!r:.40}, not a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ValueError(f"{path}, line {number}: the field 'text' holds half a character, {half!r}") from None
    return text
