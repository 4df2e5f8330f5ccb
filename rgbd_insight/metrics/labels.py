"""The modality in which a concept is visible, judged by simultaneous bounds."""

from __future__ import annotations

import numpy as np

from rgbd_insight.stats import Estimate, combine


def concept_labels(
    first: Estimate,
    second: Estimate,
    joint: Estimate | None = None,
    first_pair: Estimate | None = None,
    second_pair: Estimate | None = None,
    *,
    names: tuple[str, str] = ("first", "second"),
    margin: float = 0.1,
) -> np.ndarray:
    """Label every concept by the modality it can be read from: one of names, together, both, neither, undecided (K,).

    Parameters
    ----------
    first, second : Estimate (K,)
        δ of each modality's stream, from `stats.estimate(DecodabilityStatistic(...), groups, null=False)`, of the same
        concepts by the same plan. Their confidence is that of all bounds together.
    joint, first_pair, second_pair : Estimate (K,), optional
        δ of the two streams side by side, and, for comparison at equal width, of two networks of the first and two of
        the second modality side by side. Without all three, 'together' is never given.
    names : pair of str
        Names of the two modalities.
    margin : float
        δ that counts as decodable, in (0, 1).

    Returns
    -------
    array of str (K,)
        'undecided' also where a δ is missing (NaN).

    Raises
    ------
    ValueError
        If estimates differ in blocks or concepts, or only some of the three optional arguments are given.

    Notes
    -----
    Two-sided bounds at 1 - (1 - confidence) / (K' · C), with K' concepts that have a value and C = 2 comparisons
    (4 with `joint`). 'together' where both lower bounds of δ_joint - δ_pair exceed the margin (comes first); names[0]
    where lower δ_first > margin and upper δ_second < margin, names[1] likewise; 'both' where both lower bounds exceed
    it; 'neither' where both upper bounds stay below. Absence is never inferred from non-significance.

    Absence is that of what these probes read. A concept of which the best reader would read δ = .1 is not called absent
    where it shows clearly in a tenth of the images. Where it is a faint trace (correlation .11) in one of 64 units, it
    was in four of five cases with 12,000 images and one split, a third of them to learn from; never with 3,000 and
    cross-fitting, whose intervals are wider.

    References
    ----------
    Berger and Hsu, Bioequivalence trials, intersection-union tests and equivalence confidence sets, Statistical
    Science 1996.

    Examples
    --------
    >>> from rgbd_insight.stats import estimate
    >>> rng, groups = np.random.default_rng(0), np.arange(200)
    >>> seen, other = (rng.normal(mean, 0.1, size=(200, 2)) for mean in ([0.8, 0.0], [0.0, 0.0]))
    >>> first, second = (estimate(lambda i, _, x=x: x[i].mean(0), groups, null=False) for x in (seen, other))
    >>> concept_labels(first, second).tolist()
    ['first', 'neither']
    """
    optional = (joint, first_pair, second_pair)
    if any(o is None for o in optional) and any(o is not None for o in optional):
        raise ValueError("`joint`, `first_pair`, `second_pair` belong together; got only some. Pass all or none.")
    if not 0 < margin < 1:
        raise ValueError(f"`margin` must be between 0 and 1; got {margin}.")
    found = [first, second] + ([] if joint is None else list(optional))
    if len({(e.key, e.blocks, np.shape(e.value)) for e in found}) > 1:
        shapes = [(e.blocks, *np.shape(e.value)) for e in found]
        raise ValueError(f"estimates must agree in blocks and concepts; got {shapes}. Estimate them by one plan.")
    valued = np.isfinite([e.low for e in found]).all(0)  # (K,); no bound where a value or a leave-out is missing
    together = max((2 if joint is None else 4) * int(valued.sum()), 1)
    bounds = [e.simultaneous(together) for e in (first, second)]
    both = valued & (joint is not None)
    for pair in found[3:]:
        both = both & (combine(np.subtract, joint, pair).simultaneous(together).low > margin)
    seen, unseen = [e.low > margin for e in bounds], [e.high < margin for e in bounds]
    rules = [both, seen[0] & unseen[1], seen[1] & unseen[0], seen[0] & seen[1], unseen[0] & unseen[1]]
    labels = np.select(rules, ["together", *names, "both", "neither"], "undecided")
    return np.where(valued, labels, "undecided")
