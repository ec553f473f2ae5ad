"""The command line's animations: words become a film, and the film a file, with a bar that can be stopped."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cellstream import readers
from cellstream.animations import SIZES, TIME
from cellstream.animations.film import Film, Shot, pixels
from cellstream.animations.flow import Wish
from cellstream.animations.of_result import film_of
from cellstream.animations.training import film_of_run
from cellstream.animations.writing import Stopped, place_for, write
from cellstream.errors import UserError
from cellstream.figures.command import axes_of
from cellstream.figures.of_result import Source
from cellstream.files import path_of
from cellstream.progress import Tally, interrupts
from cellstream.runs import Run

GIF: dict[str, Any] = dict(size=SIZES["720p"], fps=20)
"""Where nothing else is asked for: a gif of more is many megabytes, and counts its frames in hundredths of a second."""
FLOW_ALONE = ("labels", "particles", "streams", "axes")
"""What a film of a training would not heed."""


def animate(arguments: argparse.Namespace) -> Path:
    """Make the film that is asked for; the file that was written. Ctrl-C leaves none."""
    out = place_for(arguments.out, arguments.overwrite)
    film = film_for(arguments, shot_of(arguments))
    tally = Tally(film.frames)
    try:
        with interrupts() as came:
            tally.begin(out.name)
            write(film, out, progress=lambda done, _: tally.part(done), stop=lambda: came)
            tally.end()
    except Stopped:
        raise KeyboardInterrupt("No file was written.") from None
    finally:
        tally.close()
    return out


def shot_of(arguments: argparse.Namespace) -> Shot:
    """Size and length."""
    asked = {name: getattr(arguments, name) for name in ("fps", "seconds", "loop", "ground", "title")}
    asked["size"] = pixels(arguments.size) if arguments.size else None
    usual: dict[str, Any] = GIF if arguments.out.lower().endswith(".gif") else {}
    return Shot(**usual | {name: value for name, value in asked.items() if value is not None})


def film_for(arguments: argparse.Namespace, shot: Shot) -> Film:
    """The film of a result or of a run."""
    place = path_of(arguments.result)
    is_run = (place / "config.json").is_file()
    asked = {name: getattr(arguments, name) for name in ("colour", *FLOW_ALONE)}
    asked = {name: value for name, value in asked.items() if value is not None}
    if arguments.kind == "training":
        for name in asked:
            if name in FLOW_ALONE:
                raise UserError(f"--{name} says nothing to a film of kind training: leave it out, or take --kind flow.")
        return film_of_run(Run(place), asked.get("colour", TIME), shot)
    if is_run:
        raise UserError(f"{arguments.result} is the folder of a run: add --kind training, or name a file.")
    if "axes" in asked:
        asked["axes"] = axes_of(asked["axes"])
    return film_of(Source.in_file(readers.open_file(place).adata, place), Wish(**asked), shot)
