"""The list of planted mistakes keeps up with the code, and the tool that plants them can tell caught from missed."""

import mutate
import pytest

LIST = mutate.mutants()


def test_there_are_enough_and_no_two_are_one():
    assert len(LIST) >= 30
    assert len({m.name for m in LIST}) == len({(m.file, m.before, m.after) for m in LIST}) == len(LIST)


@pytest.mark.parametrize("mutant", LIST, ids=lambda m: m.name)
def test_a_mistake_can_be_planted(mutant):
    text = (mutate.ROOT / mutant.file).read_text(encoding="utf-8")
    compile(mutate.planted(text, mutant), mutant.file, "exec")  # it is a mistake of meaning, not of grammar
    for test in mutant.tests:
        if not test.startswith("-k"):
            path, _, name = test.partition("::")
            source = (mutate.ROOT / path).read_text(encoding="utf-8")
            assert not name or f"def {name.split('[')[0]}(" in source, test


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    (tmp_path / "sums.py").write_text("def total(a, b):\n    return a + b\n")
    (tmp_path / "test_sums.py").write_text("from sums import total\ndef test_total():\n    assert total(2, 0) == 2\n")
    return tmp_path


@pytest.mark.parametrize(
    ("after", "verdict"), [("a - b", "missed"), ("a * b", "caught"), ("a + ", "broken"), ("a.x + b", "caught")]
)
def test_a_mistake_is_caught_missed_or_none(toy, after, verdict):
    mutant = mutate.Mutant("toy", "sums.py", "a + b", after, ("test_sums.py",))
    assert mutate.tried(mutant, toy)[0] == verdict
    assert "a + b" in (toy / "sums.py").read_text()  # mended afterwards


def test_a_text_that_is_gone_is_named(toy):
    with pytest.raises(ValueError, match="must stand once in sums.py; it stands there 0"):
        mutate.planted("nothing", mutate.Mutant("gone", "sums.py", "a + b", "a", ()))
