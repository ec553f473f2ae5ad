"""The options of ``cellstream animate``; light, since every help text reads them."""

from __future__ import annotations

import argparse

from cellstream.animations import GROUNDS, KINDS, LOOPS, PARTICLES, SIZES


def add(to: argparse.ArgumentParser) -> None:
    """All that an animation can be asked for."""
    to.add_argument("result", metavar="RESULT", help="a file with a result in it; of kind training, the run's folder")
    to.add_argument("--out", required=True, metavar="FILE", help="a name that ends in .mp4, .webm or .gif")
    to.add_argument("--kind", default="flow", choices=KINDS, help="what it shows (default flow)")
    to.add_argument("--colour", metavar="NAME", help="time (default), growth, speed, gene:NAME or a column of obs")
    to.add_argument("--labels", metavar="KEY", help="column of obs with kinds of cells, for the particles' colours")
    particles = "their colour: the moment's, of the labels they start or end with, of the cells around, or none"
    to.add_argument("--particles", choices=PARTICLES, help=particles)
    streams = "streamlines of the moment behind the particles (default: with them)"
    to.add_argument("--axes", metavar="1,2", help="principal components, of more than two dimensions (default 1,2)")
    to.add_argument("--streams", action=argparse.BooleanOptionalAction, help=streams)
    sizes = f"{', '.join(SIZES)} or pixels as in 1080x1080 (default 1080p, of a gif 720p)"
    to.add_argument("--size", metavar="WxH", help=sizes)
    to.add_argument("--fps", type=int, metavar="N", help="frames per second (default 30, of a gif 20)")
    to.add_argument("--seconds", type=float, default=10.0, metavar="S", help="length (default 10)")
    loops = "repeat (default), back: there and back again, or once: a gif stops at its end"
    to.add_argument("--loop", default=LOOPS[0], choices=LOOPS, help=loops)
    to.add_argument("--ground", default="white", choices=list(GROUNDS), help="colour behind all (default white)")
    to.add_argument("--title", default="", metavar="TEXT", help="words above the picture")
    to.add_argument("--overwrite", action="store_true", help="replace FILE where it exists")
