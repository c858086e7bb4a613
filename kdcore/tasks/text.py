"""Texts: phrases, sentences, reviews. Models see the numbers of their tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kdcore.errors import require
from kdcore.tasks.base import Task
from kdcore.tasks.report import DataOptions, Lengths, Report, Survey
from kdcore.tasks.vocabulary import PIECES, Tokens, learn_vocabulary

# As UTF-8; what is longer is cut when it is stored.
MOST_BYTES_OF_A_TEXT = 4_000
SHOWN_SIGNS = 280
TEXTS_MEASURED = 10_000
MOST_STEPS_OF_LENGTH = 30


class Text(Task):
    """Texts, stored as UTF-8 bytes [length], padded with zeros; models see tokens [length]."""

    name: ClassVar[str] = "text"
    title: ClassVar[str] = "texts"
    icon: ClassVar[str] = ":material/notes:"
    written: ClassVar[bool] = True
    size_label: ClassVar[str] = "Tokens of a text"
    preview_help: ClassVar[str] = "The beginnings of some texts of each class."
    scaling: ClassVar[str] = "none"
    networks: ClassVar[str] = "a network for texts, such as transformer-2-64 or bag-64"
    starting_networks: ClassVar[tuple[str, str]] = ("transformer-2-64", "transformer-1-32")
    candidates: ClassVar[tuple[str, ...]] = (
        "transformer-4-64",
        "transformer-2-64",
        "transformer-2-32",
        "transformer-1-32",
        "bag-64",
        "bag-16",
    )

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Return that arrays are never taken for texts: numbers are not words."""
        return False

    def refuse_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Refuse nothing: each text is cut to what fits."""

    def examine(self, survey: Survey, array: NDArray, count: int) -> None:
        """Note how long a text is, and keep some to see how many tokens they have."""
        survey.sizes[len(array), 1] += count
        if len(survey.texts) < TEXTS_MEASURED:
            survey.texts.append(array[:MOST_BYTES_OF_A_TEXT].tobytes())

    def canonical(self, array: NDArray) -> NDArray:
        """Return a text as models see it: two that differ in capitals or blanks are one."""
        text = array.tobytes().decode("utf-8", "replace")
        return as_bytes(" ".join(unicodedata.normalize("NFC", text).lower().split()))

    def settle(self, survey: Survey, options: DataOptions, report: Report) -> None:
        """Keep bytes as they are; models see so many tokens. Say how many texts are longer."""
        require(options.size is None, "size", "left out for texts", options.size)
        require(options.colour == "as it is", "colour", "left out for texts", options.colour)
        left_out = options.scaling in ("auto", "none")
        require(left_out, "scaling", "left out for texts", options.scaling)
        tokens = Tokens(options.pieces, options.vocabulary, options.length)
        report.shape, report.dtype, report.tokens = [tokens.length], "uint8", asdict(tokens)
        longest = max((size for size, _ in survey.sizes), default=1)
        report.width = min(longest, MOST_BYTES_OF_A_TEXT)
        beyond = sum(
            count for (size, _), count in survey.sizes.items() if size > MOST_BYTES_OF_A_TEXT
        )
        if beyond:
            report.warnings.append(
                f"{beyond:,} text{'s are' if beyond > 1 else ' is'} longer than the "
                f"{MOST_BYTES_OF_A_TEXT:,} bytes that are stored of each, and lose"
                f"{'' if beyond > 1 else 's'} what comes after them."
            )
        characters = [len(text.decode("utf-8", "replace")) for text in survey.texts]
        report.values = (
            f"texts of {min(characters, default=0):,} to {max(characters, default=0):,} characters, "
            f"{round(float(np.mean(characters))) if characters else 0:,} on average"
        )
        texts = [text.decode("utf-8", "replace") for text in survey.texts]
        if not texts:
            return
        lengths = measure_lengths(texts, tokens)
        report.lengths = asdict(lengths)
        if cut := lengths.cut:
            of = "" if len(texts) < TEXTS_MEASURED else f" of the first {len(texts):,}"
            report.warnings.append(
                f"{cut:,} texts{of} are longer than {tokens.length:,} tokens and lose their end "
                "(length)."
            )

    def fit(self, examples: Sequence[NDArray], report: Report) -> NDArray:
        """Return texts as bytes [n, width], as wide as the longest of all."""
        return padded(list(examples), report.width)

    def preview(self, examples: Sequence[NDArray], survey: Survey, report: Report) -> NDArray:
        """Return the beginnings of texts, [n]."""
        return beginnings(texts_of(padded(list(examples))))

    def about(self, report: Report) -> list[tuple[str, str]]:
        """Say how texts become tokens."""
        found = report.tokens or {}
        pieces = PIECES.get(found["pieces"], "") if "pieces" in found else ""
        lines = [
            (
                "tokens",
                f"{pieces}, at most {found.get('size', 0):,} different ones, learnt from the training part",
            )
        ]
        if report.lengths is not None:  # older reports have none
            lines.append(("lengths", Lengths(**report.lengths).words))
        return lines

    def stored_in_words(self, report: Report) -> str:
        """Return that texts are stored as they are."""
        return f"UTF-8 of at most {report.width:,} bytes, {report.shape[0]} tokens"

    def scaling_in_words(self, report: Report) -> str:
        """Return that nothing is scaled."""
        return "the numbers of tokens"

    def show(
        self, inputs: NDArray, training: NDArray, scale: float, value_range: tuple[float, float]
    ) -> NDArray:
        """Return the beginnings of texts [n], given as bytes [n, width]."""
        return beginnings(texts_of(inputs))


def measure_lengths(texts: Sequence[str], tokens: Tokens) -> Lengths:
    """Return how long some texts are in tokens of a vocabulary that is learnt from them."""
    tokenizer = learn_vocabulary(texts, tokens).tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    found = np.array([len(each.ids) for each in tokenizer.encode_batch_fast(list(texts))])
    least, most = int(found.min()), int(found.max())
    step = -(-(most - least + 1) // MOST_STEPS_OF_LENGTH)
    # What is cut begins a step of its own.
    first_cut = tokens.length + 1
    first = first_cut + (least - first_cut) // step * step
    edges = np.arange(first, most + step + 1, step)
    counts, _ = np.histogram(found, edges)
    return Lengths(
        tuple(map(int, counts)),
        tuple(map(int, edges)),
        tokens.length,
        int(np.count_nonzero(found > tokens.length)),
        least,
        int(np.sort(found)[(len(found) - 1) // 2]),
        most,
    )


def as_bytes(text: str) -> NDArray[np.uint8]:
    """Return a text as UTF-8 [length], without zero bytes."""
    return np.frombuffer(text.replace("\x00", " ").encode("utf-8", "replace"), np.uint8)


def padded(rows: Sequence[NDArray[np.uint8]], width: int | None = None) -> NDArray[np.uint8]:
    """Return bytes of texts as one array [n, width], zeros after each; by default as wide as the
    longest, and never wider than what is stored of a text. Longer ones are cut between characters.
    """
    longest = max((len(row) for row in rows), default=0) if width is None else width
    found = np.zeros((len(rows), min(max(longest, 1), MOST_BYTES_OF_A_TEXT)), np.uint8)
    for at, row in enumerate(rows):
        kept = row
        if len(row) > found.shape[1]:
            whole = row[: found.shape[1]].tobytes().decode("utf-8", "ignore")
            kept = np.frombuffer(whole.encode(), np.uint8)
        found[at, : len(kept)] = kept
    return found


def texts_of(rows: NDArray[np.uint8]) -> list[str]:
    """Return the texts that are stored as bytes [n, width]."""
    return [bytes(row).rstrip(b"\x00").decode("utf-8", "replace") for row in rows]


def beginnings(texts: Sequence[str]) -> NDArray[np.str_]:
    """Return texts in one line each and short enough to show, [n]."""
    lines = [" ".join(text.split()) for text in texts]
    return np.array(
        [line if len(line) <= SHOWN_SIGNS else line[: SHOWN_SIGNS - 1] + "…" for line in lines],
        np.str_,
    )
