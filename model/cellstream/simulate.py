"""Simulated time series with known velocity and growth: truth for tests, and the sample data.

``populations`` is the benchmark of the paper (Ling et al., AAAI 2026, arXiv 2511.13786, appendix A.1); ``branching``,
in its own module, is a richer one (ours): raw counts of progenitors that divide, branch into three fates and die.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from cellstream.branching import at_least, branching, cell_names, increasing, require_room
from cellstream.errors import UserError

SIGMA_PERP = 0.1  # diffusion across the direction of movement (paper, A.1)


def populations(
    sigma_main: float = 0.3,
    *,
    n_cells: int = 400,
    n_genes: int = 6,
    times: Sequence[float] = (0, 1, 2),
    growth: Sequence[float] = (0.5, 0.0),
    seed: int = 0,
) -> AnnData:
    """K populations of cells; population k follows dx = e_k dt + σ dW and grows at rate g_k (paper, A.1).

    σ is ``sigma_main`` along gene k and 0.1 along the others. The law of x(t) is Gaussian and is sampled exactly,
    anew at every time point, since measured cells are destroyed. Where the paper is silent (ours): equal shares at
    the start; population k starts at 1 on gene K + k, at 0 elsewhere, with standard deviation 0.1 in every gene.

    Args:
        sigma_main: diffusion along the direction of movement, expression per square root of time.
        n_cells: cells at the first time point; later ones hold ``Σ_k n_cells/K exp(g_k (t - t_0))``, rounded.
        n_genes: D, at least 2 K.
        times: increasing time points.
        growth: g_k, per unit of time.
        seed: of the random numbers.

    Returns:
        ``X`` (n, D) float32, ``layers["velocity_true"]`` per unit of time, ``obs`` time, population, growth_true.

    Raises:
        UserError: a number is out of its range.
    """
    times, growth = increasing(times), [float(g) for g in growth]
    at_least("n_cells", n_cells, len(growth))
    at_least("n_genes", n_genes, 2 * len(growth))
    at_least("sigma_main", sigma_main, 0)
    at_least("seed", seed, 0)
    require_room(n_cells * len(times), n_genes)
    rng = np.random.default_rng(seed)
    blocks, velocity, obs = [], [], []
    for t in times:
        elapsed = t - times[0]
        for k, g in enumerate(growth):
            n = round(n_cells / len(growth) * np.exp(g * elapsed))
            axis = np.eye(n_genes)[k]
            sigma = np.where(axis, sigma_main, SIGMA_PERP)
            mean = np.eye(n_genes)[len(growth) + k] + axis * elapsed
            blocks.append(rng.normal(mean, np.sqrt(SIGMA_PERP**2 + sigma**2 * elapsed), size=(n, n_genes)))
            velocity.append(np.tile(axis, (n, 1)))
            obs.append(pd.DataFrame({"time": t, "population": f"population {k + 1}", "growth_true": g}, index=range(n)))
    x = np.concatenate(blocks).astype(np.float32)
    adata = AnnData(x, obs=pd.concat(obs).set_axis(cell_names(len(x))))
    adata.obs["population"] = adata.obs["population"].astype("category")
    adata.var_names = [f"Gene{i + 1}" for i in range(n_genes)]
    adata.layers["velocity_true"] = np.concatenate(velocity).astype(np.float32)
    adata.uns["simulation"] = dict(
        name="populations", source="arXiv 2511.13786, appendix A.1", seed=seed, n_cells=n_cells, n_genes=n_genes,
        times=times, growth=growth, sigma_main=float(sigma_main), sigma_perp=SIGMA_PERP, initial_sd=SIGMA_PERP,
    )  # fmt: skip
    return adata


SIMULATIONS: dict[str, Callable[..., AnnData]] = {"populations": populations, "branching": branching}


def simulate(name: str, *, n_cells: int | None = None, seed: int = 0, **settings: Any) -> AnnData:
    """Run a simulation by its name in ``SIMULATIONS``; ``n_cells`` counts the first time point's cells.

    Raises:
        UserError: there is no such simulation, or it has no such setting, or a value is out of range.
    """
    if name not in SIMULATIONS:
        raise UserError(f"There is no simulation '{name}'; choose one of: {', '.join(SIMULATIONS)}.")
    if n_cells is not None:
        settings["n_cells"] = n_cells
    known = [key for key in inspect.signature(SIMULATIONS[name]).parameters if key != "seed"]
    for key in settings:
        if key not in known:
            raise UserError(f"The simulation '{name}' has no setting '{key}'; it has: {', '.join(known)}.")
    return SIMULATIONS[name](seed=seed, **settings)


def write_sample(path: str | Path, name: str, seed: int = 0, *, n_cells: int | None = None, **settings: Any) -> AnnData:
    """Simulate and write a compact ``.h5ad``; returns what was written.

    To keep the file small, ``layers["expected"]`` is left out and the velocity is rounded to 1/256 of a unit, far
    below the noise of any estimate; ``simulate`` with the same seed gives both in full.
    """
    adata = simulate(name, n_cells=n_cells, seed=seed, **settings)
    adata.layers.pop("expected", None)
    adata.layers["velocity_true"] = np.round(adata.layers["velocity_true"] * 256) / np.float32(256)
    adata.obsm = {key: np.asarray(value, np.float32) for key, value in adata.obsm.items()}
    try:
        adata.write_h5ad(path, compression="gzip", compression_opts=9)
    except OSError as error:
        raise UserError(f"Cannot write the simulated data to {path} ({error}); choose a folder that exists.") from error
    return adata
