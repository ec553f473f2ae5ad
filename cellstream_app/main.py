"""The app: one session, its pages, one page of the browser. Serve it with ``panel serve cellstream_app``."""

from __future__ import annotations

import panel as pn

from cellstream_app import style
from cellstream_app.shell import Shell

pn.extension("tabulator", "filedropper", notifications=True, respect_explicit_sizing=True)
style.use_defaults()
Shell().page.servable()
