"""The command line's bundles."""

from __future__ import annotations

import argparse

from cellstream.bundle.archive import is_bundle
from cellstream.bundle.packing import pack, place_for
from cellstream.bundle.unpacking import unpack_into
from cellstream.errors import UserError
from cellstream.files import path_of, size_in_words
from cellstream.terminal import columns, write


def bundle(arguments: argparse.Namespace) -> int:
    """Write a bundle, or unpack one."""
    given = path_of(arguments.run)
    if arguments.unpack:
        if arguments.out or arguments.with_data or arguments.figures:
            raise UserError("--unpack takes a bundle apart: leave out --out, --with-data and --figures.")
        opened = unpack_into(given, arguments.unpack)
        data = opened.manifest.data
        files = opened.manifest.files
        write(columns([(name.removeprefix("run/"), f"{part.bytes:,}", part.what) for name, part in files.items()]))
        if data is not None and not data.held:
            write(f"The file with the cells, {data.name}, is not in the bundle.\n")
        write(f"{opened.run.folder}\n")
        return 0
    if not arguments.out:
        raise UserError("Expected --out NAME.cellstream.zip to write a bundle, or --unpack DIR to take one apart.")
    if is_bundle(given):
        raise UserError(f"{given} is a bundle already: copy it, or take it apart with --unpack DIR.")
    place_for(arguments.out, arguments.overwrite)
    figures = [name.strip() for words in arguments.figures for name in words.split(",") if name.strip()]
    made = pack(given, arguments.out, data=arguments.with_data, figures=figures, overwrite=arguments.overwrite)
    write(f"{made}  {size_in_words(made.stat().st_size)}\n")
    return 0
