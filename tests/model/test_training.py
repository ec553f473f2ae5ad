"""Training: everything is reached by a gradient, best is best, the same seed gives the same result."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cellstream import events, objective, shaping, training
from cellstream.config import Config
from cellstream.errors import Diverged
from cellstream.presets import preset
from cellstream.snapshots import Snapshots
from cellstream.state import PrincipalComponents, State
from cellstream.stream import CellStream
from cellstream.training import train
from tests.conftest import TINY


def finished(state: State) -> list[events.Event]:
    return list(train(state))


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", ["paper", "best"])
def test_every_parameter_gets_a_gradient(moving_cloud, name):
    """In the autoencoder's block the dynamics' losses reach the encoder; in the other, velocity and growth."""
    state = State.initial(moving_cloud, preset(name, **TINY))
    batch = state.draw(0, 32)
    z = batch.encode(state.autoencoder)
    objective.total(training.dynamics_losses(state, z, []), state.config.weights).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in state.autoencoder.encoder.parameters())
    kept = shaping.embedding_losses(state, batch, batch.encode(state.autoencoder), shaping.company_of(state, batch))
    objective.total(kept, state.config.weights).backward()
    for net_name, net in state.networks.items():
        for key, p in net.named_parameters():
            assert p.grad is not None, (net_name, key)
            assert p.grad.abs().sum() > 0, (net_name, key)


@pytest.mark.parametrize(("block", "moves"), [("autoencoder", {"autoencoder"}), ("dynamics", {"velocity", "growth"})])
def test_a_block_moves_its_own_networks_only(moving_cloud, tiny_config, block, moves):
    state = State.initial(moving_cloud, tiny_config)
    before = state.weights()
    step = dict(autoencoder=training.autoencoder_step, dynamics=training.dynamics_step)[block]
    step(state, [state.draw(0, 32)])
    after = state.weights()
    assert {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])} == moves


def test_best_is_the_lowest_round_and_a_copy(moving_cloud, tiny_config):
    state = State.initial(moving_cloud, tiny_config)
    kept = {}
    for event in train(state):
        if isinstance(event, events.Round):
            kept[event.loss] = state.weights()
            assert event.best == (event.loss == min(kept))
    assert len(kept) == TINY["rounds"]
    assert same(state.best, kept[min(kept)])
    with torch.no_grad():
        next(state.velocity.parameters()).add_(1)
    assert same(state.best, kept[min(kept)])


def test_the_result_is_the_best_and_not_the_last(moving_cloud, tiny_config):
    config = tiny_config.with_settings(patience=1, rounds=60, autoencoder_rate=1.0, dynamics_rate=1.0)
    state = State.initial(moving_cloud, config)
    finished(state)
    found = state.result().weights()
    assert all(torch.equal(value, state.best[key]) for key, value in found.items())
    assert not same(found, {key: state.weights()[key] for key in found})
    assert same(state.present().weights(), {key: state.weights()[key] for key in found})


def test_the_loss_that_judges_is_that_of_the_model_kept(moving_cloud, tiny_config):
    state = State.initial(moving_cloud, tiny_config)
    finished(state)
    for name, net in state.networks.items():
        net.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.best.items() if k.startswith(f"{name}.")})
    batch = state.draw(-2, training.EVALUATION_CELLS)
    with torch.no_grad():
        z = batch.encode(state.autoencoder)
        terms = shaping.embedding_losses(state, batch, z, shaping.company_of(state, batch)) | training.dynamics_losses(
            state, z, []
        )
    assert objective.total(terms, state.config.weights).item() == pytest.approx(state.best_loss, rel=1e-6)


@pytest.mark.parametrize("name", ["paper", "quick"])
def test_same_seed_same_result(moving_cloud, name):
    config = preset(name, **{**TINY, "embedding_steps": 3, "warm_steps": 3} if name == "quick" else TINY)
    one, other, third = (State.initial(moving_cloud, config.with_settings(seed=s)) for s in (1, 1, 2))
    said = [finished(state) for state in (one, other, third)]
    timeless = [[e for e in part if not isinstance(e, events.Finished)] for part in said]
    assert timeless[0] == timeless[1] != timeless[2]
    assert same(one.weights(), other.weights())
    assert not same(one.weights(), third.weights())


@pytest.mark.parametrize("stop", [1, 19, 20, 24, 30, 40])
def test_a_broken_run_goes_on_to_the_same_result(moving_cloud, tiny_config, tmp_path, stop):
    whole = State.initial(moving_cloud, tiny_config)
    finished(whole)
    broken = State.initial(moving_cloud, tiny_config)
    for _ in train(broken):
        if broken.step == stop:
            break
    broken.save(tmp_path / "checkpoint.safetensors")
    again = State.initial(moving_cloud, tiny_config)
    again.restore(tmp_path / "checkpoint.safetensors")
    assert again.step == stop
    assert same(again.best or {}, broken.best or {})
    counted = ("round", "best_loss", "rounds_without_gain", "seconds")
    assert [getattr(again, name) for name in counted] == [getattr(broken, name) for name in counted]
    finished(again)
    assert same(whole.weights(), again.weights())
    assert same(whole.best, again.best)
    assert whole.best_loss == again.best_loss


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_ends_the_run(moving_cloud, tiny_config, patience):
    """After so many rounds in a row without gain, and not before."""
    config = tiny_config.with_settings(patience=patience, rounds=60, autoencoder_rate=1.0, dynamics_rate=1.0)
    said = finished(State.initial(moving_cloud, config))
    assert isinstance(said[-1], events.Finished)
    assert said[-1].reason == f"The loss has not fallen for {patience} rounds."
    gains = "".join("-+"[event.best] for event in said if isinstance(event, events.Round))
    assert gains.startswith("+")
    assert gains.find("-" * patience) == len(gains) - patience


def test_a_loss_that_is_no_number_stops_with_a_sentence(moving_cloud, tiny_config):
    broken = replace(moving_cloud, x=moving_cloud.x * float("nan"))
    with pytest.raises(Diverged, match="learning rates"):
        finished(State.initial(broken, tiny_config.with_settings(start_steps=0)))


def test_the_first_loss_that_is_no_number_is_not_told(moving_cloud, tiny_config):
    state, said = State.initial(moving_cloud, tiny_config), []
    with torch.no_grad():
        state.autoencoder.encoder[0].weight.fill_(float("nan"))
    with pytest.raises(Diverged):  # noqa: PT012
        for event in train(state):
            said.append(event)
    assert [type(event) for event in said] == [events.Stage]


@pytest.mark.parametrize("d", [1, 3, 7])
def test_any_latent_dimension(moving_cloud, tiny_config, d):
    """Also more dimensions than the input has features."""
    state = State.initial(moving_cloud, tiny_config.with_settings(latent_dim=d, rounds=1))
    finished(state)
    assert state.result().encode(moving_cloud.x.numpy()[:4], 0).shape == (4, d)


def test_double_precision(moving_cloud, tiny_config):
    state = State.initial(moving_cloud, tiny_config.with_settings(precision="float64", rounds=1))
    finished(state)
    assert state.velocity.net[0].weight.dtype == torch.float64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda(moving_cloud, tiny_config):
    state = State.initial(moving_cloud, tiny_config.with_settings(device="cuda"))
    assert isinstance(finished(state)[-1], events.Finished)
    assert state.velocity.net[0].weight.device.type == "cuda"


def test_the_start_reaches_the_principal_components(moving_cloud):
    """The encoder's axes after the start correlate with scikit-learn's PCA of (t, x)."""
    from sklearn.decomposition import PCA

    config = Config().with_settings(start_steps=400, rounds=0)
    state = State.initial(moving_cloud, config)
    finished(state)
    tau = state.snapshots.tau[moving_cloud.index]
    z = state.autoencoder.encode(tau, moving_cloud.x).detach().numpy()
    joined = np.column_stack([tau.numpy(), moving_cloud.x.numpy()])
    expected = PCA(2).fit_transform(joined)
    for k in range(2):
        assert abs(np.corrcoef(z[:, k], expected[:, k])[0, 1]) > 0.98
        assert z[:, k].std() == pytest.approx(expected[:, k].std(), rel=0.1)


def test_principal_components_are_scikit_learns():
    from sklearn.decomposition import PCA

    x = torch.randn(200, 6, dtype=torch.float64) * torch.tensor([5, 3, 1, 1, 1, 1.0])
    mine = PrincipalComponents.of(x, 3, "pca").project(x).numpy()
    theirs = PCA(3).fit_transform(x.numpy())
    np.testing.assert_allclose(np.abs(mine), np.abs(theirs), atol=1e-8)
    assert PrincipalComponents.of(x, 3, "unit").project(x)[:, 0].std().item() == pytest.approx(1)


def test_batches_hold_each_time_point_without_repeats(moving_cloud, tiny_config):
    state = State.initial(moving_cloud, tiny_config)
    batch = state.draw(3, 50)
    assert [len(c) for c in batch.cells] == [40, 50, 50]
    for i, cells in enumerate(batch.cells):
        assert (moving_cloud.index[cells] == i).all()
        assert len(cells.unique()) == len(cells)
    assert not torch.equal(batch.cells[2], state.draw(4, 50).cells[2])
    assert torch.equal(torch.cat(batch.x), moving_cloud.x[torch.cat(batch.cells)])
    at_once = state.autoencoder.encode(moving_cloud.index[torch.cat(batch.cells)].float(), torch.cat(batch.x))
    torch.testing.assert_close(torch.cat(batch.encode(state.autoencoder)), at_once)
    torch.testing.assert_close(state.encode(torch.cat(batch.cells)), at_once)


def test_every_kind_of_cell_comes_in_its_proportion(tiny_config):
    """Three islands of 61, 29 and 10 %: of 100 cells drawn at most five more or fewer of each (drawn one by one: 15,
    and a standard deviation of 5 where there are 61); and no cell is drawn more often than others."""
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], [610, 290, 100])
    x = rng.normal(size=(1000, 5)) + np.array([[0, 0], [30, 0], [0, 40]])[kinds] @ np.eye(2, 5)
    order = rng.permutation(1000)
    kinds, x = torch.tensor(kinds[order]).repeat(2), torch.tensor(x[order], dtype=torch.float32).repeat(2, 1)
    cells = Snapshots(x, torch.arange(2).repeat_interleave(1000), torch.arange(2.0), torch.ones(2), ("0", "1"))
    state = State.initial(cells, tiny_config.with_settings(held_out=0))
    batches = [state.draw(k, 100).cells[0] for k in range(400)]
    shares = torch.stack([torch.bincount(kinds[batch], minlength=3) for batch in batches])
    assert (shares - torch.tensor([61, 29, 10])).abs().max() <= 5
    assert shares.double().std(0).max() < 2
    times = torch.bincount(torch.cat(batches), minlength=1000)[:1000].double()
    assert times.mean() == 40
    assert times.var() < 40 * 1.2
    for kind, expected in enumerate((0.61, 0.29, 0.10)):
        assert shares[:, kind].double().mean().item() == pytest.approx(100 * expected, abs=0.15)
    assert len({tuple(sorted(batch.tolist())) for batch in batches}) == 400


@pytest.mark.parametrize("n", [1, 2, 3, 7, 300, 5000])
def test_the_order_of_alike_cells_holds_each_once(n):
    """Neighbours in it lie nearer together than cells do; all cells may be one and the same."""
    from cellstream.state import _bisected

    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    order = _bisected(x)
    assert order.sort().values.tolist() == list(range(n))
    assert _bisected(torch.zeros(n, 3)).sort().values.tolist() == list(range(n))
    if n >= 300:
        apart = x[order].diff(dim=0).norm(dim=1).mean()
        assert apart < 0.6 * x.diff(dim=0).norm(dim=1).mean()


@pytest.mark.parametrize(("n", "size"), [(100, 99), (100, 67), (1000, 100), (5, 5), (5, 9)])
def test_one_of_each_run_is_never_the_same_twice(n, size):
    from cellstream.state import _one_of_each

    draws = [_one_of_each(n, size, torch.Generator().manual_seed(k)) for k in range(3000)]
    assert all(len(draw.unique()) == min(n, size) and 0 <= draw.min() <= draw.max() < n for draw in draws)
    counts = torch.bincount(torch.cat(draws), minlength=n).double()
    assert (counts - 3000 * min(1, size / n)).abs().max() < 5.5 * (3000 * min(1, size / n)) ** 0.5


def test_uses_of_random_numbers_within_a_step_are_independent(moving_cloud, tiny_config):
    """Each use has its own numbers at each step, the same when asked again; between any two there is no correlation."""
    state = State.initial(moving_cloud, tiny_config)
    draws = {(k, use): torch.rand(4000, generator=state.generator(k, use)) for k in range(3) for use in range(5)}
    again = torch.rand(4000, generator=state.generator(2, 1))
    assert torch.equal(again, draws[2, 1])
    between = np.corrcoef(np.stack(list(draws.values())))
    assert np.abs(between - np.eye(15)).max() < 0.08  # five standard deviations


def test_small_draws_from_many_are_even():
    """Where few are drawn from many the shortcut is taken: still without repeats, still uniform."""
    from cellstream.state import _some

    draws = torch.cat([_some(10_000, 100, torch.Generator().manual_seed(k)) for k in range(200)])
    assert len(draws) == 20_000
    counts = np.histogram(draws.numpy(), bins=10, range=(0, 10_000))[0]
    chi2 = ((counts - 2000) ** 2 / 2000).sum()
    assert chi2 < 27.9  # 0.1 % of a chi-square with 9 degrees of freedom


def test_events_are_one_line_each(moving_cloud, tiny_config):
    for event in train(State.initial(moving_cloud, tiny_config)):
        line = events.to_line(event)
        assert "\n" not in line
        assert events.from_line(line) == event


@pytest.mark.slow
def test_it_learns_what_was_planted(moving_cloud):
    """A cloud that drifts by (2, 1) and grows by half each step: mass within 5 %, match near the noise floor."""
    from cellstream.evaluation import evaluate

    config = preset("paper", rounds=15, autoencoder_steps=5, dynamics_steps=30, start_steps=300, dynamics_rate=3e-3)
    state = State.initial(moving_cloud, config)
    finished(state)
    found = evaluate(state.result(), moving_cloud)
    for point in found["mass"].values():
        assert point["predicted"] == pytest.approx(point["observed"], rel=0.05)
    for point in found["match"].values():
        assert point["w2"] < 1.5 * point["floor"]
        assert point["w2"] < 0.5 * point["stays"]
    assert math.isfinite(found["vc"])


def test_without_growth_every_mass_stays_exactly_one(moving_cloud, tmp_path):
    """Populations that grow by half each time are matched as if they did not, and a saved result is as balanced."""
    state = State.initial(moving_cloud, preset("best", growth=False, **TINY))
    start = state.velocity.net[0].weight.clone()
    for _ in train(state):
        pass
    state.result().save(tmp_path / "model.safetensors")
    for stream in (state.result(), CellStream.load(tmp_path / "model.safetensors")):
        z = stream.encode(moving_cloud.x[:40].numpy(), 0.0)
        assert (stream.growth(z, 1.5) == 0).all()
        assert (np.exp(stream.push(z, 0.0, [0.5, 3.0]).log_w) == 1).all()
        assert (np.exp(stream.pull(z, 3.0, [1.0]).log_w) == 1).all()
    assert not any(name.startswith("growth.net") for name in state.weights())
    assert not torch.equal(start, state.velocity.net[0].weight)
