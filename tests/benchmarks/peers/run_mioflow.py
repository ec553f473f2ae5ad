"""MIOFlow by its authors' package, run by the environment that it is installed in, with the package's own defaults.

In the input space, without the geodesic autoencoder, since the data are the output of an autoencoder already and ten
dimensions are what the others are measured in. Time is that of ``train_mioflow``.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import version

import anndata
import mioflow.mioflow
import numpy as np
import torch
from recorded import Clock, asked, write
from torchdiffeq import odeint

EPOCHS = 100


def main() -> None:
    args, clock = asked(__doc__), Clock()
    np.random.seed(args.seed)  # noqa: NPY002
    torch.manual_seed(args.seed)
    mioflow.mioflow.train_mioflow = clock.around(mioflow.mioflow.train_mioflow)
    adata = anndata.read_h5ad(args.data)
    adata.obsm["X_input"] = adata.X
    epochs = EPOCHS if args.epochs is None else args.epochs
    with tempfile.TemporaryDirectory() as folder:
        fit = mioflow.mioflow.MIOFlow(
            adata, gaga_input_key="X_input", obs_time_key="time", use_cuda=False, n_epochs=epochs, exp_dir=folder
        ).fit()

    # all cells of the first time point, with the solver that it was trained with; it scales the input
    times = torch.tensor(fit.dataset.times, dtype=torch.float32)
    with torch.no_grad():
        moved = odeint(fit.ode_model, fit.dataset.get_initial_condition(), times)[1:].numpy()
    points = moved * fit.std_vals + fit.mean_vals
    told = dict(epochs=epochs, batch="all cells", threads=torch.get_num_threads())
    write(args.out, clock, version("mioflow"), told, points=points, weights=np.ones(points.shape[:2]))


if __name__ == "__main__":
    main()
