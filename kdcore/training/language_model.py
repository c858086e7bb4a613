"""Masked language modelling, alone (Devlin 2019) or taught by another language model with the three
losses of DistilBERT (Sanh 2019, arXiv:1910.01108).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from kdcore.losses.language import (
    hidden_cosine_loss,
    masked_language_model_loss,
    token_kd_loss,
)
from kdcore.models.language_model import encoder_of
from kdcore.plans.pretraining import Pretraining
from kdcore.tasks.vocabulary import PADDING_ID, TokenNumbers, middle_masked
from kdcore.training.trainer import Trainer

# Of the tokens that are guessed: the share that is masked, and that is another token; the others
# stay as they are.
MASKED_SHARE, REPLACED_SHARE = 0.8, 0.1
# Of the real tokens of held-out texts that are guessed, however many are in training.
MEASURED_SHARE = 0.15
# Numbers in the logits of texts that are measured together, a quarter of a GB.
LOGITS_AT_ONCE = 2**26

# Tokens, what the model sees of them, and those that it has to guess (-1: none), each [n, t].
Masked = tuple[Any, Any, Any]


def mask_tokens(
    tokens: Any, draws: Any, others: Any, share: float, numbers: TokenNumbers
) -> tuple[Any, Any]:
    """Return the tokens that a model sees and those that it has to guess, both [n, t].

    Of the real tokens that are not special, ``share`` are guessed: 80 % of them are masked, 10 %
    another token, 10 % as they are. Where nothing is guessed, the second is -1.

    Args:
        tokens: [n, t] int32.
        draws: uniform numbers from 0 to 1, [2, n, t]: whether a token is guessed, and how it is
            shown.
        others: tokens that stand for another one, [n, t].
        share: of the tokens that are guessed.
        numbers: of the vocabulary's tokens.
    """
    guessed = ops.logical_and(tokens >= numbers.first, draws[0] < share)
    masked = ops.logical_and(guessed, draws[1] < MASKED_SHARE)
    replaced = ops.logical_and(
        guessed,
        ops.logical_and(draws[1] >= MASKED_SHARE, draws[1] < MASKED_SHARE + REPLACED_SHARE),
    )
    seen = ops.where(masked, numbers.mask, ops.where(replaced, others, tokens))
    return seen, ops.where(guessed, tokens, -1)


def hidden_and_logits(network: keras.Model, head: keras.Layer, tokens: Any) -> tuple[Any, Any]:
    """Return the last hidden states [n, t, width] and the logits of each token [n, t, vocabulary]
    of a language model.
    """
    tokens = ops.cast(tokens, "int32")
    real = ops.cast(ops.not_equal(tokens, PADDING_ID), "int32")
    hidden = encoder_of(network)(
        {"token_ids": tokens, "segment_ids": ops.zeros_like(tokens), "padding_mask": real}
    )
    places = ops.broadcast_to(ops.arange(ops.shape(tokens)[1]), ops.shape(tokens))
    return hidden, head(hidden, places)


class LanguageModel(keras.Model):
    """A network of texts and a head in training to guess masked tokens.

    Args:
        network: a transformer of texts; its encoder is trained.
        head: guesses tokens from its hidden states.
        how: the losses and how much is masked.
        tokens: the numbers of the vocabulary's.
        seed: of the masks.
        teacher: network and head of the language model that teaches; None without.
    """

    def __init__(
        self,
        network: keras.Model,
        head: keras.Layer,
        how: Pretraining,
        tokens: TokenNumbers,
        seed: int,
        teacher: tuple[keras.Model, keras.Layer] | None = None,
    ) -> None:
        super().__init__(name="language_model")
        self.network, self.head, self.how, self.tokens = network, head, how, tokens
        self.numbers = keras.random.SeedGenerator(seed)
        # In a function, so that Keras does not take the teacher for a part of this model.
        self._teacher = lambda: teacher
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.parts = {
            name: keras.metrics.Mean(name=name)
            for name, weight in (
                ("masked_loss", how.masked),
                ("token_loss", how.distillation),
                ("hidden_loss", how.hidden),
            )
            if weight
        }

    @property
    def metrics(self) -> list[Any]:
        """The whole loss, and its parts."""
        return [self.loss_tracker, *self.parts.values()]

    @property
    def trained(self) -> list[Any]:
        """The variables that gradients change: the encoder's and the head's own."""
        encoder = encoder_of(self.network).trainable_variables
        known = {id(variable) for variable in encoder}
        return [
            *encoder,
            *(each for each in self.head.trainable_variables if id(each) not in known),
        ]

    def masked(self, inputs: Any) -> Masked:
        """Return a batch of tokens [n, t] with fresh masks."""
        tokens = ops.cast(inputs, "int32")
        shape = ops.shape(tokens)
        draws = keras.random.uniform([2, *shape], seed=self.numbers)
        others = keras.random.randint(
            shape, self.tokens.first, self.tokens.count, seed=self.numbers
        )
        return tokens, *mask_tokens(tokens, draws, others, self.how.mask, self.tokens)

    def losses_of(self, masked: Masked) -> dict[str, Any]:
        """Return the parts of the loss, unweighted, for one batch."""
        tokens, seen, labels = masked
        hidden, logits = hidden_and_logits(self.network, self.head, seen)
        found = {}
        if self.how.masked:
            found["masked_loss"] = masked_language_model_loss(labels, logits)
        teacher = self._teacher()
        if teacher is not None and (self.how.distillation or self.how.hidden):
            real = ops.not_equal(tokens, PADDING_ID)
            taught_hidden, taught = hidden_and_logits(*teacher, seen)
            if self.how.distillation:
                temperature = self.how.temperature
                found["token_loss"] = token_kd_loss(
                    ops.stop_gradient(taught), logits, real, temperature
                )
            if self.how.hidden:
                found["hidden_loss"] = hidden_cosine_loss(taught_hidden, hidden, real)
        return found

    def train_step(self, data: Any) -> dict[str, Any]:
        """Take one step on a batch (tokens [n, t], anything), with fresh masks."""
        return self.learn(self.masked(data[0]))

    def learn(self, masked: Masked) -> dict[str, Any]:
        """Take one step on a batch that is masked; nothing in it is random."""
        with tf.GradientTape() as tape:
            found = self.losses_of(masked)
            loss = self._whole(found)
        variables = self.trained
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return self._tell(loss, found)

    @functools.cached_property
    def compiled_measure(self) -> Any:
        """A compiled function of the tokens that are seen and those that are guessed, both [n, t]:
        the sum of the cross-entropies of the guessed ones, how many were guessed right, and how
        many there are. Traced once for all that is measured.
        """

        @tf.function(input_signature=[tf.TensorSpec([None, None], "int32")] * 2, autograph=False)
        def measure(seen: Any, labels: Any) -> Any:
            _, logits = hidden_and_logits(self.network, self.head, seen)
            guessed = tf.cast(labels >= 0, tf.float32)
            right = tf.cast(tf.argmax(logits, -1, tf.int32) == labels, tf.float32)
            count = tf.reduce_sum(guessed)
            return masked_language_model_loss(labels, logits) * count, tf.reduce_sum(right), count

        return measure

    def test_step(self, data: Any) -> dict[str, Any]:
        """Return the losses of a batch with fresh masks."""
        found = self.losses_of(self.masked(data[0]))
        return self._tell(self._whole(found), found)

    def _whole(self, found: dict[str, Any]) -> Any:
        weights = {
            "masked_loss": self.how.masked,
            "token_loss": self.how.distillation,
            "hidden_loss": self.how.hidden,
        }
        return sum(weights[name] * value for name, value in found.items())

    def _tell(self, loss: Any, found: dict[str, Any]) -> dict[str, Any]:
        self.loss_tracker.update_state(loss)
        for name, value in found.items():
            self.parts[name].update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}


class LanguageModelTrainer(Trainer):
    """A :class:`LanguageModel`, driven by the loop."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model, model.network)
        self.language_model = model

    @property
    def own_variables(self) -> list[Any]:
        """The head's variables and where the random numbers are."""
        known = {id(variable) for variable in self.network.variables}
        head = [each for each in self.language_model.head.variables if id(each) not in known]
        return [*head, self.language_model.numbers.state]

    @property
    def trained_variables(self) -> list[Any]:
        """The encoder's and the head's."""
        return self.language_model.trained

    def prepare(self, batch: tuple[Any, Any]) -> Masked:
        """Mask the tokens of a batch."""
        return self.language_model.masked(batch[0])

    def step(self, prepared: Masked) -> Any:
        """Take one step on masked tokens."""
        return self.language_model.learn(prepared)

    def build(self, batch: tuple[Any, Any]) -> None:
        """Create the variables; the masks begin with the seed's first numbers."""
        state = np.asarray(self.language_model.numbers.state)
        super().build(batch)
        self.language_model.numbers.state.assign(state)


class GuessedWords:
    """Measures a language model on fixed masks of texts, the same for every model of a vocabulary.

    Args:
        model: what is measured.
        texts: tokens [n, length].
        game: tokens of those texts whose middle one is guessed for people to see, [m, length].
    """

    def __init__(self, model: LanguageModel, texts: NDArray, game: NDArray) -> None:
        self._model, tokens = model, model.tokens
        self._game, self._places = middle_masked(game, tokens.mask)
        generator = np.random.default_rng(0)
        whole = texts.astype(np.int32)
        draws = generator.random((2, *whole.shape), np.float32)
        others = generator.integers(tokens.first, tokens.count, whole.shape).astype(np.int32)
        seen, labels = mask_tokens(whole, draws, others, MEASURED_SHARE, tokens)
        self.seen, self.labels = np.asarray(seen), np.asarray(labels)

    def probe_logits(self) -> NDArray[np.float32]:
        """Return the logits [m, vocabulary] of the middle token of each text of the game."""
        found = np.zeros((len(self._game), self._model.tokens.count), np.float32)
        for rows in self._at_once(np.arange(len(self._game)), self._game.shape[1]):
            _, logits = hidden_and_logits(self._model.network, self._model.head, self._game[rows])
            found[rows] = np.asarray(logits)[np.arange(len(rows)), self._places[rows]]
        return found

    def _at_once(self, rows: NDArray[np.int64], length: int) -> Iterator[NDArray[np.int64]]:
        """Divide rows so that the logits of all their tokens fit into memory."""
        count = max(LOGITS_AT_ONCE // (length * self._model.tokens.count), 1)
        yield from (rows[start : start + count] for start in range(0, len(rows), count))

    def validation(self) -> dict[str, float]:
        """Return ``loss`` (mean cross-entropy of a guessed token, nats) and ``accuracy`` (fraction
        of them that are guessed right).
        """
        longest = np.count_nonzero(self.seen, axis=1)
        order = np.argsort(longest, kind="stable")
        sums = np.zeros(3)
        for rows in self._at_once(order, self.seen.shape[1]):
            most = max(int(longest[rows].max()), 1)
            sums += [
                float(each)
                for each in self._model.compiled_measure(
                    self.seen[rows, :most], self.labels[rows, :most]
                )
            ]
        return {"loss": sums[0] / max(sums[2], 1), "accuracy": sums[1] / max(sums[2], 1)}
