"""A bundle, ``NAME.cellstream.zip``: one file that holds a run, so that somebody else, or oneself in a year, opens it
and sees the same.

    manifest.json     what is inside, with sizes and SHA-256; what was on the screen; which file the cells came from
    README.txt        what this is, for whoever unpacks it by hand
    run/              the run's folder: settings, recipe, cells as they were read, what happened, model, metrics
    words/            the Methods paragraph, its references, and the script that makes the result again
    figures/          what was given to :func:`pack`
    data/             the file with the cells, where it was asked for

Nothing in it is pickled, and no path of the machine that wrote it is in it. Whoever opens one need not trust whoever
made it: see :mod:`cellstream.bundle.archive` and :mod:`cellstream.bundle.contents`.
"""

from cellstream.bundle.archive import SUFFIX, is_bundle
from cellstream.bundle.contents import MARK
from cellstream.bundle.manifest import Manifest
from cellstream.bundle.packing import pack
from cellstream.bundle.unpacking import Bundle, look, unpack, unpack_into

__all__ = ["MARK", "SUFFIX", "Bundle", "Manifest", "is_bundle", "look", "pack", "unpack", "unpack_into"]
