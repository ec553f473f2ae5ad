"""The checker that pytest puts around every annotated function of the science: shapes and types as they stand."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

# an int passes for a float, as everywhere in Python
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
