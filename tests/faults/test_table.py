"""The table of faults names tests that exist, and every test of this folder that is about one of them is in it."""

import ast
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
FAULTS = tomllib.loads((HERE / "table.toml").read_text(encoding="utf-8"))["fault"]
TABLED = tuple(f"test_{name}.py" for name in "recovery damage interrupts campaign malformed reading output".split())


def _tests_of(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_fault_has_its_tests():
    for fault in FAULTS:
        assert fault.keys() == {"line", "kind", "what", "tests"} and fault["tests"]
        for place in fault["tests"]:
            file, name = place.split("::")
            assert name in _tests_of(HERE / file), place


def test_every_line_is_in_the_table():
    assert {fault["line"] for fault in FAULTS} == set(range(1, 22))


def test_every_test_is_of_a_fault():
    named = {place for fault in FAULTS for place in fault["tests"]}
    unnamed = {f"{file}::{name}" for file in TABLED for name in _tests_of(HERE / file)} - named
    # where nothing could be converted, no folder stays: it held before, and holds still
    assert unnamed == {"test_recovery.py::test_no_folder_is_left_where_nothing_could_be_converted"}
