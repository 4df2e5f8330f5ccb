"""Sphinx extension: take MathJax and the widget manager from the book itself, where `vendor.py` has fetched them.

Addresses are relative to ``_static``; the pages lie flat in the root of the site.
"""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config


def use_own_files(app: Sphinx, config: Config) -> None:
    """Point to the fetched files, or leave the defaults (a CDN) where there are none."""
    if not (Path(app.confdir) / "_vendor" / "site" / "vendor" / "widgets-config.js").is_file():
        return
    config.html_extra_path = [*config.html_extra_path, "_vendor/site"]
    config.mathjax_path = "../vendor/mathjax/es5/tex-chtml.js"
    config.nb_ipywidgets_js = {
        "../vendor/requirejs/require.js": {},
        "../vendor/widgets-config.js": {},
        "../vendor/html-manager/dist/embed-amd.js": {"data-jupyter-widgets-cdn": "vendor/"},
    }


def setup(app: Sphinx) -> dict:
    """Register the extension; it must come before the other readers of the configuration."""
    app.connect("config-inited", use_own_files, priority=1)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
