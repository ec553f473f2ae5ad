"""The command line's page: words become options."""

from __future__ import annotations

import argparse
from pathlib import Path

from cellstream import readers
from cellstream.figures.command import axes_of, listed
from cellstream.figures.of_result import Source
from cellstream.files import new_file
from cellstream.web.contents import Options
from cellstream.web.page import Written, write_page


def page(arguments: argparse.Namespace) -> Written:
    """Write the page that is asked for."""
    out = new_file(arguments.out, arguments.overwrite, ".html")
    options = Options(
        title=arguments.title,
        genes=listed(arguments.genes),
        colour=arguments.colour,
        names=arguments.names,
        cells=arguments.cells,
        axes=axes_of(arguments.axes),
    )
    opened = readers.open_file(arguments.result)
    return write_page(Source.in_file(opened.adata, Path(arguments.result).expanduser()), out, options)
