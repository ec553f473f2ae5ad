"""Every public name explains itself, and is in the reference; which is built without a warning."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cellstream as cs

PAGES = Path(__file__).resolve().parents[2] / "assets" / "reference"
DIRECTIVE = re.compile(r"^ *\.\. auto(\w+):: (\S+)$", re.MULTILINE)
SAID = [(kind, name) for page in sorted(PAGES.glob("*.rst")) for kind, name in DIRECTIVE.findall(page.read_text())]
MODULES = [name for kind, name in SAID if kind == "module"]


def own(module: ModuleType) -> dict[str, object]:
    """What a module itself makes and does not hide."""
    named = vars(module).items()
    return {
        name: thing
        for name, thing in named
        if not name.startswith("_")
        and (inspect.isclass(thing) or inspect.isfunction(thing))
        and thing.__module__ == module.__name__
    }


def parts(thing: object) -> dict[str, object]:
    """The methods and properties of a class."""
    found = {}
    for name, part in vars(thing).items() if inspect.isclass(thing) else ():
        part = getattr(part, "__func__", getattr(part, "fget", getattr(part, "func", part)))
        if not name.startswith("_") and inspect.isfunction(part):
            found[name] = part
    return found


def explained(thing: object) -> bool:
    said = inspect.getdoc(thing) or ""
    # what dataclasses write by themselves explains nothing
    return len(said) > 10 and not said.startswith(f"{getattr(thing, '__name__', '')}(")


@pytest.mark.parametrize("name", ["cellstream", "cellstream.figures", *MODULES])
def test_every_public_name_has_a_docstring(name):
    module = importlib.import_module(name)
    assert explained(module), name
    things = own(module) or {public: getattr(module, public) for public in module.__all__ if public != "__version__"}
    for public, thing in things.items():
        assert explained(thing), f"{name}.{public}"
        for part, method in parts(thing).items():
            assert explained(method), f"{name}.{public}.{part}"


def test_every_public_name_is_in_the_reference():
    said = {name for _, name in SAID}
    for name in cs.__all__:
        thing = getattr(cs, name)
        if name == "figures":
            assert {f"cellstream.figures.{figure}" for figure in cs.figures.__all__} <= said
        elif name != "__version__":
            where = thing.__name__ if inspect.ismodule(thing) else f"cellstream.{name}"
            assert where in said, name
    assert "cellstream_app.explore" in said
    assert len(MODULES) > 15


def test_every_page_is_in_the_contents():
    listed = re.findall(r"^   (\w+)$", (PAGES / "index.rst").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.stem for page in PAGES.glob("*.rst") if page.stem != "index")


@pytest.mark.slow
def test_the_reference_is_built_without_a_warning_and_asks_nobody_outside(tmp_path):
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(PAGES), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in tmp_path.glob("*.html"):
        fetched = re.findall(r"""(?:src|href)="(https?:[^"]+)"[^>]*(?:stylesheet|></script)""", page.read_text())
        assert not fetched, page.name
    index = (tmp_path / "genindex.html").read_text()
    for name in ("fit() (in module cellstream)", "explore() (in module cellstream_app)"):
        assert name in index
