"""Where a model looks, as arrays: rollout, what is kept, and shares of a text's parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kdcore.analysis.attention import (
    MOST_MOMENTS,
    AttentionMaps,
    is_kept,
    most_looked_at,
    over_parts,
    rollout,
)
from kdcore.errors import StoreError


def rows_of_one(shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    found = np.random.default_rng(seed).random(shape)
    return found / found.sum(axis=-1, keepdims=True)


def rolled_out(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Abnar and Zuidema's rollout of one example, number by number."""
    layers, heads, tokens, _ = scores.shape
    through = [[float(row == column) for column in range(tokens)] for row in range(tokens)]
    for layer in range(layers):
        mixed = [
            [
                sum(scores[layer, head, row, column] for head in range(heads)) / heads / 2
                + (0.5 if row == column else 0.0)
                for column in range(tokens)
            ]
            for row in range(tokens)
        ]
        through = [
            [
                sum(mixed[row][k] * through[k][column] for k in range(tokens))
                for column in range(tokens)
            ]
            for row in range(tokens)
        ]
    return np.array(through)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(0, 10_000))
def test_rollout_is_the_paper_s_and_its_rows_have_the_sum_one(
    layers: int, heads: int, tokens: int, seed: int
) -> None:
    scores = rows_of_one((2, layers, heads, tokens, tokens), seed)
    found = rollout(scores)
    np.testing.assert_allclose(found, [rolled_out(each) for each in scores], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, rtol=1e-12)


def test_a_network_that_attends_to_itself_alone_looks_at_itself() -> None:
    alone = np.broadcast_to(np.eye(5), (3, 2, 5, 5))
    np.testing.assert_array_equal(rollout(alone), np.eye(5))


@given(st.integers(1, 1000))
def test_some_twenty_moments_are_kept_beginning_and_end_among_them(epochs: int) -> None:
    kept = [epoch for epoch in range(epochs + 1) if is_kept(epoch, epochs)]
    assert kept[0] == 0
    assert kept[-1] == epochs
    assert len(kept) <= MOST_MOMENTS + 2
    assert len(kept) == epochs + 1 or len(kept) > MOST_MOMENTS / 2


def test_maps_come_back_from_the_store_as_they_went() -> None:
    rng = np.random.default_rng(0)
    maps = AttentionMaps(
        {"class token": rng.random((3, 4, 4)).astype(np.float32)},
        {"class token": rng.random((3, 2, 2, 4, 4)).astype(np.float32)},
        rng.random((3, 3)).astype(np.float32),
        (1.125, 1.0),
    )
    back = AttentionMaps.from_bytes(maps.as_bytes())
    for before, after in ((maps.maps, back.maps), (maps.heads, back.heads)):
        assert list(before) == list(after)
        for name in before:
            np.testing.assert_allclose(after[name], before[name], rtol=1e-3)
    assert maps.likeness is not None
    assert back.likeness is not None
    np.testing.assert_allclose(back.likeness, maps.likeness, rtol=1e-3)
    assert back.reach == (1.125, 1.0)
    with pytest.raises(StoreError):
        AttentionMaps.from_bytes(b"no arrays")


def test_the_largest_place_is_said() -> None:
    picture = np.zeros((4, 7))
    picture[2, 5] = 1
    assert most_looked_at(picture) == "most at row 3, column 6 of 4 × 7"


def test_attention_to_tokens_becomes_shares_of_the_parts_that_they_stand_in() -> None:
    # [CLS] "un" "like" "ly" [SEP] over the words "unlike" and "ly".
    spans = [(0, 0), (0, 2), (2, 6), (7, 9), (0, 0)]
    shares = over_parts(np.array([0.5, 0.1, 0.2, 0.1, 0.1]), spans, [(0, 6), (7, 9)])
    np.testing.assert_allclose(shares, [0.75, 0.25])


def test_a_token_over_two_parts_counts_by_its_letters() -> None:
    shares = over_parts(np.array([1.0]), [(0, 4)], [(0, 1), (1, 4)])
    np.testing.assert_allclose(shares, [0.25, 0.75])


def test_a_text_without_parts_has_no_shares() -> None:
    assert over_parts(np.array([1.0]), [(0, 0)], []).shape == (0,)
    np.testing.assert_array_equal(over_parts(np.array([1.0]), [(0, 0)], [(0, 2)]), [0.0])
