"""From a film to a file: frames go as raw pixels through a pipe into ffmpeg, which ``imageio-ffmpeg`` brings along.

mp4 is H.264 with the index in front, which PowerPoint, Keynote and browsers play; webm is VP9; a gif has one palette of
its own for all frames.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from cellstream import __version__
from cellstream.animations import ONCE, SUFFIXES
from cellstream.animations.film import Film
from cellstream.errors import UserError
from cellstream.events import Progress
from cellstream.figures.paper import plain
from cellstream.files import new_file, whole

SAMPLED = 12
"""Frames of which a gif's palette is made."""
POLL_SECONDS = 0.1
BT709 = (
    "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)
"""Colours with their meaning, which players else guess by the size."""
CODECS = {
    ".mp4": ("-vf", BT709, "-c:v", "libx264", "-preset", "veryfast", "-crf", "17", "-movflags", "+faststart"),
    ".webm": (
        "-vf", BT709, "-c:v", "libvpx-vp9", "-crf", "24", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "5",
        "-row-mt", "1", "-threads", "4",
    ),
    # an ordered dither lies still where nothing moves, and so costs nothing there
    ".gif": ("-lavfi", "[0:v][1:v]paletteuse=dither=bayer:bayer_scale=4:diff_mode=rectangle"),
}  # fmt: skip


class Stopped(Exception):
    """Whoever waits for the film wants it no more."""


def place_for(out: str, overwrite: bool) -> Path:
    """A place for a film that can be written to, looked at before the drawing."""
    suffix = Path(out).suffix
    if suffix.lower() not in SUFFIXES:
        raise UserError(f"Expected a name that ends in {', '.join(SUFFIXES)}, but got '{out}'.")
    return new_file(out, overwrite, suffix)


def write(film: Film, path: Path, progress: Progress | None = None, stop: Callable[[], object] | None = None) -> None:
    """Write a film as its name's ending says, whole or not at all, with its provenance inside (as its comment).

    ``progress`` is called with the frames done and all frames; ``stop`` is asked before each frame, and where it says
    yes :class:`Stopped` is raised and no file is left. Both may belong to another thread.

    Raises:
        UserError: the ending is none of :data:`cellstream.animations.SUFFIXES`, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"Expected a name that ends in {', '.join(SUFFIXES)}, but got '{path.name}'.")

    def wanted() -> None:
        if stop is not None and stop():
            raise Stopped

    # in ASCII: a file's name may hold what is no Unicode
    told = json.dumps(dict(film.provenance), sort_keys=True)
    with whole(path) as temporary, tempfile.TemporaryDirectory(prefix="cellstream-") as desk:
        further: list[str] = []
        if suffix == ".gif":
            palette = Path(desk) / "palette.png"
            some = np.unique(np.linspace(0, film.frames - 1, SAMPLED).round().astype(int))
            with _ffmpeg(film, ["-vf", "palettegen=stats_mode=full", "-frames:v", "1", str(palette)], wanted) as take:
                for k in some.tolist():
                    wanted()
                    take(film.draw(k))
            further = ["-i", str(palette), "-loop", "-1" if film.shot.loop == ONCE else "0"]
        words = [*further, *CODECS[suffix], *_metadata(film, told), "-f", suffix[1:], str(temporary)]
        with _ffmpeg(film, words, wanted) as take:
            for k in range(film.frames):
                wanted()
                take(film.draw(k))
                if progress is not None:
                    progress(k + 1, film.frames)
        if suffix == ".gif":
            comment(temporary, told)


@contextmanager
def _ffmpeg(film: Film, words: Sequence[str], wanted: Callable[[], None]) -> Iterator[Callable[[np.ndarray], None]]:
    """A process that takes frames and makes of them what ``words`` say; it is gone when the block ends."""
    width, height = film.shot.size
    raw = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}", "-framerate"]
    command = [_program(), "-hide_banner", "-loglevel", "error", "-y", *raw, str(film.shot.fps)]
    # a session of its own: Ctrl-C is for us, who then end it
    alone: dict[str, Any] = {"creationflags": 0x08000000} if os.name == "nt" else {"start_new_session": True}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*command, "-i", "pipe:0", *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, **alone
        )
        pipe = process.stdin
        assert pipe is not None

        def failed() -> UserError:
            process.wait()
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            why = plain(lines[-1])[:200].rstrip(".") if lines else f"ffmpeg ended with {process.returncode}"
            return UserError(f"The film could not be written ({why}): make room on the disk, or choose another place.")

        def take(frame: np.ndarray) -> None:
            try:
                pipe.write(np.ascontiguousarray(frame, dtype=np.uint8).data)
            except OSError:
                raise failed() from None

        try:
            yield take
            with suppress(OSError):  # its exit code tells
                pipe.close()
            while process.poll() is None:
                wanted()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
            if process.returncode:
                raise failed()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            with suppress(OSError):  # of frames that nobody took
                pipe.close()


def _program() -> str:
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise UserError(
            "No ffmpeg was found, which writes films: install one, and name its place in IMAGEIO_FFMPEG_EXE."
        ) from None


def _metadata(film: Film, told: str) -> list[str]:
    said = dict(
        title=film.shot.title or plain(film.provenance.get("data", "")),
        comment=told,
        description=f"Made with CellStream {__version__}",
    )
    return [word for key, value in said.items() for word in ("-metadata", f"{key}={plain(value)}")]


def comment(path: Path, words: str) -> None:
    """Put a comment into a gif, behind its header, since ffmpeg writes none."""
    data = path.read_bytes()
    flags = data[10]
    begin = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    text = words.encode("ascii", "replace")
    blocks = b"".join(bytes([len(part)]) + part for i in range(0, len(text), 255) if (part := text[i : i + 255]))
    path.write_bytes(data[:begin] + b"\x21\xfe" + blocks + b"\x00" + data[begin:])
