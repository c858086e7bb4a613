"""Texts as numbers: a tokenizer of the library ``tokenizers``, learnt from the training part.

A vocabulary is the library's own JSON. It travels with the run and leaves with an exported model,
so that whoever answers sees exactly the tokens of the training.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE, WordLevel, WordPiece

from kdcore.errors import require

Pieces = Literal["characters", "bpe", "wordpiece"]
PIECES: dict[Pieces, str] = {
    "characters": "characters",
    "bpe": "parts of words",
    "wordpiece": "word pieces",
}
PADDING, UNKNOWN, BEGINNING, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PADDING, UNKNOWN, BEGINNING, END, MASK)
PADDING_ID, UNKNOWN_ID, MASK_ID = (
    SPECIAL.index(PADDING),
    SPECIAL.index(UNKNOWN),
    SPECIAL.index(MASK),
)
METASPACE = "\u2581"  # what stands for a blank among byte pairs
LEAST_LENGTH, LARGEST_LENGTH = 8, 1024
TEXTS_AT_ONCE = 2_000
LONGEST_WORD = 100  # of word pieces, in characters; a longer one is unknown
LEAST_VOCABULARY, LARGEST_VOCABULARY = 100, 50_000


@dataclass(frozen=True)
class Tokens:
    """How texts are made into tokens.

    Args:
        pieces: "characters"; "bpe" for parts of words by byte pair encoding (Sennrich 2016,
            arXiv:1508.07909); or "wordpiece" for word pieces as BERT's (Wu 2016, arXiv:1609.08144).
        size: the most different tokens that there may be; of characters, all that occur twice.
        length: tokens of each text; longer ones are cut at their end.

    Raises ConfigError for a length or size that is out of range.
    """

    pieces: Pieces = "characters"
    size: int = 2000
    length: int = 64

    def __post_init__(self) -> None:
        require(self.pieces in PIECES, "pieces", f"one of {', '.join(PIECES)}", self.pieces)
        rule = f"from {LEAST_LENGTH} to {LARGEST_LENGTH:,} tokens"
        require(LEAST_LENGTH <= self.length <= LARGEST_LENGTH, "length", rule, self.length)
        rule = f"from {LEAST_VOCABULARY} to {LARGEST_VOCABULARY:,} tokens"
        within = LEAST_VOCABULARY <= self.size <= LARGEST_VOCABULARY
        require(within, "vocabulary", rule, self.size)


@dataclass(frozen=True)
class TokenNumbers:
    """The numbers of a vocabulary's tokens, as masked language models need them.

    Args:
        count: how many there are.
        mask: the one that stands for a hidden token.
        first: the first one after the special tokens; those before it are never guessed.
    """

    count: int
    mask: int = MASK_ID
    first: int = len(SPECIAL)


@dataclass(frozen=True)
class Vocabulary:
    """What turns a text into tokens.

    ``definition`` is the tokenizer as the library writes it. It gives exactly :attr:`length` tokens
    a text: a beginning, what fits, an end, and padding.
    """

    definition: str

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself.

        A text that has "[PAD]" written in it is a text, and controls nothing.
        """
        tokenizer = Tokenizer.from_str(self.definition)
        tokenizer.encode_special_tokens = True
        return tokenizer

    @property
    def size(self) -> int:
        """How many different tokens there are, the special ones included."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def numbers(self) -> TokenNumbers:
        """The numbers of its tokens."""
        known = self.tokenizer.get_vocab()
        return TokenNumbers(self.size, known[MASK], max(known[token] for token in SPECIAL) + 1)

    @property
    def length(self) -> int:
        """Tokens of each text, with beginning, end and padding."""
        return int((self.tokenizer.padding or {})["length"])

    @property
    def digest(self) -> str:
        """A hex digest of the definition: models of equal digests see the same tokens."""
        return hashlib.sha256(self.definition.encode()).hexdigest()[:16]

    @property
    def by_characters(self) -> bool:
        """Whether each character is a token."""
        return isinstance(self.tokenizer.model, WordLevel)

    def encode(self, texts: Iterable[str]) -> NDArray[np.int32]:
        """Return the tokens of texts, [n, length]."""
        found = [np.empty((0, self.length), np.int32)]
        # What the library says of a text is a hundred times as large as its tokens.
        remaining = iter(texts)
        while some := list(itertools.islice(remaining, TEXTS_AT_ONCE)):
            rows = [each.ids for each in self.tokenizer.encode_batch_fast(list(map(_clean, some)))]
            found.append(np.array(rows, np.int32))
        return np.concatenate(found)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token of a text begins and ends in it; nothing (0, 0) for those that
        stand for no part of it.
        """
        found = self.tokenizer.encode(_clean(text))
        special = found.special_tokens_mask
        return [
            (0, 0) if special[at] else (int(begin), int(end))
            for at, (begin, end) in enumerate(found.offsets)
        ]

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the text of some tokens, without the special ones."""
        shown = (int(number) for number in numbers if int(number) not in self._special)
        return str(self.tokenizer.decode(list(shown)))

    @functools.cached_property
    def _special(self) -> frozenset[int | None]:
        """The numbers of the special tokens, which a vocabulary made elsewhere does not mark."""
        return frozenset(map(self.tokenizer.token_to_id, SPECIAL))

    def token(self, number: int) -> str:
        """Return a token by its number."""
        return str(self.tokenizer.id_to_token(number))


def _clean(text: str) -> str:
    """Return a text of the same length without halves of characters, which no encoding has."""
    return text.encode("utf-8", "replace").decode()


def learn_vocabulary(texts: Sequence[str], tokens: Tokens) -> Vocabulary:
    """Return the vocabulary of the texts of a training part, in lower case."""
    learn = {"characters": _characters, "bpe": _byte_pairs, "wordpiece": _word_pieces}
    return _of_length(learn[tokens.pieces](texts, tokens.size), tokens.length)


def wordpiece_vocabulary(
    pieces: Sequence[str],
    length: int,
    *,
    lowercase: bool,
    strip_accents: bool,
    split_on_cjk: bool,
) -> Vocabulary:
    """Return the vocabulary of a network that was trained elsewhere on word pieces (Wu 2016,
    arXiv:1609.08144), as BERT was.

    Args:
        pieces: each token's text, by its number; padding is the first.
        length: tokens of each text; longer ones are cut at their end.
        lowercase: whether it knows no capital letters.
        strip_accents: whether it knows none.
        split_on_cjk: whether each Chinese character is a word.
    """
    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=split_on_cjk,
        strip_accents=strip_accents,
        lowercase=lowercase,
    )
    numbers = {piece: number for number, piece in enumerate(pieces)}
    return _of_length(_of_word_pieces(numbers, normalizer), length)


def _of_length(tokenizer: Tokenizer, length: int) -> Vocabulary:
    """Return a tokenizer that gives so many tokens a text: beginning, what fits, end, padding."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGINNING} $A {END}",
        special_tokens=[(sign, tokenizer.token_to_id(sign)) for sign in (BEGINNING, END)],
    )
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=PADDING_ID, pad_token=PADDING)
    return Vocabulary(tokenizer.to_str())


def _in_lower_case() -> normalizers.Normalizer:
    return normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Lowercase(),
            # Control characters, line ends among them, are blanks; several blanks are one.
            normalizers.Replace(Regex(r"[\s\p{C}]+"), " "),
            normalizers.Strip(),
        ]
    )


def _characters(texts: Sequence[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = _in_lower_case()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.WordLevelTrainer(
        vocab_size=size, min_frequency=2, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return tokenizer


def _byte_pairs(texts: Sequence[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = _in_lower_case()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    alphabet = [METASPACE, *_alphabet(tokenizer, texts, size - len(SPECIAL) - 1)]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return tokenizer


def _word_pieces(texts: Sequence[str], size: int) -> Tokenizer:
    # Each Chinese character is a word.
    chinese = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    normalizer = normalizers.Sequence([_in_lower_case(), chinese])
    tokenizer = _of_word_pieces({}, normalizer)
    alphabet = _alphabet(tokenizer, texts, (size - len(SPECIAL)) // 2)
    # The trainer numbers what continues a word as it meets it, in the order of a hash map, and
    # breaks ties by these numbers: no two runs had the same pieces. Here they are numbered before.
    continuing = [f"##{each}" for each in alphabet if _continues_a_word(tokenizer, each)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*SPECIAL, *continuing],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    # A new one: in this one, what continues words became signs that no text may hold.
    return _of_word_pieces(tokenizer.get_vocab(), normalizer)


def _of_word_pieces(numbers: Mapping[str, int], normalizer: normalizers.Normalizer) -> Tokenizer:
    tokenizer = Tokenizer(
        WordPiece(dict(numbers), unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_WORD)
    )
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _alphabet(tokenizer: Tokenizer, texts: Iterable[str], most: int) -> list[str]:
    """Return the characters of texts, blanks left out: at most so many, the most frequent ones."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenizer.normalizer.normalize_str(text))
    del counts[" "]
    return sorted(counts, key=lambda each: (-counts[each], each))[:most]


def _continues_a_word(tokenizer: Tokenizer, character: str) -> bool:
    """Return whether a character is in one word with the letter before it, unlike a comma."""
    written = tokenizer.normalizer.normalize_str(f"a{character}")
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(written)) == 1


def middle_masked(texts: NDArray, mask: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return texts [m, length] with their middle token masked, and which one it is."""
    seen = texts.astype(np.int32)
    places = np.maximum(np.count_nonzero(seen, axis=1) // 2, 0)
    seen[np.arange(len(seen)), places] = mask
    return seen, places
