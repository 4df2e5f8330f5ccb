"""Sphinx extension: theme options that `_config.yml` cannot give, and buttons that lead to the repository.

The address stands once, under ``[project.urls] Repository``. Without it the pages have no repository, issue, edit,
Colab or Binder button.
"""

import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def address(pyproject: Path = PYPROJECT) -> str | None:
    """The repository's address, or None where it is not set."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository")


def buttons(url: str) -> dict:
    """Theme options that make the buttons appear."""
    options = {
        "repository_url": url,
        "repository_branch": "main",
        "path_to_docs": "book",
        "use_repository_button": True,
        "use_issues_button": True,
        "use_edit_page_button": True,
    }
    if "github.com/" in url:
        options["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        }
    return options


def add_options(app, config):
    """Add the options before the theme reads them."""
    url = address()
    config.html_theme_options = {
        **config.html_theme_options,
        "navbar_persistent": [],  # the sidebar has the search field already
        **(buttons(url.rstrip("/")) if url else {}),
    }


def setup(app):
    """Register the extension."""
    app.connect("config-inited", add_options, priority=1)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
