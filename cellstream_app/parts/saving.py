"""Saving the selected result into a copy of its data set, for the rest of the scverse."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import panel as pn
import panel_material_ui as pmui

from cellstream import by_parts, readers, scverse
from cellstream.errors import UserError
from cellstream.files import require_disk
from cellstream.fitting import located, write
from cellstream_app import ui
from cellstream_app.colouring import write_colours
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.sources import Source, permitted
from cellstream_app.ui import WIDE

LARGEST_DOWNLOAD = 200_000_000
"""Bytes in memory; what is larger is saved to a path."""
T = TypeVar("T")


class Saving(pn.viewable.Viewer):
    """A path to save to, and a download."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.message = ui.Message()
        self.path = pmui.TextInput(label="Path on this computer", size="small", margin=0, **WIDE)
        self.save = pmui.Button(label="Save .h5ad", icon="save", size="small", margin=0, on_click=self._on_save)
        self.download = ui.Download(
            callback=self._file, filename="cellstream.h5ad", label="Download", icon="download", size="small",
            variant="outlined", auto=True, embed=False, margin=0,
        )  # fmt: skip
        session.param.watch(self._on_result, ["result", "result_source"])
        self._on_result()

    def __panel__(self) -> pmui.Paper:
        return ui.card(
            self.message, self.path, ui.row(self.save, self.download), title="Save",
            hint="A copy of the data with embedding, velocity and growth in it (growth in natural logarithms: "
            "doublings × 0.69)",
        )  # fmt: skip

    def _on_result(self, *events: Any) -> None:
        self.message.clear()
        ready = self.session.result is not None and self.session.result_source is not None
        self.save.disabled = not ready
        self.download.disabled = not ready or size_of(self.session.result_source) > LARGEST_DOWNLOAD
        name = f"{stem(self.session.result_source)}-cellstream.h5ad" if ready else ""
        if ready and name != self.download.filename:  # a path that was typed stays while it is for the same file
            self.path.value = f"~/{name}"
            self.download.filename = name

    async def _on_save(self, event: Any) -> None:
        async def save() -> None:
            out = target(self.path.value)
            await self._work(write_result, out)
            self.message.say(f"Saved to {out}.", "success")

        self.message.alert.severity = "error"
        await ui.asks(self.message, self.save)(save)()

    async def _file(self) -> io.BytesIO | None:
        """What is to be downloaded; None where there is nothing, and why has been told."""
        name = self.download.filename
        self.download.loading = True
        self.message.clear()
        try:
            file = await self._work(in_memory)
            if name != self.download.filename:
                raise UserError("Another result was chosen while the file was written: press Download again.")
        except UserError as error:
            self.message.say(str(error), "error")
            return None
        finally:
            self.download.loading = False
        return file

    async def _work(self, write: Callable[..., T], *where: Path) -> T:
        """``write`` the result in a thread; raises :class:`UserError`."""
        try:
            return await asyncio.to_thread(write, self.session.result, self.session.result_source, *where)
        except MemoryError:
            raise UserError(
                "There is not enough memory for a copy of the data set with the result in it: close other programs."
            ) from None
        except OSError as error:
            raise UserError(
                f"The result could not be written ({error}): see whether the data set can be reached and the disk has "
                "room, or choose another place."
            ) from error


def target(path: str) -> Path:
    """The file to be written: an ``.h5ad`` that is not there yet, in a folder that is."""
    out = permitted(path)
    if out.suffix != ".h5ad":
        out = out.with_name(f"{out.name}.h5ad")
    if out.exists():
        raise UserError(f"There is a file {out} already: choose another name.")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise UserError(f"The folder {out.parent} is not there or cannot be written to: choose another one.")
    return out


def write_result(result: Result, source: Source, out: Path) -> None:
    """A copy of the data set with the result in it, as a whole file or none. Takes a while."""
    path, _ = located(source.key)
    require_disk(out.parent, readers.size_of(path, source.adata), "The file with the result")
    adata = source.adata.copy()
    write_colours(source, adata)
    run = result.run
    run.poll()
    scverse.annotate(result.stream, adata, result.snapshots, run.recipe, metrics=run.metrics(), history=run.history)
    write(adata, out, "choose another place")


def in_memory(result: Result, source: Source) -> io.BytesIO:
    """The bytes of what :func:`write_result` writes. Takes a while."""
    with tempfile.TemporaryDirectory(prefix="cellstream-") as folder:
        out = Path(folder) / "result.h5ad"
        write_result(result, source, out)
        return io.BytesIO(out.read_bytes())


def size_of(source: Source | None) -> int:
    """Bytes of a data set's matrices in memory, about."""
    if source is None:
        return 0
    adata = source.adata
    raw = adata.raw.X if adata.raw is not None else None
    return sum(map(by_parts.nbytes, [adata.X, raw, *adata.layers.values(), *adata.obsm.values()]))


def stem(source: Source) -> str:
    """A data set's name without its ending."""
    return Path(source.key).name.split(".")[0] or "data"
