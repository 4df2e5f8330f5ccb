"""The analysis of the intervention, on outcomes whose answer is planted."""

import itertools

import numpy as np
import pandas as pd
import pytest

from rgbd_insight.claims.intervention import TERMS, answer


def outcomes(*, rises=0.6, helps=0.5, moves=0.2, leak=0.0, noise=0.01, seed=0):
    rng, rows = np.random.default_rng(seed), []
    cells = itertools.product(("late", "acnet"), (0.0, 0.3, 1.0), (0.0, 0.3, 1.0), (0.0, 0.5, 1.0), range(3))
    for operator, common, private, redundancy, number in cells:
        for placebo in (False, True):
            c = 0.3 + (leak if placebo else moves) * common + 0.05 * redundancy + rng.normal(0, 0.02)
            s = 0.2 + (leak if placebo else moves) * private + rng.normal(0, 0.02)
            best = 0.3 + 0.2 * redundancy * np.sign(rises)
            bend = abs(rises) / 0.4  # so that the best C moves by .2 from redundancy 0 to 1 where rises = ±.6
            y = 0.5 + 0.05 * (operator == "late") - bend * (c - best) ** 2 + helps * s + rng.normal(0, noise)
            rows.append(
                dict(
                    operator=operator,
                    common=common,
                    private=private,
                    redundancy=redundancy,
                    seed=number,
                    placebo=placebo,
                    accuracy=y,
                    C=c,
                    S=s,
                )
            )
    return pd.DataFrame(rows)


def test_the_planted_answer_is_found():
    found = answer(outcomes(), permutations=300)
    assert len(outcomes().query("not placebo")) == 162 and tuple(found.terms.index) == TERMS
    assert found.verdict() == "supported"
    assert found.slopes.low.max() < 0.5 < found.slopes.high.min() + 0.05
    np.testing.assert_allclose(found.slopes.best, [0.3, 0.4, 0.5], atol=0.03)
    assert found.manipulated.loc["C", "slope"] == pytest.approx(0.2, abs=0.02)
    assert found.manipulated.loc["placebo", "p"] > 0.05


def test_the_opposite_is_said_as_readily():
    assert answer(outcomes(rises=-0.6), permutations=200).verdict() == "not supported"
    assert answer(outcomes(helps=-0.5), permutations=200).verdict() == "not supported"


def test_noise_is_inconclusive():
    assert answer(outcomes(noise=3.0), permutations=200).verdict() == "inconclusive"


def test_without_manipulation_or_with_a_placebo_that_works_nothing_follows():
    assert answer(outcomes(moves=0.0), permutations=200).verdict() == "inconclusive"
    assert answer(outcomes(leak=0.2), permutations=200).verdict() == "inconclusive"


def test_p_of_a_term_that_is_not_there_is_uniform():
    found = [answer(outcomes(helps=0.0, noise=0.05, seed=i), permutations=60).terms.loc["S", "p"] for i in range(30)]
    assert 0.25 < np.mean(found) < 0.75 and np.mean(np.array(found) < 0.05) < 0.2


def test_clear_errors():
    with pytest.raises(ValueError, match="got none of C"):
        answer(outcomes().drop(columns="C"))
    with pytest.raises(ValueError, match="three values of 'redundancy'"):
        answer(outcomes().query("redundancy < 1"))
    with pytest.raises(ValueError, match="got NaN"):
        answer(outcomes().assign(C=np.nan))
