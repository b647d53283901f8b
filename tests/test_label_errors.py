from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_parts import CLASSES, SIZE, draw

from edge.contract.bundle import Label
from edge.contract.preprocess import PreprocessSpec
from training.data import dataset
from training.data.dataset import Dataset, Source
from training.data.embedding import embed
from training.data.label_errors import confident_errors, odd_neighbours, probabilities


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    """Three classes of sixty drawn parts."""
    labels = tuple(Label(name=name, verdict="DEFECT") for name in CLASSES)
    sources = [Source(f"{i}", i % 3, partial(draw, CLASSES[i % 3], i)) for i in range(180)]
    return dataset.read(labels, sources, canvas=(SIZE, SIZE), spec=PreprocessSpec())


def test_flipped_labels_are_found(drawn: Dataset) -> None:
    """Of 5% labels flipped at random, by three seeds, both ways find four in five, most rightly, with their class."""
    vectors, alone = embed(drawn, None), np.arange(180)
    hits = np.zeros((2, 2))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        flipped = rng.choice(180, 9, replace=False)
        truth = drawn.truth
        truth[flipped] = (truth[flipped] + rng.integers(1, 3, 9)) % 3
        said = probabilities(vectors, truth, alone, seed=1)
        for way, found in enumerate((confident_errors(said, truth), odd_neighbours(vectors, truth, alone))):
            right = np.isin(found.rows, flipped)
            hits[way] += right.sum(), len(right)
            assert np.array_equal(found.suggested[right], drawn.truth[found.rows[right]])
    assert (hits[:, 0] >= 0.8 * 3 * 9).all()
    assert (hits[:, 0] >= 0.5 * hits[:, 1]).all()


def test_right_labels_are_hardly_suspected(drawn: Dataset) -> None:
    """A clean set of which a probe learns nearly everything gives at most one suspicion in fifty."""
    said = probabilities(embed(drawn, None), drawn.truth, np.arange(180), seed=1)
    assert len(confident_errors(said, drawn.truth).rows) <= 4


def test_confident_learning_counts_as_the_paper_does() -> None:
    """By hand: thresholds 0.7 and 0.6, one of four of class 0 counted as class 1, and that is the one suspected."""
    of_first = np.array([0.9, 0.9, 0.9, 0.1, 0.4, 0.4, 0.4, 0.4])
    said = np.stack([of_first, 1 - of_first], axis=1)
    found = confident_errors(said, np.array([0, 0, 0, 0, 1, 1, 1, 1]))
    assert found.rows.tolist() == [3]
    assert found.suggested.tolist() == [1]


def test_a_group_never_testifies_for_itself() -> None:
    """Six copies of each wrongly labelled picture do not confirm each other, in the probe nor as neighbours."""
    rng = np.random.default_rng(0)
    middle = np.array([[3.0, 0, 0], [0, 3.0, 0]])
    part = rng.normal(0, 0.5, (40, 3)) + middle[np.arange(40) % 2]
    vectors = part.repeat(6, axis=0) + rng.normal(0, 0.01, (240, 3))
    group = np.arange(40).repeat(6)
    truth = (np.arange(40) % 2).repeat(6)
    truth[:6] = 1 - truth[:6]
    said = probabilities(vectors, truth, group, seed=1)
    assert set(range(6)) <= set(confident_errors(said, truth).rows.tolist())
    assert odd_neighbours(vectors, truth, group).rows.tolist() == list(range(6))


@given(
    st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=3, max_size=30),
    st.randoms(use_true_random=False),
)
def test_any_probabilities_give_suspects_that_differ_from_their_labels(
    rows: list[list[float]], random: np.random.RandomState
) -> None:
    """Each suspect is named once, and its suggestion is a likelier class than its own."""
    said = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    truth = np.array([random.randint(0, 2) for _ in rows])
    found = confident_errors(said, truth)
    assert len(set(found.rows.tolist())) == len(found.rows) == len(found.suggested)
    assert (said[found.rows, found.suggested] > said[found.rows, truth[found.rows]]).all()


def test_vectors_that_are_all_the_same_say_nothing() -> None:
    """A network that sees no difference gives every class the same probability, without a warning."""
    truth = np.arange(40) % 2
    said = probabilities(np.ones((40, 8), np.float32), truth, np.arange(40), seed=1)
    assert np.allclose(said, 0.5, atol=0.05)
