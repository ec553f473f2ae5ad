"""Saving the selected result into a copy of its data set, for the rest of the scverse."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import panel as pn
import panel_material_ui as pmui

from cellstream import by_parts, handover, readers, scverse
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
H5AD, ZARR = ".h5ad", ".zarr"
TMAPS = "tmaps"
MORE = (
    ("velocity_layer", "Velocity of genes, for scVelo: layers['velocity']"),
    ("transitions", "Transition matrix, for CellRank: obsp['T_fwd']"),
    (TMAPS, "Transport maps as WOT writes them, in a folder beside the file"),
)
WHAT = (
    "In it are the embedding (obsm['X_cellstream']), the velocity (obsm['velocity_cellstream']) and the growth rate "
    "(obs['cellstream_growth_rate'], in natural logarithms: doublings × 0.69) of each cell, growth as moscot and WOT "
    "read it, and the model itself: opened here again, it is this result."
)


class Saving(pn.viewable.Viewer):
    """A path to save to, and a download."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self._named = ""
        self.message = ui.Message()
        self.path = pmui.TextInput(label="Path on this computer", size="small", margin=0, **WIDE)
        self.format = pmui.RadioButtonGroup(
            label="Format", options=[H5AD, ZARR], value=H5AD, size="small", margin=0, variant="outlined",
            color="primary", width=150,
        )  # fmt: skip
        self.format.param.watch(self._on_format, "value")
        self.further = {name: pmui.Switch(label=label, value=False, size="small", margin=0) for name, label in MORE}
        self.save = pmui.Button(label="Save", icon="save", size="small", margin=0, on_click=self._on_save)
        self.download = ui.Download(callback=self._file, filename="cellstream.h5ad", label="Download")
        session.param.watch(self._on_result, ["result", "result_source"])
        self._on_result()

    def __panel__(self) -> pmui.Paper:
        what = ui.text(WHAT)
        switches = ui.column(*self.further.values(), gap=4)
        return ui.card(
            what, switches, self.format, self.message, self.path, ui.row(self.save, self.download), title="The result",
            hint="A copy of the data with the result in it, for scanpy, scVelo, CellRank, moscot and WOT",
        )  # fmt: skip

    def _on_result(self, *events: Any) -> None:
        self.message.clear()
        ready = self.session.result is not None and self.session.result_source is not None
        self.save.disabled = not ready
        self.download.disabled = not ready or size_of(self.session.result_source) > LARGEST_DOWNLOAD
        name = f"{stem_of(self.session)}-cellstream" if ready else self._named
        if name != self._named:  # a path that was typed stays while it is for the same file
            self._named, self.path.value = name, f"~/{name}{self.format.value}"

    def _on_format(self, event: Any) -> None:
        self.path.value = f"{self.path.value.removesuffix(event.old)}{event.new}"

    async def _on_save(self, event: Any) -> None:
        async def save() -> None:
            out = target(self.path.value, self.format.value)
            maps = out.with_name(f"{out.stem}-tmaps") if self.further[TMAPS].value else None
            if maps is not None and maps.exists():
                raise UserError(f"There is a folder {maps} already: choose another name.")
            await self._work(write_result, out, maps)
            self.message.say(f"Saved to {out}{f' and {maps}' if maps else ''}.", "success")

        self.message.alert.severity = "error"
        await ui.asks(self.message, self.save)(save)()

    async def _file(self) -> ui.File | None:
        """What is to be downloaded; None where there is nothing, and why has been told."""
        name = f"{stem_of(self.session)}-cellstream{H5AD}"
        self.message.clear()
        try:
            return ui.File(name, await self._work(in_memory))
        except UserError as error:
            self.message.say(str(error), "error")
            return None

    async def _work(self, write: Callable[..., T], *where: Path | None) -> T:
        """``write`` the result in a thread; raises :class:`UserError`."""
        more = {name: switch.value for name, switch in self.further.items() if name != TMAPS}
        try:
            return await asyncio.to_thread(write, self.session.result, self.session.result_source, *where, **more)
        except MemoryError:
            raise UserError(
                "There is not enough memory for a copy of the data set with the result in it: close other programs."
            ) from None
        except OSError as error:
            raise UserError(
                f"The result could not be written ({error}): see whether the data set can be reached and the disk has "
                "room, or choose another place."
            ) from error


def target(path: str, suffix: str = H5AD) -> Path:
    """The file, or the folder of zarr, to be written: not there yet, in a folder that is."""
    out = permitted(path)
    if not out.name.endswith(suffix):
        out = out.with_name(f"{out.name}{suffix}")
    if out.exists():
        raise UserError(f"There is a file {out} already: choose another name.")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise UserError(f"The folder {out.parent} is not there or cannot be written to: choose another one.")
    return out


def write_result(
    result: Result,
    source: Source,
    out: Path,
    maps: Path | None = None,
    *,
    velocity_layer: bool = False,
    transitions: bool = False,
) -> None:
    """A copy of the data set with the result in it and what other tools read of it, as a whole file or none; and
    transport maps into the folder ``maps``. Takes a while."""
    path, _ = located(source.key)
    layers = 2 * 4 * source.adata.n_obs * source.adata.n_vars if velocity_layer else 0
    require_disk(out.parent, readers.size_of(path, source.adata) + layers, "The file with the result")
    adata = source.adata.copy()
    write_colours(source, adata)
    run, stream, snapshots = result.run, result.stream, result.snapshots
    run.poll()
    scverse.annotate(stream, adata, snapshots, run.recipe, metrics=run.metrics(), history=run.history)
    landed = handover.landings(stream, snapshots)
    wanted = dict(velocity_layer=velocity_layer, transitions=transitions)
    handover.hand_over(adata, stream, snapshots, **wanted, landed=landed)
    if maps is not None:
        handover.write_transport_maps(landed, adata.obs_names[scverse.rows_of(adata, snapshots)], maps)
    write(adata, out, "choose another place")


def in_memory(result: Result, source: Source, **more: bool) -> bytes:
    """The bytes of what :func:`write_result` writes. Takes a while."""
    with tempfile.TemporaryDirectory(prefix="cellstream-") as folder:
        out = Path(folder) / "result.h5ad"
        write_result(result, source, out, **more)
        return out.read_bytes()


def size_of(source: Source | None) -> int:
    """Bytes of a data set's matrices in memory, about."""
    if source is None:
        return 0
    adata = source.adata
    raw = adata.raw.X if adata.raw is not None else None
    return sum(map(by_parts.nbytes, [adata.X, raw, *adata.layers.values(), *adata.obsm.values()]))


def stem_of(session: Session) -> str:
    """How files of the session's result begin: as its data set is called, or else its run's folder; "" without one."""
    result, source = session.result, session.result_source
    return stem(source) if source is not None else result.run.folder.name if result is not None else ""


def stem(source: Source) -> str:
    """A data set's name without its ending."""
    return Path(source.key).name.split(".")[0] or "data"
