"""Every kind of training step against the same step worked out by hand: closed forms, POT, central differences."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import ot
import pytest
import torch

from cellstream import descent, events, lineages, objective, shaping, training
from cellstream.presets import preset
from cellstream.shaping import TOUCHING
from cellstream.snapshots import Snapshots
from cellstream.state import PAIRS, PLACES, Batch, State
from tests.conftest import TINY

U, G, ALPHA = torch.tensor([3.0, -4.0], dtype=torch.float64), 0.3, 2.0


def ours(**changes):
    """Our preset's networks, time and frame as in the paper, in double precision, every weight different from one."""
    weights = dict(lambda_ae=2, lambda_wfr=3, lambda_match=5, lambda_ot=7, lambda_mass=0.5, lambda_neighbours=11)
    papers = dict(time_input="joined", frame="still", input_scaling="standardise")
    defaults = {
        **TINY,
        **weights,
        **papers,
        "lambda_between": 19,
        "lambda_steps": 13,
        "lambda_separation": 17,
        "lambda_lineages": 0,
        "alpha": ALPHA,
    }
    return preset(
        "best", **{**defaults, "precision": "float64", "updates_per_batch": 1, "clip": 1e6, "held_out": 0, **changes}
    )


def size_of(z: np.ndarray) -> float:
    """Geometric mean of the distances to the centre, a tenth of the mean square added to each square."""
    square = ((z - z.mean(0)) ** 2).sum(1)
    return float(np.exp(0.5 * np.log(square + 0.1 * square.mean()).mean()))


def constant_fields(state: State) -> None:
    state.velocity = lambda t, z: U.expand_as(z)
    state.growth = lambda t, z: torch.full_like(z[:, 0], G)


# what the dynamics cost


@pytest.mark.parametrize("scale", ["unit", "pca"])
def test_cost_of_constant_fields_is_the_closed_form(moving_cloud, scale):
    """(|u|²/L² + α g²)(e^{gT} − 1)/g, Σ|e^{g t_i} − m_i| and Σ W_2/L, uneven gaps; L is the embedding's size, or 1."""
    uneven = replace(moving_cloud, even=False)  # the networks' times are 0, 2/3, 2
    state = State.initial(uneven, ours(latent_scale=scale, method="dopri5", rtol=1e-8, atol=1e-8))
    constant_fields(state)
    z = [part.detach() for part in state.draw(0, 30).encode(state.autoencoder)]
    found = training.dynamics_losses(state, z, [])
    length = size_of(torch.cat(z).numpy()) if scale == "unit" else 1.0
    tau = np.array([0, 2 / 3, 2])
    assert found["wfr"].item() == pytest.approx((25 / length**2 + ALPHA * G**2) * (math.exp(2 * G) - 1) / G, rel=1e-5)
    assert found["mass"].item() == pytest.approx(np.abs(np.exp(G * tau) - [1, 1.5, 2.25]).sum(), rel=1e-5)
    w2 = [np.sqrt(ot.emd2([], [], ot.dist((z[0] + U * tau[i]).numpy(), z[i].numpy()))) for i in (1, 2)]
    assert found["ot"].item() == pytest.approx(sum(w2) / length, rel=1e-5)


def test_size_is_the_geometric_mean_and_its_softening_is_held_fixed():
    z = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    size = training.spread(z)
    assert size.item() == pytest.approx(size_of(z.detach().numpy()))
    size.backward()
    c = (z - z.mean(0)).detach()
    square = c.square().sum(1, keepdim=True)
    pull = c / (square + 0.1 * square.mean())
    torch.testing.assert_close(z.grad, size.detach() * (pull - pull.mean(0)) / 30)


def slope(loss, parameter: torch.Tensor, h: float = 1e-6) -> float:
    """Central difference of ``loss()`` in the first entry of ``parameter``."""
    values = []
    with torch.no_grad():
        for step in (h, -2 * h):
            parameter.view(-1)[0] += step
            values.append(loss())
        parameter.view(-1)[0] += h
    return (values[0] - values[1]) / (2 * h)


def whole_loss(state: State, batch: Batch) -> float:
    """L by its definition, with transport solved anew."""
    w, z = state.config.weights, batch.encode(state.autoencoder)
    d = training.dynamics_losses(state, z, [])
    dynamics = w.lambda_wfr * d["wfr"] + w.lambda_match * (w.lambda_mass * d["mass"] + w.lambda_ot * d["ot"])
    kept = shaping.embedding_losses(state, batch, z, shaping.company_of(state, batch))
    kept = w.lambda_ae * kept["ae"] + w.lambda_neighbours * kept["neighbours"] + w.lambda_between * kept["between"]
    return (dynamics + kept).item()


def test_autoencoder_step_goes_down_the_whole_loss(moving_cloud):
    """Through start, ends, weights and unit of length of the dynamics as through reconstruction and neighbours."""
    state = State.initial(moving_cloud, ours(latent_scale="pca"))
    batch = state.draw(0, 20)
    entries = [net[0].weight for net in (state.autoencoder.encoder, state.autoencoder.decoder)]
    expected = [slope(lambda: whole_loss(state, batch), entry) for entry in [*entries, state.magnification.log_factor]]
    before = whole_loss(state, batch)
    found = training.autoencoder_step(state, [batch])
    assert found["total"].item() == pytest.approx(before)
    grads = [p.grad.view(-1)[0].item() for p in [*entries, state.magnification.log_factor]]
    assert grads == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_dynamics_step_goes_down_action_and_matching(moving_cloud):
    state = State.initial(moving_cloud, ours())
    batch = state.draw(0, 20)
    entries = [state.velocity.net[0].weight, state.growth.net[0].weight]
    expected = [slope(lambda: whole_loss(state, batch), entry) for entry in entries]
    found = training.dynamics_step(state, [batch])
    assert found.keys() == {"total", "wfr", "mass", "ot"}
    expected_total = 3 * found["wfr"] + 5 * (0.5 * found["mass"] + 7 * found["ot"])
    assert found["total"].item() == pytest.approx(expected_total.item())
    assert [p.grad.view(-1)[0].item() for p in entries] == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_the_embeddings_unit_of_length_is_learned_through(moving_cloud):
    """Making the embedding and the fields twice as large changes neither action nor matching, value or slope."""
    state = State.initial(moving_cloud, ours())
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    z = [part.detach() for part in state.draw(0, 20).encode(state.autoencoder)]
    field = state.velocity

    def cost() -> torch.Tensor:
        state.velocity = lambda t, at: factor * field(t, at / factor)
        growth = state.growth
        state.growth = lambda t, at: growth(t, at / factor)
        found = training.dynamics_losses(state, [factor * part for part in z], [])
        state.growth = growth
        return found["wfr"] + found["ot"]

    # the slope keeps the small part that the held softening leaves; without the unit's own slope it would be the cost
    one = cost()
    assert abs(torch.autograd.grad(one, factor)[0].item()) < 0.5 * one.item()
    assert slope(lambda: cost().item(), factor, 1e-3) == pytest.approx(0, abs=1e-6 * one.item())


@pytest.mark.parametrize("step", ["autoencoder_step", "dynamics_step"])
def test_one_coupling_serves_all_updates_of_a_batch(moving_cloud, monkeypatch, step):
    state = State.initial(moving_cloud, ours(updates_per_batch=4))
    solved, couplings = [], objective.couplings
    monkeypatch.setattr(objective, "couplings", lambda *given: solved.append(1) or couplings(*given))
    getattr(training, step)(state, [state.draw(0, 20)])
    adam = state.optimisers[step.removesuffix("_step")].state
    assert len(solved) == 1
    assert {int(entry["step"]) for entry in adam.values()} == {4}


# how a step descends


@pytest.mark.parametrize(("clip", "end"), [(1e6, 0.9**3 * 5), (0.5, 5 - 3 * 0.1 * 0.5)])
def test_updates_follow_the_gradient_up_to_its_largest_norm(moving_cloud, clip, end):
    """On |p|²/2 from |p| = 5 at rate 0.1: three times 0.9 of what was, or 0.05 less, and always towards zero."""
    state = State.initial(moving_cloud, ours(updates_per_batch=3, clip=clip))
    p = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    state.optimisers["bowl"] = torch.optim.SGD([p], lr=0.1)
    found = descent.descend(state, "bowl", [lambda: dict(a=p.square().sum())], lambda terms: terms["a"] / 2)
    torch.testing.assert_close(p.detach(), torch.tensor([3.0, 4.0]) * end / 5)
    last = end / 0.9 if clip > 1 else end + 0.05
    assert (found["a"].item(), found["total"].item()) == pytest.approx((last**2, last**2 / 2), rel=1e-5)


@pytest.mark.parametrize("decay", [True, False])
def test_learning_rates_fall_to_a_tenth_along_a_cosine(moving_cloud, monkeypatch, decay):
    state = State.initial(moving_cloud, ours(decay=decay, autoencoder_rate=0.02, dynamics_rate=0.004))
    monkeypatch.setattr(training, "autoencoder_step", lambda state, batch: {})
    monkeypatch.setattr(training, "dynamics_step", lambda state, batch: {})
    steps = TINY["rounds"] * (TINY["autoencoder_steps"] + TINY["dynamics_steps"])
    rates = []
    for k in range(steps + 1):
        training.round_step(state, k)
        rates.append([state.optimisers[name].param_groups[0]["lr"] for name in ("autoencoder", "dynamics")])
    assert rates[0] == pytest.approx([0.02, 0.004])
    assert rates[steps // 2] == pytest.approx([0.011, 0.0022] if decay else [0.02, 0.004])
    assert rates[steps] == pytest.approx([0.002, 0.0004] if decay else [0.02, 0.004])


def test_a_round_is_the_autoencoders_steps_then_the_dynamics(moving_cloud, monkeypatch):
    state, done = State.initial(moving_cloud, ours()), []
    for name in ("autoencoder_step", "dynamics_step"):
        monkeypatch.setattr(training, name, lambda state, batch, name=name: done.append(name[0]) or {})
    for k in range(16):
        training.round_step(state, k)
    assert "".join(done) == "aaadddddaaaddddd"


@pytest.mark.parametrize("warm_steps", [0, 2])
def test_the_fields_see_the_embedding_in_its_own_units_once_it_has_taken_shape(moving_cloud, warm_steps):
    """Set before the fields are first fitted, with a warm start or without, and not after; not at all where the
    embedding keeps the scale of the principal components."""
    state = State.initial(moving_cloud, ours(start_steps=2, embedding_steps=2, warm_steps=warm_steps, rounds=2))
    seen = []
    for event in training.train(state):
        if isinstance(event, events.Step):
            tau = state.snapshots.tau[state.snapshots.index]
            z = state.autoencoder.encode(tau, state.snapshots.x).detach()
            here = torch.cat([z.mean(0), z.var(0).mean().sqrt()[None]])
            seen.append(
                (event.stage, here, [torch.cat([f.centre, f.length[None]]) for f in (state.velocity, state.growth)])
            )
    unset = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    shaped = [here for stage, here, _ in seen if stage == "embedding"][-1]
    for stage, _, fields in seen:
        for field in fields:
            torch.testing.assert_close(field, shaped if stage in ("warm", "rounds") else unset)
    assert not torch.allclose(shaped, seen[-1][1])
    raw = State.initial(moving_cloud, ours(latent_scale="pca", warm_steps=2))
    training.scale_dynamics(raw)
    assert torch.equal(torch.cat([raw.velocity.centre, raw.velocity.length[None]]), unset)


def test_a_moving_frame_goes_through_the_cells_at_every_dynamics_block(moving_cloud):
    state = State.initial(moving_cloud, ours(frame="moving", start_steps=2, embedding_steps=2, warm_steps=2, rounds=2))
    seen = []
    for event in training.train(state):
        if isinstance(event, events.Step):
            tau = state.snapshots.tau[state.snapshots.index]
            z = state.autoencoder.encode(tau, state.snapshots.x).detach()
            means = torch.stack([z[state.snapshots.index == i].mean(0) for i in range(3)])
            seen.append((event.stage, means, state.velocity.course.value.clone(), state.growth.course.value.clone()))
    block = state.config.schedule.autoencoder_steps + state.config.schedule.dynamics_steps
    rounds = [entry for entry in seen if entry[0] == "rounds"]
    for k in range(2):
        for _, means, *frames in rounds[k * block + state.config.schedule.autoencoder_steps : (k + 1) * block]:
            for frame in frames:
                torch.testing.assert_close(frame, means)
    # while the autoencoder learns, the fields stay as they were
    _, means, frame, _ = rounds[block]
    assert torch.equal(frame, rounds[block - 1][2])
    assert not torch.allclose(frame, means)
    torch.testing.assert_close(state.growth.log_mass.value.squeeze(1).exp(), state.snapshots.mass)


# the parts before the rounds


def test_start_fits_the_encoder_to_the_components_and_the_decoder_to_invert_them(moving_cloud):
    state = State.initial(moving_cloud, ours(batch_size=1000))
    tau = state.snapshots.tau[moving_cloud.index].numpy()
    net, x = state.autoencoder, state.snapshots.x.numpy()
    joined = np.column_stack([tau - 1, (x - x.mean(0)) / x.std(0, ddof=1)]) * [
        state.config.networks.time_separation,
        *[1] * 5,
    ]
    values, axes = np.linalg.eigh(np.cov(joined.T))
    z = (joined - joined.mean(0)) @ axes[:, :-3:-1] / np.sqrt(values[-1])
    z *= np.sign(axes[np.abs(axes[:, :-3:-1]).argmax(0), [-1, -2]])
    encoded = net.encoder(torch.tensor(joined)).detach().numpy()
    decoded = net.decoder(torch.tensor(z)).detach().numpy()
    found = shaping.start_step(state, 0)
    assert found["encoder"].item() == pytest.approx(((encoded - z) ** 2).mean() / z.var(ddof=1), rel=1e-5)
    assert found["decoder"].item() == pytest.approx(((decoded - joined) ** 2).mean(), rel=1e-5)
    assert found["total"].item() == pytest.approx((found["encoder"] + found["decoder"]).item())


def test_shaping_weighs_steps_and_separation_by_their_formulas(moving_cloud):
    uneven = replace(moving_cloud, even=False)
    state = State.initial(uneven, ours(time_separation=1.5))
    batch = state.draw(state.step, 32)
    z = [part.detach().numpy() for part in batch.encode(state.autoencoder)]
    pairs = state.partners.draw(16, state.generator(state.step, PAIRS))
    a, b = (np.stack([state.encode(cells).detach().numpy() for cells in side]) for side in pairs)
    speed = (b - a) / np.array([2 / 3, 4 / 3])[:, None, None]
    stray = speed - (b[-1].mean(0) - a[0].mean(0)) / 2
    steps = (stray**2).sum(-1).mean() / np.concatenate([a, b]).reshape(-1, 2).var(0, ddof=1).sum()
    along = z[-1].mean(0) - z[0].mean(0)
    place = [part @ along / np.linalg.norm(along) for part in z]
    ends = [(np.sort(part)[:3].mean(), np.sort(part)[-3:].mean()) for part in place]
    sigma = [np.sqrt((p.var(ddof=1) + q.var(ddof=1)) / 2) for p, q in pairwise(place)]
    s = [(later[0] - here[1]) / width + 3.51 for (here, later), width in zip(pairwise(ends), sigma, strict=True)]
    apart = np.mean([max(0, 1 - part / (TOUCHING * 1.5)) ** 2 for part in s])
    assert apart > 0
    found = {name: value.item() for name, value in shaping.embedding_step(state, 0).items()}
    assert (found["steps"], found["separation"]) == pytest.approx((steps, apart))
    kept = 2 * found["ae"] + 11 * found["neighbours"] + 19 * found["between"]
    assert found["total"] == pytest.approx(kept + 13 * steps + 17 * apart)


def test_between_time_points_the_decoder_returns_the_interpolated_cell(moving_cloud):
    """Mean squared error at (1−u) z_a + u z_b against (1−u) (t_a, x_a) + u (t_b, x_b), in the autoencoder's units."""
    uneven = replace(moving_cloud, even=False)  # the networks' times are 0, 2/3, 2
    state = State.initial(uneven, ours(time_separation=1.5))
    s, net, key = state.snapshots, state.autoencoder, 3
    known = (torch.cat(side).tolist() for side in (state.partners.sources, state.partners.targets))
    drawn = list(zip(*(side.flatten().tolist() for side in state.draw_pairs(key)), strict=True))
    assert set(drawn) <= set(zip(*known, strict=True))
    assert all(s.index[j] == s.index[i] + 1 for i, j in drawn)
    u = torch.rand(len(drawn), 1, generator=state.generator(key, PLACES)).double().numpy().ravel()
    assert (u.min(), u.max(), u.mean()) == (
        pytest.approx(0, abs=0.1),
        pytest.approx(1, abs=0.1),
        pytest.approx(0.5, abs=0.1),
    )
    x, tau = s.x.numpy(), s.tau[s.index].numpy()
    z = net.encode(torch.tensor(tau), s.x).detach().numpy()
    squares = []
    for (i, j), share in zip(drawn, u, strict=True):
        mixed = lambda values: (1 - share) * values[i] + share * values[j]  # noqa: B023, E731
        features = (mixed(x) - x.mean(0)) / x.std(0, ddof=1)
        back = net.decoder(torch.tensor(mixed(z))).detach().numpy()
        squares.append((back - np.concatenate([[(mixed(tau) - 1) * 1.5], features])) ** 2)
    coupled = shaping.company_of(state, state.draw(key, 8)).coupled
    found = shaping.reconstruction_between(state, coupled, coupled.encode(state))
    assert found.item() == pytest.approx(np.mean(squares), rel=1e-5)


def test_only_what_weighs_something_is_computed(moving_cloud):
    for off, left in (("between", {"ae", "neighbours"}), ("neighbours", {"ae", "between"})):
        state = State.initial(moving_cloud, ours(**{f"lambda_{off}": 0}))
        batch = state.draw(0, 20)
        found = shaping.embedding_losses(
            state, batch, batch.encode(state.autoencoder), shaping.company_of(state, batch)
        )
        assert found.keys() == left
        assert ("partners" in vars(state)) == ("between" in left)
    state = State.initial(moving_cloud, ours(lambda_between=0, lambda_neighbours=0))
    assert shaping.company_of(state, state.draw(0, 20)) is None


@pytest.mark.parametrize("term", ["steps", "separation"])
def test_shaping_goes_down_each_of_its_terms(moving_cloud, term):
    others = dict.fromkeys(("ae", "neighbours", "between", "steps", "separation"), 0)
    others = {f"lambda_{name}": weight for name, weight in others.items()}
    config = ours(**{**others, f"lambda_{term}": 1, "time_separation": 3, "batch_size": 90})
    state, values = State.initial(moving_cloud, config), []
    for _ in range(30):
        values.append(shaping.embedding_step(state, 0)[term].item())
    assert values[-1] < 0.7 * values[0]


@pytest.fixture
def marching(monkeypatch) -> tuple[Snapshots, torch.Tensor]:
    """A cloud in the plane that is shifted as it stands, and its two shifts; the embedding is the plane itself."""
    p = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 10
    shifts = torch.tensor([[0.3, 0.1], [-0.2, 0.4]], dtype=torch.float64)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    x = torch.cat([p, (p + shifts[0])[order], (p + shifts.sum(0)).flip(0)])
    monkeypatch.setattr(Batch, "encode", lambda batch, net: batch.x)
    return Snapshots(
        x=x,
        index=torch.arange(3).repeat_interleave(30),
        times=torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64),
        mass=torch.tensor([1.0, 1.5, 0.5], dtype=torch.float64),
        labels=("0", "1", "3"),
        even=False,
    ), shifts


def test_warm_start_regresses_on_the_steps_of_the_coupling(marching):
    """Cells go straight to their partners at an even pace, and their mass grows evenly to the ratio observed."""
    snapshots, shifts = marching
    state, asked = State.initial(snapshots, ours()), []
    nothing = torch.zeros((), dtype=torch.float64, requires_grad=True)
    gaps = torch.tensor([2 / 3, 4 / 3], dtype=torch.float64)
    speeds, rates = shifts / gaps[:, None], torch.tensor([1.5, 1 / 3], dtype=torch.float64).log() / gaps

    def field(truth):
        def at(t, z):
            asked.append((t, z))
            return truth[(t > 2 / 3).long()] + nothing

        return at

    state.velocity, state.growth = field(speeds), field(rates)
    found = lineages.warm_step(state, 0)
    assert (found["velocity"].item(), found["growth"].item()) == pytest.approx((0, 0), abs=1e-10)
    (t, z), (t_growth, z_growth) = asked[:2]
    assert torch.equal(t, t_growth)
    assert torch.equal(z, z_growth)
    later = (t > 2 / 3).long()
    assert later.tolist() == [0] * 30 + [1] * 30
    for i, start, gap in ((0, 0, 2 / 3), (1, 2 / 3, 4 / 3)):
        u = (t[later == i] - start) / gap
        assert 0 <= u.min() <= u.max() <= 1
        assert (u.mean().item(), u.std().item()) == pytest.approx((0.5, 12**-0.5), abs=0.1)
        origin = z[later == i] - u[:, None] * shifts[i]
        cells = snapshots.x[snapshots.index == i]
        assert torch.cdist(origin, cells).min(1).values.max() < 1e-6

    # in units of the true speeds and of one: without fields the losses are 1 and the mean square of the rates
    state.velocity, state.growth = field(speeds * 0), field(rates * 0)
    found = lineages.warm_step(state, 0)
    assert (found["velocity"].item(), found["growth"].item()) == pytest.approx((1, rates.square().mean().item()))
    assert found["total"].item() == pytest.approx(1 + rates.square().mean().item())


# who becomes whom


def pairs_by_hand(state: State, bridges: lineages.Bridges) -> tuple[float, float]:
    """L_Lin's two parts, pair by pair, for the fields of :func:`slanting_fields`."""
    s = state.snapshots
    z = state.autoencoder.encode(s.tau[s.index], s.x).detach().numpy()
    ratio = {int(a): float(g) for a, g in zip(bridges.before, bridges.log_growth, strict=True)}
    strays, misses, weights, ways = [], [], [], []
    for a, b, u in zip(*(part.tolist() for part in (bridges.before, bridges.after, bridges.u)), strict=True):
        i = int(s.index[a])
        assert s.index[b] == i + 1
        start, end = s.tau[i].item(), s.tau[i + 1].item()
        t, place = (1 - u) * start + u * end, (1 - u) * z[a] + u * z[b]
        ways.append((i, z[b] - z[a]))
        v, g = U.numpy() + 0.3 * place + 0.2 * t, G + 0.2 * place[0] - 0.1 * t
        strays.append((((end - start) * v - ways[-1][1]) ** 2).sum())
        misses.append((((end - start) * g - ratio[a] - math.log(float(s.mass[i + 1] / s.mass[i]))) / 0.3) ** 2)
        weights.append(math.exp(u * ratio[a]))
    w = np.array(weights) / np.mean(weights)
    of = [np.array([way for j, way in ways if j == i]) for i in range(2)]
    variance = np.mean([((part - part.mean(0)) ** 2).sum(1).mean() for part in of])
    size = np.mean([(part**2).sum(1).mean() for part in of])
    return (w * strays).mean() / (variance + 1e-3 * size), (w * misses).mean()


def slanting_fields(state: State) -> None:
    """v and g that depend on where and when they are asked."""
    state.velocity = lambda t, z: U + 0.3 * z + 0.2 * t[:, None]
    state.growth = lambda t, z: G + 0.2 * z[:, 0] - 0.1 * t


def test_lineage_term_by_its_formula(moving_cloud):
    uneven = replace(moving_cloud, even=False)  # the networks' times are 0, 2/3, 2
    state = State.initial(uneven, ours(lambda_lineages=23))
    slanting_fields(state)
    bridges = lineages.bridges_for(state, 3)
    assert len(bridges.u) == 2 * (state.config.schedule.batch_size // 2)
    assert bridges.log_growth.std() > 0.05
    found = bridges.losses(state, bridges.ends(state))
    expected = pairs_by_hand(state, bridges)
    assert (found["velocity"].item(), found["growth"].item()) == pytest.approx(expected, rel=1e-6)
    assert bridges.total(state, bridges.ends(state))["lineages"].item() == pytest.approx(sum(expected), rel=1e-6)


def test_places_on_bridges_are_spread_evenly_and_differ_from_step_to_step(moving_cloud):
    state = State.initial(moving_cloud, ours(lambda_lineages=1))
    first, again, next_ = (lineages.Bridges.of(state, key, 4000) for key in (3, 3, 4))
    assert torch.equal(first.u, again.u)
    assert torch.equal(first.before, again.before)
    assert not torch.equal(first.u, next_.u)
    assert not torch.equal(first.before, next_.before)
    assert 0 <= first.u.min() < 0.01
    assert 0.99 < first.u.max() < 1
    assert first.u.mean().item() == pytest.approx(1 / 2, abs=0.02)
    assert first.u.var().item() == pytest.approx(1 / 12, abs=0.005)
    starts = state.snapshots.tau[state.snapshots.index[first.before]]
    torch.testing.assert_close(first.t, starts + first.u * first.gap)


def test_without_growth_nothing_is_asked_of_it(moving_cloud):
    state = State.initial(moving_cloud, ours(lambda_lineages=1, growth=False))
    bridges = lineages.bridges_for(state, 0)
    assert not bridges.log_growth.any()
    assert list(bridges.losses(state, bridges.ends(state))) == ["velocity"]


def test_warm_start_goes_down_both_parts_of_the_lineage_term(moving_cloud):
    state = State.initial(moving_cloud, ours(lambda_lineages=1))
    bridges = lineages.Bridges.of(state, state.step, state.config.schedule.batch_size)
    ends = bridges.ends(state)
    for net in (state.velocity.net[0], state.growth.net[0]):
        pull = slope(lambda: sum(part.item() for part in bridges.losses(state, ends).values()), net.weight)
        kept = [p.detach().clone() for field in (state.velocity, state.growth) for p in field.parameters()]
        lineages.warm_step(state, 0)
        assert net.weight.grad.view(-1)[0].item() == pytest.approx(pull, rel=1e-3, abs=1e-6)
        with torch.no_grad():
            for p, value in zip([*state.velocity.parameters(), *state.growth.parameters()], kept, strict=True):
                p.copy_(value)
    assert all(p.grad is None for p in state.autoencoder.parameters())


@pytest.mark.parametrize("block", ["autoencoder_step", "dynamics_step"])
def test_both_blocks_go_down_the_lineage_term(moving_cloud, block):
    state = State.initial(moving_cloud, ours(lambda_lineages=23))
    batch = state.draw(0, 20)
    net = state.autoencoder.encoder[0] if block == "autoencoder_step" else state.velocity.net[0]
    without = State.initial(moving_cloud, ours())
    bridges = lineages.bridges_for(state, batch.key)
    pull = slope(lambda: 23 * bridges.total(state, bridges.ends(state))["lineages"].item(), net.weight)
    assert "lineages" in getattr(training, block)(state, [batch])
    assert "lineages" not in getattr(training, block)(without, [without.draw(0, 20)])
    other = without.autoencoder.encoder[0] if block == "autoencoder_step" else without.velocity.net[0]
    gained = net.weight.grad.view(-1)[0].item() - other.weight.grad.view(-1)[0].item()
    assert gained == pytest.approx(pull, rel=1e-3, abs=1e-6)


def test_fields_that_are_true_cost_nothing(marching):
    """A cloud that is shifted as it stands and grows alike: v the shift's speed, g the rate observed."""
    snapshots, shifts = marching
    state = State.initial(snapshots, ours(lambda_lineages=1, input_scaling="none"))
    state.encode = lambda cells: snapshots.x[cells]
    gaps = torch.tensor([2 / 3, 4 / 3], dtype=torch.float64)
    speeds, rates = shifts / gaps[:, None], torch.tensor([1.5, 1 / 3], dtype=torch.float64).log() / gaps
    state.velocity = lambda t, z: speeds[(t > 2 / 3).long()]
    state.growth = lambda t, z: rates[(t > 2 / 3).long()]
    state.__dict__["partners"] = state.partners.of(
        [snapshots.x[snapshots.index == i] for i in range(3)], [snapshots.cells(i) for i in range(3)], growing=False
    )
    bridges = lineages.Bridges.of(state, 0, 50)
    found = bridges.losses(state, bridges.ends(state))
    assert (found["velocity"].item(), found["growth"].item()) == pytest.approx((0, 0), abs=1e-9)
