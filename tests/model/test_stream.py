"""The trained result: the data's time outside, the networks' inside; there and back; saved and loaded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellstream.errors import UserError
from cellstream.state import State
from cellstream.stream import CellStream
from cellstream.training import train


@pytest.fixture
def stream(moving_cloud, tiny_config) -> CellStream:
    state = State.initial(moving_cloud, tiny_config.with_settings(method="dopri5", rtol=1e-6, atol=1e-7))
    for _ in train(state):
        pass
    return state.result()


@pytest.fixture
def cells(moving_cloud) -> np.ndarray:
    return moving_cloud.x.numpy()[:10]


def test_save_and_load_give_the_same_answers(stream, cells, tmp_path):
    stream.save(tmp_path / "model.safetensors")
    again = CellStream.load(tmp_path / "model.safetensors")
    z = stream.encode(cells, 0)
    np.testing.assert_array_equal(again.encode(cells, 0), z)
    np.testing.assert_array_equal(again.decode(z), stream.decode(z))
    np.testing.assert_array_equal(again.velocity(z, 2.0), stream.velocity(z, 2.0))
    np.testing.assert_array_equal(again.growth(z, 2.0), stream.growth(z, 2.0))
    assert (again.clock, again.config, again.features) == (stream.clock, stream.config, stream.features)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_model_gets_a_sentence(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="Expected a CellStream model"):
        CellStream.load(tmp_path / "model.safetensors")


def test_time_is_the_datas_own(stream):
    """Time points 0, 1, 3 are 0, 1, 2 to the networks; half-way between stays half-way."""
    np.testing.assert_allclose(stream.clock.to_tau([0, 1, 2, 3]), [0, 1, 1.5, 2])


def test_a_moving_frame_is_followed_through_time_points_that_nobody_asked_for(moving_cloud, tiny_config):
    """Networks that say nothing: cells move with the means and weigh with the masses, asked at time points or not."""
    config = tiny_config.with_settings(frame="moving")
    state = State.initial(moving_cloud, config)
    means = torch.tensor([[0.0, 0.0], [2.0, 1.0], [1.0, 7.0]])
    with torch.no_grad():
        for field in (state.velocity, state.growth):
            for part in field.net.parameters():
                part.zero_()
            field.follow([m.expand(2, 2) for m in means], moving_cloud.tau, moving_cloud.mass)
    stream, z = state.result(), np.array([[5.0, 5.0]], np.float32)
    tau = lambda t: np.interp(t, [0, 1, 3], [0, 1, 2])  # noqa: E731
    place = lambda t: np.stack([np.interp(tau(t), range(3), means[:, k]) for k in range(2)], -1)  # noqa: E731
    log_mass = lambda t: np.interp(tau(t), range(3), np.log([1, 1.5, 2.25]))  # noqa: E731
    for start, times in ((0, [3]), (0, [0, 2]), (0.5, [0.75, 2, 3]), (3, [0]), (3, [3, 2, 0.25])):
        flow = (stream.push if times[-1] > start else stream.pull)(z, start, times)
        t = np.array(times, float)
        np.testing.assert_array_equal(flow.times, t)
        np.testing.assert_allclose(flow.z[:, 0], z + place(t) - place(start), atol=1e-4)
        np.testing.assert_allclose(flow.log_w[:, 0], log_mass(t) - log_mass(start), atol=1e-4)


def test_real_times_change_the_unit_of_rates(moving_cloud, tiny_config):
    """The same weights under real times: rates are per day, and a day is 2/3 of the networks' unit."""
    even = State.initial(moving_cloud, tiny_config).result()
    real = State.initial(replace(moving_cloud, even=False), tiny_config).result()
    z = np.zeros((1, 2), np.float32)
    # at t = 0 both clocks stand at 0
    np.testing.assert_allclose(real.velocity(z, 0), even.velocity(z, 0) * 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(real.growth(z, 0), even.growth(z, 0) * 2 / 3, rtol=1e-6)
    assert (even.clock.rate_unit, real.clock.rate_unit) == ("time step", "d")


def test_pull_undoes_push(stream, cells):
    z = stream.encode(cells, 0)
    there = stream.push(z, 0, [1, 3])
    back = stream.pull(there.z[-1], 3, [0], there.log_w[-1])
    np.testing.assert_allclose(back.z[-1], z, atol=1e-4)
    np.testing.assert_allclose(back.log_w[-1], 0, atol=1e-4)


def test_push_goes_along_the_velocity(stream, cells):
    """Over a short time: z(t + h) − z(t) = h v(t, z)."""
    z = stream.encode(cells, 0)
    h = 1e-2
    moved = stream.push(z, 1.0, [1.0 + h]).z[-1] - z
    # between 1 and 3 the networks' time runs at half the data's
    np.testing.assert_allclose(moved, stream.velocity(z, 1.0) * h / 2, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_where_cells_go_does_not_depend_on_the_stops(moving_cloud, tiny_config, cells, method):
    """Nor on the coarse steps of training."""
    state = State.initial(moving_cloud, tiny_config.with_settings(method=method, steps_per_interval=1))
    for _ in train(state):
        pass
    stream = state.result()
    z = stream.encode(cells, 0)
    one, many = stream.push(z, 0, [3]), stream.push(z, 0, np.linspace(0, 3, 50))
    np.testing.assert_allclose(one.z[-1], many.z[-1], atol=1e-3)
    np.testing.assert_allclose(one.log_w[-1], many.log_w[-1], atol=1e-3)


@pytest.mark.parametrize("t", [-1.0, 3.1, float("nan")])
def test_beyond_the_data_nothing_is_known(stream, cells, t):
    with pytest.raises(UserError, match="Expected times from 0 to 3"):
        stream.velocity(stream.encode(cells, 0), t)


def test_dates_as_numbers_are_told_apart(moving_cloud, tiny_config, cells):
    """Half a day is half a day: there and back in the networks' time, and in the sentence."""
    days = torch.tensor([20231101.5, 20231102.0, 20231103.5], dtype=torch.float64)
    state = State.initial(replace(moving_cloud, times=days, even=False), tiny_config)
    clock = state.result().clock
    assert clock.times == tuple(days.tolist())
    np.testing.assert_allclose(clock.to_tau([20231101.5, 20231101.75, 20231102.0]), [0, 0.25, 0.5], rtol=1e-6)
    with pytest.raises(UserError, match=r"from 20231101.5 to 20231103.5, but got 20231104 to 20231104.25"):
        state.result().velocity(np.zeros((2, 2), np.float32), [20231104.0, 20231104.25])


def test_push_may_begin_between_time_points_and_at_its_start(stream, cells):
    z = stream.encode(cells, 0)
    flow = stream.push(z, 0.5, [0.5, 0.75, 3])
    assert flow.z.shape == (3, 10, 2)
    np.testing.assert_array_equal(flow.z[0], z)
    assert stream.push(z, 3.0, [3.0]).z.shape == (1, 10, 2)


@pytest.mark.parametrize(("verb", "times"), [("push", [2, 1]), ("push", [-1, 2]), ("pull", [1, 2]), ("pull", [3.5])])
def test_times_in_the_wrong_order_get_a_sentence(stream, cells, verb, times):
    with pytest.raises(UserError, match=r"Expected (in|de)creasing times"):
        getattr(stream, verb)(stream.encode(cells, 0), 1.0 if verb == "push" else 3.0, times)


def test_fields_are_pure(stream, cells):
    """The same question twice gives the same answer, and leaves the question as it was."""
    z = stream.encode(cells, 0)
    asked = z.copy()
    np.testing.assert_array_equal(stream.velocity(z, 1.0), stream.velocity(z, 1.0))
    np.testing.assert_array_equal(z, asked)


def test_a_result_does_not_follow_later_training(moving_cloud, tiny_config, cells):
    state = State.initial(moving_cloud, tiny_config)
    early = state.result()
    before = early.encode(cells, 0)
    for _ in train(state):
        pass
    np.testing.assert_array_equal(early.encode(cells, 0), before)
    name = "autoencoder.encoder.0.weight"
    assert not torch.equal(early.weights()[name], state.weights()[name])
