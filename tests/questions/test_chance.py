"""A network that is said to be trained and sees nothing is found out; one that sees, or is untrained, is not."""

import numpy as np
import pytest

from rgbd_insight import audit
from rgbd_insight.questions import collaboration, consistency
from rgbd_insight.questions.chance import at_chance
from tests._hostile import hostile

N = 104


def counted(seed, kept, guess, *, shares=(0.5, 0.5)):
    """Pixels hit and labelled (N, 2): of `kept` the network sees the class, and else it guesses by `guess`."""
    rng = np.random.default_rng(seed)
    target = rng.multinomial(16, shares, N)
    found = {}
    for condition, seen in (("both", kept), ("other", 0.0)):
        right = [seen + (1 - seen) * g for g in guess]
        found[condition] = (rng.binomial(target, right), target)
    return found


def said(tmp_path, found):
    features = hostile(tmp_path, counted=found, seeds=1)
    return at_chance(features, "sum-s0-e3")


@pytest.mark.parametrize("guess", [(0.5, 0.5), (1.0, 0.0), (0.9, 0.1)])
def test_guesses_are_at_chance_and_what_sees_a_little_is_not(tmp_path, guess):
    blind = [said(tmp_path / f"blind{seed}", counted(seed, 0.0, guess)) for seed in range(8)]
    seeing = [said(tmp_path / f"seeing{seed}", counted(seed, 0.3, guess)) for seed in range(4)]
    assert sum("at chance (mean class accuracy 0." in text for text in blind) >= 7  # one in 40 passes by luck
    assert not any(seeing)


def test_what_does_worse_than_always_the_most_frequent_class_is_said(tmp_path):
    text = said(tmp_path / "a", counted(0, 0.3, (0.5, 0.5), shares=(0.9, 0.1)))
    assert "pixel accuracy 0.6" in text and "always saying 'wall' 0.8" in text and "channels" in text


@pytest.mark.parametrize("options", [{"role": "untrained", "epoch": 0}, {"role": "untrained"}])
def test_an_untrained_network_is_not_blamed(tmp_path, options):
    blind = counted(0, 0.0, (0.5, 0.5))
    features = hostile(tmp_path / "a", counted=blind, seeds=1, **options)
    entries = [run for run in features.runs.index if features.entry(run)["role"] == "untrained"]
    for run in entries:
        features.manifest["runs"][run]["about"].pop("unknown", None)
    assert entries and not any(at_chance(features, run) for run in entries)


def test_results_and_the_audit_say_it_and_that_the_epoch_is_unknown(tmp_path):
    features = hostile(tmp_path / "a", counted=counted(0, 0.0, (0.5, 0.5)), seeds=1, epoch=0)
    found = audit(features, "sum", permutations=20)
    assert "sum-s0 (epoch unknown)" in found.text()
    assert "accuracy of sum-s0 is at chance" in " ".join(found.warnings)
    result = collaboration(features, "sum", measures=["accuracy"])
    assert "at chance" in result.warnings[-1] and result.rows("accuracy", fusion="sum").epoch.isna().all()
    twins = consistency(features, "twins", measures=["cka"], permutations=20)
    assert {"rgb-s0", "depth-s0"} <= {w.split()[3] for w in twins.warnings if "at chance" in w}


def test_one_that_sees_has_no_warning(tmp_path):
    features = hostile(tmp_path / "a")
    assert not collaboration(features, "sum", measures=["accuracy"]).warnings
