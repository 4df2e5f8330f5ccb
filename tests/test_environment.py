"""pyproject.toml, environment.yml and requirements.txt name the same packages and cannot drift apart."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "seaborn": "seaborn-base"}
CONDA_ONLY = {"python", "pip", "setuptools"}


def declared():
    """Requirements of the package, the book and the tests: canonical name -> specifier."""
    extras = PROJECT["optional-dependencies"]
    found = {}
    for text in [*PROJECT["dependencies"], *extras["book"], *extras["test"]]:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        assert found.setdefault(name, requirement.specifier) == requirement.specifier, f"{name} has two specifiers"
    return found


def conda():
    """Packages of environment.yml: name -> specifier."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (by_pip,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    named = [*(e for e in entries if isinstance(e, str)), *(e for e in by_pip if e != "-e .")]
    split = [re.fullmatch(r"([A-Za-z0-9_.-]+?)\s*([<>=!~].*)?", e).groups() for e in named]
    return {name: SpecifierSet(specifier or "") for name, specifier in split}


def locked(path="requirements.txt"):
    """Pins of a lock: canonical name -> requirement."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len({canonicalize_name(r.name) for r in requirements}) == len(requirements), "a package is pinned twice"
    return {canonicalize_name(r.name): r for r in requirements}


def test_environment_yml_names_what_pyproject_names():
    wanted = {CONDA_NAMES.get(name, name): specifier for name, specifier in declared().items()}
    found = {name: specifier for name, specifier in conda().items() if name not in CONDA_ONLY}
    assert found == wanted


def test_environment_yml_has_the_same_python():
    assert conda()["python"] == SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("name", sorted(set(declared()) - {"torch"}))
def test_lock_has_a_version_that_pyproject_allows(name):
    (pin,) = locked()[name].specifier
    assert declared()[name].contains(pin.version, prereleases=True)


def test_lock_is_exact_and_local_to_no_machine():
    for name, requirement in locked().items():
        pins = list(requirement.specifier)
        assert [p.operator for p in pins] == ["=="], f"{name} is not pinned"
        assert "+" not in pins[0].version and not requirement.url, f"{name} names a local build or an address"


def test_lock_leaves_torch_to_the_makefile():
    assert not [name for name in locked() if name == "torch" or name.startswith(("nvidia-", "triton"))]
    (stated,) = re.findall(r"^TORCH \?= (torch==\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    (pin,) = Requirement(stated).specifier
    assert declared()["torch"].contains(pin.version)


@pytest.mark.parametrize("extra", ["data", "pretrained", "site"])
def test_ci_installs_what_the_extra_names(extra):
    """No test is skipped there for a package; none is pinned in both locks."""
    pins = locked() | locked(".ci/requirements.txt")
    assert not locked().keys() & locked(".ci/requirements.txt").keys()
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pin.version)
