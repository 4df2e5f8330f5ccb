"""Sphinx extension: theme options that `_config.yml` cannot give, and buttons that lead to the repository.

The address stands once, under ``[project.urls] Repository``. Without it the pages have no repository, issue, edit,
Colab or Binder button.
"""

from install_cell import address, outdated
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging


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


def add_options(app: Sphinx, config: Config) -> None:
    """Add the options before the theme reads them."""
    url = address()
    if late := [path.stem for path in outdated(url)]:  # a button would lead to a page that cannot run
        logging.getLogger(__name__).warning("no cell, or another, installs these in Colab: %s; make buttons", late)
    config.html_theme_options = {
        **config.html_theme_options,
        "navbar_persistent": [],  # the sidebar has the search field already
        "show_toc_level": 2,  # a page's contents: sections and what is in them, unfolded
        **(buttons(url.rstrip("/")) if url else {}),
    }


def setup(app: Sphinx) -> dict:
    """Register the extension."""
    app.connect("config-inited", add_options, priority=1)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
