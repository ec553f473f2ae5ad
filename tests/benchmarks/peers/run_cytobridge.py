"""CytoBridge with velocity and growth, by its authors' package, run by the environment that it is installed in.

Its wheel lacks the settings that its documentation names, so those of the authors' ``unbalanced_ot`` are given here:
numbers and names of options alone, from their public repository. Time is that of ``TrainingPipeline.train``, without
what ``fit`` writes and judges afterwards.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from importlib.metadata import version

import anndata
import CytoBridge
import numpy as np
import torch
from CytoBridge.tl.methods import ODEFunc, neural_ode_step
from CytoBridge.tl.trainer import TrainingPipeline
from CytoBridge.utils.utils import load_model_from_adata
from recorded import Clock, asked, write

EPOCHS = 500
"""Of each of the two stages."""
BATCH = 256
"""What ``fit`` takes by itself; named because the package looks for it when it judges the fit."""


def settings(epochs: int, folder: str) -> dict:
    """The authors' ``unbalanced_ot``."""
    network = dict(hidden_dim=400, n_layers=2, residual=False)
    stage = dict(mode="neural_ode", method="ODEFunc", epochs=epochs)
    first = dict(name="Pretrain", global_mass=False, OT_loss="sinkhorn_detach", lambda_energy=0.0)
    second = dict(name="Train", global_mass=True, OT_loss="sinkhorn", lambda_ot=10, lambda_mass=10, lambda_energy=0.01)
    return dict(
        ckpt_dir=folder,
        model=dict(components=["velocity", "growth"], velocity_net=network, growth_net=network),
        training=dict(
            defaults=dict(lr=1e-4, lambda_ot=1.0, lambda_mass=0.01, lambda_energy=0.01, batch_size=BATCH),
            plan=[stage | first, stage | second],
        ),
    )


def main() -> None:
    args, clock = asked(__doc__), Clock()
    random.seed(args.seed)  # it draws its batches with Python's own generator
    np.random.seed(args.seed)  # noqa: NPY002
    torch.manual_seed(args.seed)
    TrainingPipeline.train = clock.around(TrainingPipeline.train)
    adata = anndata.read_h5ad(args.data)
    CytoBridge.pp.preprocess(
        adata, time_key="time", dim_reduction="none", normalization=False, log1p=False, select_hvg=False
    )
    epochs = EPOCHS if args.epochs is None else args.epochs
    with tempfile.TemporaryDirectory() as folder:
        config = settings(epochs, folder)
        adata = CytoBridge.tl.fit(adata, config, device="cpu")
        model = load_model_from_adata(adata)

    # all cells of the first time point, with the solver and the steps that it was trained with
    times = sorted(adata.obs["time_point_processed"].unique())
    field = ODEFunc(model, use_mass=True)
    x = torch.tensor(adata.X[adata.obs["time_point_processed"] == times[0]], dtype=torch.float32)
    log_w = torch.zeros(len(x), 1)
    points, weights = [], []
    with torch.no_grad():
        for start, end in itertools.pairwise(times):
            x, log_w, _ = neural_ode_step(field, x, log_w, start, end, "cpu")
            points.append(x.numpy())
            weights.append(log_w.exp().squeeze(1).numpy())
    told = dict(epochs=2 * epochs, batch=BATCH, threads=torch.get_num_threads())
    write(args.out, clock, version("cytobridge"), told, points=np.stack(points), weights=np.stack(weights))


if __name__ == "__main__":
    main()
