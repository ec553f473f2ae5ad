"""Simulated data against closed forms, finite differences and an independent integration."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp

from cellstream import branching, simulate
from cellstream.errors import UserError

SAMPLE = Path(__file__).parents[2] / "sample_data" / "branching.h5ad"


@pytest.fixture(scope="module")
def blood():
    return simulate.branching(n_cells=200, seed=3)


def _clone_inputs(adata):
    fate = adata.obs["fate_true"].cat.codes.to_numpy().astype(int)
    return adata.obs["true_time"].to_numpy(), fate, adata.obsm["offset_true"]


@pytest.mark.parametrize("sigma_main", [0.3, 0.7])
@pytest.mark.parametrize("times", [(0, 1, 2), (2.0, 2.5, 4.0)])
def test_populations_have_the_gaussian_law_of_the_sde(sigma_main, times):
    adata = simulate.populations(sigma_main, n_cells=4000, times=times, seed=1)
    for t in times:
        for k in range(2):
            chosen = (adata.obs["time"] == t) & (adata.obs["population"] == f"population {k + 1}")
            x = adata[chosen.to_numpy()].X.astype(np.float64)
            elapsed = t - times[0]
            axis = np.eye(6)[k]
            variance = 0.1**2 + np.where(axis, sigma_main, 0.1) ** 2 * elapsed
            start = np.eye(6)[2 + k]
            z = (x.mean(0) - start - elapsed * axis) / np.sqrt(variance / len(x))
            assert np.abs(z).max() < 4.5
            # (n - 1) s² / σ² has a chi-squared law
            tail = stats.chi2(len(x) - 1).cdf((len(x) - 1) * x.var(0, ddof=1) / variance)
            assert tail.min() > 1e-5
            assert tail.max() < 1 - 1e-5
            assert stats.kstest((x[:, k] - start[k] - elapsed) / np.sqrt(variance[k]), "norm").pvalue > 1e-5


def test_populations_grow_at_their_rates():
    adata = simulate.populations(n_cells=1000, times=(0, 1, 2))
    for k, rate in enumerate((0.5, 0.0)):
        counts = adata.obs.loc[adata.obs["population"] == f"population {k + 1}", "time"].value_counts()
        for t in (1, 2):
            assert counts[t] / counts[0] == pytest.approx(np.exp(rate * t), abs=1 / counts[0])
    assert set(zip(adata.obs["population"], adata.obs["growth_true"], strict=True)) == {
        ("population 1", 0.5),
        ("population 2", 0.0),
    }


def test_populations_state_the_drift_that_moves_them():
    adata = simulate.populations(n_cells=20_000, times=(0, 3), seed=2)
    late = (adata.obs["time"] == 3).to_numpy()
    for name in adata.obs["population"].cat.categories:
        mine = (adata.obs["population"] == name).to_numpy()
        moved = adata.X[mine & late].mean(0) - adata.X[mine & ~late].mean(0)
        velocity = adata.layers["velocity_true"][mine]
        assert np.ptp(velocity, axis=0).max() == 0
        np.testing.assert_allclose(moved, 3 * velocity[0], atol=0.03)


def test_velocity_of_branching_is_the_derivative_of_its_expression(blood):
    age, fate, offset = _clone_inputs(blood)
    model = branching.branching_model(seed=3)
    h = 1e-5
    difference = (model.expected(age + h, fate, offset) - model.expected(age - h, fate, offset)) / (2 * h)
    np.testing.assert_allclose(model.velocity(age, fate, offset), difference, atol=1e-7)
    np.testing.assert_allclose(blood.layers["velocity_true"], difference, atol=1e-5)
    np.testing.assert_allclose(blood.layers["expected"], model.expected(age, fate, offset), atol=1e-5)
    assert np.abs(difference).max() > 0.5  # the comparison is of something


def test_growth_is_the_derivative_of_log_mass():
    age = np.tile(np.linspace(-1, 8, 200), 3)
    fate = np.repeat(np.arange(3), 200)
    h = 1e-5
    for function, derivative in (
        (branching.log_mass, branching.growth_rate),
        (branching.growth_rate, branching.growth_rate_drift),
    ):
        difference = (function(age + h, fate) - function(age - h, fate)) / (2 * h)
        np.testing.assert_allclose(derivative(age, fate), difference, atol=1e-8)


def test_cells_can_be_told_apart_by_fate_only_after_the_branching():
    model = branching.branching_model()
    offset = np.zeros((3, 4))
    early, late = (model.expected(np.full(3, t), np.arange(3), offset) for t in (-0.5, 6.0))
    assert np.ptp(early, axis=0).max() < 0.02
    assert np.ptp(late, axis=0).max() > 2


def test_cell_numbers_and_ages_follow_the_growth():
    days = (0.0, 1.0, 2.0, 3.0, 5.0, 7.0)
    adata = simulate.branching(n_cells=3000, n_genes=60, days=days, seed=4)
    founders = np.random.default_rng(0).normal(0, branching.ASYNCHRONY, 20_000)
    for f, fate in enumerate(branching.FATES):
        same = np.full(len(founders), f)
        log_w = solve_ivp(
            lambda t, _, same=same: branching.growth_rate(founders + t, same),
            (0, 7), np.zeros(len(founders)), t_eval=days, max_step=0.05, method="RK23",
        ).y  # fmt: skip
        mine = adata.obs[adata.obs["fate_true"] == fate]
        counts = mine["day"].value_counts(sort=False).to_numpy()
        np.testing.assert_allclose(counts / counts[0], np.exp(log_w).mean(axis=0), rtol=0.01)
        for i, day in enumerate(days):
            ages = mine.loc[mine["day"] == f"day {day:g}", "true_time"]
            mean = np.average(founders + day, weights=np.exp(log_w[:, i]))
            assert abs(ages.mean() - mean) < 4.5 * branching.ASYNCHRONY * np.sqrt(1 / len(ages) + 1 / len(founders))


def test_counts_are_multinomial_without_extra_noise():
    adata = simulate.branching(n_cells=300, dispersion=0, dropout=0, seed=5)
    counts = adata.X.toarray().astype(np.float64)
    share = np.expm1(adata.layers["expected"].astype(np.float64)) / branching.TARGET_SUM
    np.testing.assert_allclose(share.sum(1), 1, rtol=1e-5)
    mean = counts.sum(1, keepdims=True) * share  # Poisson counts, given their total, are multinomial
    z = (counts - mean).sum(0) / np.sqrt((mean * (1 - share)).sum(0))
    assert np.abs(z).max() < 5
    assert ((counts - mean) ** 2 / (mean * (1 - share))).mean() == pytest.approx(1, abs=0.02)


def test_dispersion_and_dropout_add_noise():
    def excess(**settings):
        adata = simulate.branching(n_cells=100, seed=6, **settings)
        counts = adata.X.toarray().astype(np.float64)
        mean = counts.sum(1, keepdims=True) * np.expm1(adata.layers["expected"]) / branching.TARGET_SUM
        return ((counts - mean) ** 2 / mean).mean(), (counts == 0).mean()

    plain, noisy, lossy = excess(dispersion=0, dropout=0), excess(dropout=0), excess(dispersion=0)
    assert noisy[0] > 1.5 * plain[0]
    assert lossy[1] > plain[1] + 0.02


def test_branching_counts_are_raw_and_vary_in_depth(blood):
    assert blood.X.format == "csr"
    assert blood.X.dtype == np.float32
    assert (blood.X.data == np.round(blood.X.data)).all()
    assert blood.X.data.min() >= 1
    depth = np.asarray(blood.X.sum(1)).ravel()
    assert 0.25 < np.log(depth).std() < 0.45


def test_proliferation_genes_follow_growth(blood):
    level = blood.layers["expected"][:, (blood.var["programme"] == "Prolif").to_numpy()].mean(1)
    assert stats.pearsonr(level, blood.obs["growth_true"]).statistic > 0.9
    by_lineage = blood.obs.assign(level=level)[blood.obs["true_time"] > 5].groupby("lineage", observed=True)["level"]
    assert list(by_lineage.mean().sort_values().index) == ["neutrophil", "monocyte", "erythroid"]


def test_labels_agree_with_age_and_fate(blood):
    obs = blood.obs
    committed = obs["lineage"] != "progenitor"
    assert (obs.loc[committed, "lineage"].astype(str) == obs.loc[committed, "fate_true"].astype(str)).all()
    split = np.where(obs["fate_true"] == "erythroid", branching.SPLIT[0], branching.SPLIT[1])
    assert (committed == (obs["true_time"] >= split)).all()
    assert list(obs["day"].cat.categories) == ["day 0", "day 1", "day 2", "day 3", "day 5", "day 7"]
    assert set(obs.loc[obs["cell_type"] == "neutrophil", "lineage"]) == {"neutrophil"}
    assert not obs.isna().any().any()


@pytest.mark.parametrize("name", simulate.SIMULATIONS)
def test_a_seed_fixes_the_result_and_the_file_keeps_it(name, tmp_path):
    one, same, other = (simulate.simulate(name, n_cells=40, seed=seed) for seed in (7, 7, 8))
    assert abs(one.X - same.X).max() == 0
    assert one.obs.equals(same.obs)
    assert one.shape != other.shape or abs(one.X - other.X).max() > 0
    written = simulate.write_sample(tmp_path / "s.h5ad", name, 7, n_cells=40)
    read = anndata.read_h5ad(tmp_path / "s.h5ad")
    assert abs(read.X - one.X).max() == 0
    np.testing.assert_allclose(read.layers["velocity_true"], one.layers["velocity_true"], atol=1 / 512)
    assert read.obs.equals(written.obs)
    assert read.uns["simulation"]["seed"] == 7
    assert list(read.uns["simulation"].get("times", read.uns["simulation"].get("days"))) == sorted(
        float(str(t).removeprefix("day ")) for t in read.obs.iloc[:, 0].unique()
    )


def test_the_sample_file_is_what_its_command_makes(tmp_path):
    kept = anndata.read_h5ad(SAMPLE)
    simulate.write_sample(tmp_path / "again.h5ad", "branching", 0)
    again = anndata.read_h5ad(tmp_path / "again.h5ad")
    assert abs(kept.X - again.X).max() == 0
    # strings and categories exactly; floats to the last bits, which differ between machines' mathematical libraries
    assert kept.obs.drop(columns=["true_time", "growth_true"]).equals(
        again.obs.drop(columns=["true_time", "growth_true"])
    )
    for column in ("true_time", "growth_true"):
        np.testing.assert_allclose(kept.obs[column], again.obs[column], rtol=1e-12)
    np.testing.assert_allclose(kept.layers["velocity_true"], again.layers["velocity_true"], atol=1 / 256)
    assert kept.var.equals(again.var)
    assert SAMPLE.stat().st_size < 3_000_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate.simulate("spiral"), "choose one of: populations, branching"),
        (lambda: simulate.simulate("populations", sigma=1), "no setting 'sigma'; it has: sigma_main"),
        (lambda: simulate.populations(n_genes=3), "n_genes must be at least 4"),
        (lambda: simulate.populations(sigma_main=-1), "sigma_main must be at least 0"),
        (lambda: simulate.populations(times=(0, 2, 1)), "Time points must increase"),
        (lambda: simulate.populations(times=()), "Time points must increase"),
        (lambda: simulate.populations(times=(0, float("inf"))), "Time points must increase"),
        (lambda: simulate.populations(sigma_main=float("inf")), "sigma_main must be finite"),
        (lambda: simulate.populations(seed=-1), "seed must be at least 0"),
        (lambda: simulate.branching(seed=-1), "seed must be at least 0"),
        (lambda: simulate.populations(n_cells=10**11), "GB of memory"),
        (lambda: simulate.branching(n_cells=10**11), "GB of memory"),
        (lambda: simulate.branching(n_cells=0), "n_cells must be at least 10"),
        (lambda: simulate.branching(dropout=2), "probability"),
        (lambda: simulate.branching(n_genes=10), "n_genes must be at least 60"),
        (lambda: simulate.write_sample("/nowhere/x.h5ad", "populations", n_cells=4), "folder that exists"),
    ],
)
def test_mistakes_get_a_sentence(call, message):
    with pytest.raises(UserError, match=message):
        call()
