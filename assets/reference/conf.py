"""Sphinx: the reference is made of the docstrings. ``sphinx-build -W assets/reference build/reference``.

Nothing is fetched while it is built, and the pages fetch nothing: they read without internet.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "model"), str(ROOT)]

from sphinx.application import Sphinx  # noqa: E402

import cellstream  # noqa: E402

project = "CellStream"
author = "The CellStream developers"
release = version = cellstream.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]

html_theme = "furo"
html_title = f"CellStream {release}"
html_show_sphinx = html_show_copyright = html_copy_source = False
html_static_path = ["static"]
html_css_files = ["reference.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b7a75", "color-brand-content": "#0b7a75"},
    "dark_css_variables": {"color-brand-primary": "#4fd1c5", "color-brand-content": "#4fd1c5"},
}
highlight_language = "none"
pygments_style, pygments_dark_style = "tango", "monokai"
language = "en"

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}
# defaults as they are written: PRESETS instead of all that is in it
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
# shapes are written in the types
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
napoleon_use_rtype = napoleon_use_ivar = False


def setup(app: Sphinx) -> None:
    # before napoleon reads them
    app.connect("autodoc-process-docstring", as_written, priority=400)


def as_written(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstrings here are read in the code first.

    An indented block after an empty line is a formula or a table, whose columns stay in line; a bar is one of
    mathematics; and the first line of a field is no type, whatever colon is in it.
    """
    found: list[str] = []
    literal = False
    for i, line in enumerate(lines):
        indented = line.startswith("    ")
        if line.strip() and not indented:
            literal = False
        starts = indented and not literal and i > 0 and not lines[i - 1].strip()
        before = next((words for words in reversed(lines[:i]) if words.strip()), "") if starts else ""
        if starts and before and not before.startswith((" ", "..")) and not before.endswith("::"):
            literal = True
            found += ["::", ""]
        found.append(line if literal else _barred(line))
    # an empty comment is what is taken for the type's line
    lines[:] = ["..", "", *found] if what in ("attribute", "property", "data") else found


def _barred(line: str) -> str:
    """Bars outside of code are no marks of Sphinx's."""
    parts = line.split("``")
    return "``".join(part if k % 2 else part.replace("|", r"\|") for k, part in enumerate(parts))
