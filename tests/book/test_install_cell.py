"""The cell that installs the book in Colab: there exactly where the repository has an address, harmless elsewhere."""

import copy
import json
import subprocess
import sys
import types

import pytest
from copies import readable
from install_cell import BOOK, FOLDER, address, cell, main, outdated, with_cell
from theme_options import buttons

from tests.book._chapters import CHAPTERS, read

URL = "https://github.com/OWNER/NAME"
CODE = "".join(cell(URL)["source"])


def raw(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_chapters_have_it_where_there_is_an_address_and_nowhere_else():
    assert not outdated(address()), "make buttons"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_it_stands_behind_the_title_and_changes_nothing_else(path):
    bare = with_cell(raw(path), None)
    made = with_cell(bare, URL)
    assert made["cells"][0] == bare["cells"][0] and made["cells"][2:] == bare["cells"][1:]
    assert made["cells"][1] == cell(URL)
    assert with_cell(made, URL) == made and with_cell(made, None) == bare


def test_it_is_hidden_in_the_book_and_left_out_of_copies():
    assert "remove-cell" in cell(URL)["metadata"]["tags"]
    chapter = copy.deepcopy(read(CHAPTERS[0]))
    chapter["cells"].insert(1, {**cell(URL), "source": CODE})
    assert CODE not in [c["source"] for c in readable(chapter, {}, {}).cells]


def test_it_does_nothing_outside_of_colab(tmp_path):
    code = CODE + "\nprint(os.getcwd())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == str(tmp_path.resolve()) and not list(tmp_path.iterdir())


def test_in_colab_it_fetches_installs_and_goes_there_once(tmp_path, monkeypatch):
    asked = []

    def run(command, check):
        asked.append(command)
        if command[0] == "git":
            (tmp_path / command[-1] / "book" / "features").mkdir(parents=True)

    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # again in the same kernel
        exec(CODE, {})
    assert [command[0] for command in asked] == ["git", sys.executable]
    assert asked[0][-2:] == [URL, FOLDER] and asked[1][-1] == f"./{FOLDER}[book]"
    monkeypatch.chdir(tmp_path)  # in a new kernel of the same machine
    exec(CODE, {})
    assert len(asked) == 2


def test_address_given_the_cell_is_written_and_buttons_appear(tmp_path, monkeypatch):
    (tmp_path / "a.ipynb").write_bytes((BOOK / "index.ipynb").read_bytes())
    for url, count in ((URL, 1), (None, 0)):
        monkeypatch.setattr("install_cell.address", lambda url=url: url)
        monkeypatch.setattr("install_cell.outdated", lambda u, u_book=tmp_path: outdated(u, u_book))
        main()
        assert sum(c == cell(URL) for c in raw(tmp_path / "a.ipynb")["cells"]) == count
    assert {"binderhub_url", "colab_url"} <= set(buttons(URL)["launch_buttons"])
    assert "launch_buttons" not in buttons("ssh://OWNER/NAME")
