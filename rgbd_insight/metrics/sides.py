"""Held-out units predicted by two sides of networks, each from a half of the training rows, and what each row did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

PENALTY = 0.2  # of the ridge, as a share of a variance of 1: more hides weak parts, less needs more images
SMALLEST, LARGEST = PENALTY / 4, PENALTY * 10  # of those that `penalties` gives
CONCEPTS = 1e-3  # the same where concepts are taken out: as good as none


def summed(a: np.ndarray, b: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Σ a·b (M, U) over the rows (n, U) that each of `kept` (M, n) counts, about their means."""
    return kept @ (a * b) - (kept @ a) * (kept @ b) / np.maximum(kept.sum(1), 1)[:, None]


def covariances(
    arrays: Sequence[np.ndarray],
    concepts: Sequence[np.ndarray],
    halves: Sequence[np.ndarray],
    test: np.ndarray,
    kept: np.ndarray,
    seed: int,
    penalty: np.ndarray,
) -> np.ndarray:
    """Σ unit · prediction and Σ prediction · prediction of the other side (M, whole or without concepts, 2, U).

    Parameters
    ----------
    arrays : list of arrays (N, D)
        The units, then every network; centred, of variance 1.
    concepts : one or two arrays (N, K)
        What is taken out, likewise. Of two sets of labels either half takes out its own, and errors of the two have
        nothing in common.
    halves, test : two arrays of int, array of bool (N,)
        Training rows of either half; rows that are held out.
    kept : array (M, N)
        1 where a row counts, 0 where it is left out: of the sums exactly, of the fits to first order.
    seed : int
        Of the sides: a fold may have its own.
    penalty : array (U,)
        Of the ridge for each unit, as a share of a variance of 1.
    """
    found = []
    for labels in ((None, None), (concepts, concepts[::-1])):
        first, second = _halves(arrays, labels, halves, test, seed, penalty)
        sums = _together(first, second, kept[:, test])
        if len(kept) > 1:
            for half, other in ((first, second), (second, first)):
                gone = kept[:, half.rows] - 1
                sums += np.stack([gone @ effect for effect in half.effects(other)], axis=1)
        found.append(sums)
    return np.stack(found, axis=1)


def penalties(
    arrays: Sequence[np.ndarray],
    halves: Sequence[np.ndarray],
    test: np.ndarray,
    seed: int,
    sets: Sequence[slice],
) -> np.ndarray:
    """(U,) penalty of every unit, the same in a set: PENALTY · noise / signal of what PENALTY predicts of the set.

    Signal is Σ prediction · prediction of the other side over units and held-out rows, signal and noise together
    Σ prediction². Reliable predictions need little penalty, which would hide weak parts; noisy ones need more, since
    they are divided by their signal. Kept from a quarter of PENALTY to ten times as much. Arguments are those of
    `covariances`; `sets` are of units.
    """
    units, every = arrays[0].shape[1], np.ones((1, test.sum()))
    first, second = _halves(arrays, (None, None), halves, test, seed, np.full(units, PENALTY))
    signal = sum(summed(a, b, every)[0] for a, b in zip(first.guesses, second.guesses, strict=True))
    both = sum(summed(a, a, every)[0] for a in (*first.guesses, *second.guesses)) / 2
    found = np.empty(units)
    for those in sets:
        noise = PENALTY * (both[those].sum() - signal[those].sum())
        found[those] = np.clip(noise / max(signal[those].sum(), noise / LARGEST, 1e-300), SMALLEST, LARGEST)
    return found


def _halves(
    arrays: Sequence[np.ndarray],
    labels: tuple,
    halves: Sequence[np.ndarray],
    test: np.ndarray,
    seed: int,
    penalty: np.ndarray,
) -> list[_Half]:
    """Fits of either half, the networks of one's first side on the second side of the other."""
    table, edges = np.hstack(arrays), np.cumsum([0, *(a.shape[1] for a in arrays)])
    columns = [np.arange(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    pairs = _sides(len(arrays) - 1, seed)
    sides = [[np.concatenate([columns[1 + i] for i in pair[h]]) for pair in pairs] for h in (0, 1)]
    given = zip(labels, halves, sides, strict=True)
    return [_Half(table, named, rows, test, columns[0], mine, penalty) for named, rows, mine in given]


def _together(first: _Half, second: _Half, kept: np.ndarray) -> np.ndarray:
    """(M, 2, U) sums over the held-out rows.

    A prediction is compared with the unit of the other half: both lack the same concepts, but not by the same error.
    """
    pairs = zip(first.guesses, second.guesses, strict=True)
    with_unit = summed(second.y, first.guess, kept) + summed(first.y, second.guess, kept)
    return np.stack([with_unit / 2, np.mean([summed(a, b, kept) for a, b in pairs], axis=0)], axis=1)


class _Half:
    """Fits of one half of the training rows: units and predictions of the held-out rows, about their means.

    Parameters
    ----------
    table : array (N, C)
        Units and networks.
    concepts : one or two arrays (N, K), or None
        What is taken out of all columns, as estimated in this half: the first one; a second set of labels serves as its
        instrument, so that errors of the labels don't make weights too small. A column is not scaled again then: it
        would be shrunk otherwise than with them.
    rows, test : array of int, array of bool (N,)
        Training rows, held-out rows.
    units, sides : array of int, list of arrays of int
        Columns of the units, and of the networks of every side.
    penalty : array (U,)
        Of the ridge for each unit.
    """

    def __init__(
        self,
        table: np.ndarray,
        concepts: Sequence[np.ndarray] | None,
        rows: np.ndarray,
        test: np.ndarray,
        units: np.ndarray,
        sides: list[np.ndarray],
        penalty: np.ndarray,
    ) -> None:
        self.rows, self.concepts = rows, None
        train, new = table[rows] - table[rows].mean(0), table[test] - table[test].mean(0)
        if concepts is not None:
            own, beside = concepts[0], concepts[-1]
            self.concepts = _Ridge(own[rows], own[test], CONCEPTS, beside[rows])
            weights = self.concepts.weights(train)
            train, new = train - self.concepts.train @ weights, new - self.concepts.new @ weights
        self.y, self.train = new[:, units], train[:, units]
        penalty = penalty * self._freedom() / len(rows)
        self.sides = [_Ridge(train[:, side], new[:, side], penalty) for side in sides]
        self.weights = [ridge.weights(self.train) for ridge in self.sides]  # (D, U)
        self.guesses = [ridge.new @ w for ridge, w in zip(self.sides, self.weights, strict=True)]  # (n, U)

    def _freedom(self) -> float:
        """Rows less the concepts, to which as much of the columns' variance is lost by chance."""
        return len(self.rows) - (0 if self.concepts is None else min(self.concepts.train.shape[1], len(self.rows) - 1))

    @property
    def guess(self) -> np.ndarray:
        return np.mean(self.guesses, axis=0)

    def effects(self, other: _Half) -> tuple[np.ndarray, np.ndarray]:
        """What each training row (n, U) adds to both sums of `_together`, to first order."""
        units = self.y.shape[1]
        with_unit, together = np.zeros((2, *self.train.shape))
        for ridge, weights, guess in zip(self.sides, self.weights, other.guesses, strict=True):
            fitted, beside = ridge.train @ weights, np.hstack([other.y, guess])
            effect = np.tile(self.train - fitted, 2) * ridge.weighed(beside)
            if self.concepts is not None:  # the networks' columns, too, would lack something else
                effect -= np.tile(fitted, 2) * self.concepts.weighed(beside)
            with_unit += effect[:, :units] / len(self.sides) / 2
            together += effect[:, units:] / len(self.sides)
        if self.concepts is not None:
            with_unit -= self.train * self.concepts.weighed(other.guess) / 2
        return with_unit, together


class _Ridge:
    """Ridge on the columns of some training rows (n, D), for held-out rows (m, D); both are centred.

    With an instrument (n, D), columns that the errors of `train` have nothing to do with, weights are those of
    instrumental variables. The penalty is one for all targets, or an array (V,) of each one's.
    """

    def __init__(
        self,
        train: np.ndarray,
        new: np.ndarray,
        penalty: float | np.ndarray,
        instrument: np.ndarray | None = None,
    ) -> None:
        self.train, self.new = train - train.mean(0), new - new.mean(0)
        self.instrument = self.train if instrument is None else instrument - instrument.mean(0)
        normal, self.penalty = self.instrument.T @ self.train, np.atleast_1d(penalty)
        self.factors = {  # of every penalty
            value: torch.linalg.lu_factor(torch.from_numpy(normal + value * len(train) * np.eye(len(normal))))
            for value in np.unique(self.penalty)
        }

    def _solved(self, known: np.ndarray, *, adjoint: bool = False) -> np.ndarray:
        """For columns (D, k V): k times those of all targets."""
        found, penalty = np.empty_like(known), np.resize(self.penalty, known.shape[1])
        for value, factors in self.factors.items():
            these = penalty == value
            given = torch.from_numpy(known[:, these])
            found[:, these] = torch.linalg.lu_solve(*factors, given, adjoint=adjoint).numpy()
        return found

    def weights(self, y: np.ndarray) -> np.ndarray:
        """(D, V) of the columns, having learnt centred y (n, V)."""
        return self._solved(self.instrument.T @ y)

    def weighed(self, values: np.ndarray) -> np.ndarray:
        """(n, V) of every training row: Σ value · prediction over the held-out rows (m, V), for an error of 1 in it."""
        return self.instrument @ self._solved(self.new.T @ values, adjoint=True)


def _sides(count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """One way to put `count` networks on two sides, and the same with the sides exchanged."""
    first, second = np.split(np.random.default_rng([seed, 3]).permutation(count), [count // 2])
    return [(first, second), (second, first)]
