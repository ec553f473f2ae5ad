"""A result as one html file that opens by a double click: no server, no internet, nothing asked of the outside."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anndata import AnnData

from cellstream import __version__, account, words
from cellstream.account import Account
from cellstream.figures.drawings import axis_names
from cellstream.figures.of_result import Source, file_name
from cellstream.figures.paper import plain
from cellstream.files import whole
from cellstream.literature import REFERENCES
from cellstream.scene import Scene
from cellstream.time_labels import counted
from cellstream.web import SCRIPTS, text
from cellstream.web.contents import Contents, Options

CITATION = "ling2026cellstream"
METHOD = (
    "From cells measured at several times, CellStream learns an embedding and in it the velocity v and the growth "
    "rate g of cells, such that cells carried along by both match those that were measured later."
)
PLAIN = Options()


@dataclass(frozen=True)
class Written:
    """What came of it."""

    path: Path
    size: int
    """Bytes."""
    cells: int
    """Cells shown."""
    left_out: tuple[str, ...] = ()
    """Columns that cells cannot be coloured by on the page, each with the reason."""


def write_page(
    of: Source | Scene,
    path: Path,
    options: Options = PLAIN,
    adata: AnnData | None = None,
    told: Account | None = None,
) -> Written:
    """Write a page of a result, whole or not at all. The same result and options make the same file.

    ``of`` is a result with the file that it is in, or a scene alone; with a scene may come ``adata``, the data behind
    it, for labels, genes and names, and ``told``, an account of how it came about.

    Raises:
        UserError: a gene or a colour is not there.
    """
    page, contents = made(of, options, adata, told)
    with whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return Written(path, len(page.encode()), len(contents.chosen), tuple(contents.left_out))


def made(
    of: Source | Scene,
    options: Options = PLAIN,
    adata: AnnData | None = None,
    told: Account | None = None,
) -> tuple[str, Contents]:
    """The page as text, and what is in it; see :func:`write_page`."""
    origin: dict[str, Any] = {}
    if isinstance(of, Source):
        scene, adata, origin = of.seen(options.axes), of.adata, of.origin()
        told = told or (account.of_result(adata) if adata is not None else None)
    else:
        scene = of
    recipe = dict(told.recipe) if told else {}
    if told and not origin:
        kept = {key: value for key, value in recipe.items() if key not in ("source", "out")}
        version = f"CellStream {told.version or recipe.get('versions', {}).get('cellstream', '')}".strip()
        origin = dict(data=file_name(recipe.get("source") or ""), trained_by=version, recipe=kept)
        origin |= dict(config=told.config.to_dict(), seed=told.config.compute.seed)
    own = of.own if isinstance(of, Source) else None
    contents = Contents(scene, adata, options, str(recipe.get("time_key") or ""), own)
    title = plain(options.title or recipe.get("name") or origin.get("data") or "") or "Time-series single-cell data"
    shown = contents.told | dict(title=title, about=_about(contents, origin, told))
    return _html(title, shown, contents.pack.text()), contents


def _about(contents: Contents, origin: dict[str, Any], told: Account | None) -> dict[str, Any]:
    """What stands behind the page's About button: facts, paragraphs, and all settings."""
    scene = contents.scene
    stream, n = scene.stream, len(scene.index)
    drawn = len(contents.chosen)
    facts = {
        "Data": origin.get("data", ""),
        "Cells": f"{n:,} at {counted(len(scene.times), 'time point')}"
        + (f"; {drawn:,} of them, an even random part, are drawn" if drawn < n else ""),
        "Embedding": counted(scene.z.shape[1], "dimension")
        + ("" if scene.z.shape[1] <= 2 else f"; the picture shows {' and '.join(axis_names(scene))}"),
        "Method": f"{stream.method}, preset ‘{told.recipe['preset']}’"
        if told and told.recipe.get("preset")
        else stream.method,
        "Random seed": str(stream.config.compute.seed),
        "Trained by": origin.get("trained_by", ""),
        "Result": origin.get("result", ""),
        "SHA-256 of the result": origin.get("result_sha256", ""),
        "Page by": f"CellStream {__version__}",
    }
    paper = REFERENCES[CITATION].fields
    authors = ", ".join(paper["author"].split(" and ")[:1]) + " et al."
    cite = f"{authors} {re.sub('[{}]', '', paper['title'])}. {re.sub('[{}]', '', paper['booktitle'])}, {paper['year']}."
    return dict(
        facts=[[name, str(value)] for name, value in facts.items() if value],
        method=METHOD,
        methods=words.methods_paragraph(told) if told else "",
        cite=f"{cite} arXiv:{paper['eprint']}",
        settings=json.dumps(origin or dict(config=stream.config.to_dict()), indent=1),
    )


def _html(title: str, told: dict[str, Any], arrays: str) -> str:
    """The file: frame, style, scripts and data as one text.

    Nothing may be fetched, and no script runs but this one: the policy names it by its hash, so that even a name that
    broke out of its place would stay words.
    """
    script = "\n".join(text(name) for name in SCRIPTS)
    pieces = dict(
        title=html.escape(title),
        policy=policy(script),
        style=text("page.css"),
        script=script,
        data=as_json(told),
        arrays=arrays,
    )
    # in one pass, since what is put in may look like a place
    return re.sub(r"\{\{(\w+)\}\}", lambda found: pieces[found[1]], text("page.html"))


def policy(script: str) -> str:
    """What a page may do: run this script, style itself, and draw pictures that it made."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def as_json(value: Any) -> str:
    """JSON that can stand in a script's element: nothing in it ends the element or begins a comment."""
    words = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return words.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
