"""The modality in which a concept is visible, judged by simultaneous bounds."""

import numpy as np

from rgbd_insight.stats.groups import jackknife_bounds


def concept_labels(
    first, second, joint=None, first_pair=None, second_pair=None, *, names=("rgb", "depth"), margin=0.1, level=0.95
) -> np.ndarray:
    """Label every concept by the modality it can be read from: one of names, together, both, neither, undecided (K,).

    Parameters
    ----------
    first, second : Decodability with leave_outs
        δ of each modality's stream, from `decodability(..., blocks=...)` with the same blocks and concepts. Anything
        with the fields `delta` (K,) and `leave_outs` (G, K) will do.
    joint, first_pair, second_pair : Decodability with leave_outs, optional
        δ of the two streams side by side, and, for comparison at equal width, of two networks of the first and two of
        the second modality side by side. Without all three, 'together' is never given.
    names : pair of str
        Names of the two modalities.
    margin : float
        δ that counts as decodable, in (0, 1).
    level : float
        Simultaneous coverage over all concepts and comparisons.

    Returns
    -------
    array of str (K,)
        'undecided' also where a δ is missing (NaN).

    Raises
    ------
    ValueError
        If leave-outs are missing or disagree in shape, or only some of the three optional arguments are given.

    Notes
    -----
    Two-sided jackknife bounds at 1 - (1 - level) / (K' · C), with K' concepts that have a value and C = 2 comparisons
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
    >>> from types import SimpleNamespace as Probe
    >>> wobble = np.linspace(-1e-3, 1e-3, 40)[:, None]
    >>> seen = Probe(delta=np.array([0.8, 0.0]), leave_outs=np.array([0.8, 0.0]) + wobble)
    >>> other = Probe(delta=np.array([0.0, 0.0]), leave_outs=np.array([0.0, 0.0]) + wobble)
    >>> concept_labels(seen, other).tolist()
    ['rgb', 'neither']
    """
    optional = (joint, first_pair, second_pair)
    if any(o is None for o in optional) and any(o is not None for o in optional):
        raise ValueError("`joint`, `first_pair`, `second_pair` belong together; got only some. Pass all or none.")
    if not 0 < margin < 1:
        raise ValueError(f"`margin` must be between 0 and 1; got {margin}.")
    tables = [_table(p, name) for p, name in zip((first, second, *optional), _ARGUMENTS, strict=True) if p is not None]
    if len({table.shape for table in tables}) > 1:
        raise ValueError(
            f"leave-outs must agree in blocks and concepts; got {[t.shape for t in tables]}. Pass one set of blocks."
        )
    valued = np.isfinite(np.stack(tables)).all((0, 1))  # (K,)
    comparisons = 2 if joint is None else 4
    each = 1 - (1 - level) / max(comparisons * valued.sum(), 1)
    low, high = zip(*(jackknife_bounds(t[0], t[1:], each) for t in tables[:2]), strict=True)
    together = valued & (joint is not None)
    for pair in tables[3:]:
        together &= jackknife_bounds(tables[2][0] - pair[0], tables[2][1:] - pair[1:], each)[0] > margin
    seen, unseen = [bound > margin for bound in low], [bound < margin for bound in high]
    rules = [together, seen[0] & unseen[1], seen[1] & unseen[0], seen[0] & seen[1], unseen[0] & unseen[1]]
    labels = np.select(rules, ["together", *names, "both", "neither"], "undecided")
    return np.where(valued, labels, "undecided")


_ARGUMENTS = ("first", "second", "joint", "first_pair", "second_pair")


def _table(probe, name: str) -> np.ndarray:
    """δ on all rows above its leave-outs: (1 + G, K)."""
    if getattr(probe, "leave_outs", None) is None:
        raise ValueError(f"`{name}` must carry leave-outs; got none. Pass blocks=blocks_of(groups) to decodability.")
    return np.vstack([np.atleast_2d(probe.delta), probe.leave_outs])
