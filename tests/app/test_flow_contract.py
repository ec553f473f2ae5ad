"""What FlowCanvas takes from Python; no browser needed."""

from __future__ import annotations

import numpy as np
import pytest

from cellstream_app.components import flow


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    canvas = flow.FlowCanvas()
    good = dict(paths=np.zeros((3, 2, 2)), log_w=np.zeros((3, 2)), times=[0, 1, 2], colours=np.zeros((2, 3)))
    canvas.show(**good)
    for name, wrong in {
        "paths": np.zeros((3, 2, 3)), "log_w": np.zeros((2, 2)), "times": [0, 1], "colours": np.zeros((3, 4)),
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match="do not fit together"):
            canvas.show(**good | {name: wrong})
    with pytest.raises(ValueError, match="ascending"):
        canvas.show(**good | {"times": [0, 2, 1]})


def test_colours_become_bytes_with_opacity_and_marks_are_sorted() -> None:
    canvas = flow.FlowCanvas(time=9.0)
    marks = [(2.0, "two"), (0.0, "zero")]
    canvas.show(np.zeros((2, 1, 2)), np.zeros((2, 1)), [0, 2], np.array([[1.0, 0.5, 0.0]]), marks)
    np.testing.assert_array_equal(canvas.colours, [[255, 128, 0, 255]])
    assert canvas.colours.dtype == np.uint8
    assert canvas.paths.dtype == canvas.log_w.dtype == canvas.times.dtype == np.float32
    assert [m["label"] for m in canvas.marks] == ["zero", "two"]
    assert canvas.time == 2.0  # moved to where there are frames
