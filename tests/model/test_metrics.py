"""Metrics against slow, obvious truth, scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from cellstream import metrics


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 2)) * [3, 1]
    return z, rng.normal(size=(400, 2)), rng.integers(0, 3, 400)


def by_the_book(z, v, index, r):
    """VC and TC by the definitions, with an n × n matrix and a loop."""
    z = (z - z.min(0)) / (z.max(0) - z.min(0)).max()
    near = cdist(z, z) <= r
    cosine = (v @ v.T) / np.outer(np.linalg.norm(v, axis=1), np.linalg.norm(v, axis=1))
    same = index[:, None] == index[None]
    paper = [(cosine[i][near[i]].mean(), same[i][near[i]].mean()) for i in range(len(z))]
    np.fill_diagonal(near, False)
    strict = [(cosine[i][near[i]].mean(), same[i][near[i]].mean()) for i in range(len(z)) if near[i].any()]
    return np.mean(paper, 0), np.mean(strict, 0), 1 - len(strict) / len(z)


@pytest.mark.parametrize("r", [0.01, 0.05, 0.1])
def test_consistency_is_by_the_book(cells, r):
    z, v, index = cells
    found = metrics.consistency(z, v, index, r)
    paper, strict, lonely = by_the_book(z, v, index, r)
    assert (found.vc_paper, found.tc_paper) == pytest.approx(tuple(paper))
    assert (found.vc, found.tc) == pytest.approx(tuple(strict))
    assert found.lonely == pytest.approx(lonely)


def test_consistency_knows_no_scale(cells):
    z, v, index = cells
    one, other = metrics.consistency(z, v, index), metrics.consistency(z * 37 + 5, v * 0.01, index)
    assert one.vc == pytest.approx(other.vc)
    assert one.tc == pytest.approx(other.tc)


def test_constant_field_scores_one(cells):
    z, _, index = cells
    assert metrics.consistency(z, np.ones_like(z), index).vc == pytest.approx(1)


def test_lonely_cells_score_one_in_the_paper_form_only():
    z = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = metrics.consistency(z, np.eye(3, 2) + 1, np.array([0, 1, 2]))
    assert found.tc_paper == 1
    assert np.isnan(found.tc)
    assert found.lonely == 1


def test_sampling_balls_changes_little(cells):
    z, v, index = cells
    full, part = metrics.consistency(z, v, index), metrics.consistency(z, v, index, most=300)
    assert part.tc == pytest.approx(full.tc, abs=0.05)


def test_fewer_balls_are_looked_at_where_they_hold_too_many(cells, monkeypatch):
    z, v, index = cells
    full = metrics.consistency(z, v, index)
    balls = []
    ask = metrics.cKDTree.query_ball_point

    class Counting(metrics.cKDTree):
        def query_ball_point(self, *of, **how):
            found = ask(self, *of, **how)
            balls.extend([] if how.get("return_length") else map(len, found))
            return found

    monkeypatch.setattr(metrics, "cKDTree", Counting)
    assert metrics.consistency(z, v, index) == full
    all_pairs, balls[:] = sum(balls), []
    monkeypatch.setattr(metrics, "PAIRS", all_pairs // 4)
    part = metrics.consistency(z, v, index)
    assert 0 < sum(balls) <= all_pairs // 4
    assert part.tc == pytest.approx(full.tc, abs=0.05)
    assert part.vc == pytest.approx(full.vc, abs=0.05)


def test_trustworthiness_is_scikit_learns(cells):
    x = np.random.default_rng(1).normal(size=(400, 10))
    for z in (x[:, :2], cells[0]):
        assert metrics.trustworthiness(x, z, 15) == pytest.approx(trustworthiness(x, z, n_neighbors=15))


def test_trustworthiness_far_from_the_origin():
    x = np.random.default_rng(1).normal(size=(400, 5)).astype(np.float32)
    near = metrics.trustworthiness(x, x[:, :2])
    assert metrics.trustworthiness(x + np.float32(1000), x[:, :2]) == pytest.approx(near, abs=1e-3)


def test_trustworthiness_of_the_cells_themselves_is_one():
    x = np.random.default_rng(1).normal(size=(100, 2))
    assert metrics.trustworthiness(x, x) == pytest.approx(1)


def test_trustworthiness_bears_coinciding_points():
    x = np.random.default_rng(1).normal(size=(60, 4))
    assert 0 <= metrics.trustworthiness(x, np.zeros((60, 2))) <= 1


def test_w2_of_gaussians_is_near_its_closed_form():
    """W_2² between N(0, I) and N(m, 4 I) is |m|² + d (2 − 1)²."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1500, 2)), rng.normal(size=(1500, 2)) * 2 + [3, 0]
    assert metrics.w2(x, y) == pytest.approx(np.sqrt(9 + 2), rel=0.04)


def test_w2_heeds_weights():
    x, y = np.array([[0.0], [10.0]]), np.array([[0.0]])
    assert metrics.w2(x, y, np.array([0.75, 0.25])) == pytest.approx(5.0)


def test_w2_heeds_weights_where_it_takes_a_sample():
    """Half the points at 0 and half at 10, a quarter of the weight at 10, against a point at 0: √(0.25 · 100)."""
    x = np.repeat([[0.0], [10.0]], 3000, axis=0)
    weights = np.repeat([3.0, 1.0], 3000)
    assert metrics.w2(x, np.zeros((1, 1)), weights, most=4000) == pytest.approx(5, abs=0.25)
    assert metrics.w2(np.zeros((1, 1)), x, most=4000) == pytest.approx(50**0.5, abs=0.25)


def test_halves_share_no_point():
    """0, 1, 3 and 10 fall into {0, 1} and {3, 10}, W_2 = √45, or into one of the two other splits, W_2 = 5."""
    y = np.array([[0.0], [1.0], [3.0], [10.0]])
    found = {round(metrics.compared(y, {}, 2, splits=1, seed=seed)["floor"], 6) for seed in range(30)}
    assert found == {round(45**0.5, 6), 5.0}
    assert metrics.compared(y, {}, 2, splits=200)["floor"] == pytest.approx((45**0.5 + 2 * 5) / 3, abs=0.2)


@pytest.mark.parametrize("n", [200, 5000])
def test_what_is_of_the_observed_law_scores_as_the_noise_does(n):
    """Whatever its number of points, and with weights; and a shift by s in the plane adds about s² to W_2²."""
    rng = np.random.default_rng(0)
    observed, cloud = rng.normal(size=(800, 2)), rng.normal(size=(n, 2))
    twice = np.concatenate([cloud, cloud + [9, 0]]), np.repeat([1.0, 1e-12], n)
    clouds = dict(same=metrics.even(cloud), weighted=twice, shifted=metrics.even(cloud + [3, 4]))
    found = metrics.compared(observed, clouds, 200, splits=20)
    assert found["same"] == pytest.approx(found["floor"], rel=0.1)
    assert found["weighted"] == pytest.approx(found["floor"], rel=0.1)
    assert found["shifted"] == pytest.approx(np.hypot(5, found["floor"]), rel=0.05)


def test_where_there_are_no_two_samples_to_compare_there_is_no_number():
    one = metrics.even(np.zeros((5, 2)))
    assert all(np.isnan(value) for value in metrics.compared(np.zeros((3, 2)), dict(w2=one), 2).values())
    assert all(np.isnan(value) for value in metrics.compared(np.zeros((1, 2)), dict(w2=one), 0).values())


def test_direction_of_the_true_displacement_is_one():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(50, 2)) * 0.1
    z, index = np.concatenate([a, a + [5, 1]]), np.repeat([0, 1], 50)
    v = np.tile([5.0, 1.0], (100, 1))
    assert metrics.direction(z, v, index).learned == pytest.approx(1)
    assert metrics.direction(z, -v, index).learned == pytest.approx(-1)
    assert metrics.direction(z, -v, index).constant == pytest.approx(1)


def test_a_constant_field_does_no_better_than_the_angle_between_lineages_lets_it():
    """Halves that part by 120°: the best constant field goes between them, at 60° to both."""
    rng = np.random.default_rng(0)
    start = np.concatenate([rng.normal(size=(50, 2)) * 0.1, rng.normal(size=(50, 2)) * 0.1 + [0, 9]])
    way = np.repeat([[np.cos(np.pi / 3), -np.sin(np.pi / 3)], [np.cos(np.pi / 3), np.sin(np.pi / 3)]], 50, axis=0)
    z, index = np.concatenate([start, start + 4 * way]), np.repeat([0, 1], 100)
    found = metrics.direction(z, np.concatenate([way, way]), index)
    assert found.learned == pytest.approx(1)
    assert found.constant == pytest.approx(0.5)
    assert metrics.direction(z, np.tile([2.0, 0.0], (200, 1)), index).learned == pytest.approx(0.5)


def test_velocity_alignment_is_distance_correlation():
    rng = np.random.default_rng(0)
    v = rng.normal(size=(300, 2))
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    # 1 under rotation, shift and scale, and only there
    assert metrics.velocity_alignment(v, 3 * v @ turn + 7) == pytest.approx(1)
    assert metrics.velocity_alignment(v, rng.normal(size=(300, 2))) < 0.25
    assert metrics.velocity_alignment(v, np.ones_like(v)) == 0


def test_velocity_alignment_against_the_definition():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 3))

    def centred(p):
        d = np.array([[np.linalg.norm(a - b) for b in p] for a in p])
        return d - d.mean(0)[None] - d.mean(1)[:, None] + d.mean()

    a, b = centred(x), centred(y)
    expected = np.sqrt((a * b).mean() / np.sqrt((a**2).mean() * (b**2).mean()))
    assert metrics.velocity_alignment(x, y) == pytest.approx(expected)


def test_r2_of_the_mean_is_zero():
    x = np.random.default_rng(0).normal(size=(30, 4))
    assert metrics.r2(x, np.broadcast_to(x.mean(0), x.shape)) == pytest.approx(0)
    assert metrics.r2(x, x) == 1


@pytest.fixture
def lineages(cells):
    """Two lineages whose cells lie side by side, overlapping, and cells of none."""
    z, _, index = cells
    labels = np.where(z[:, 0] + np.random.default_rng(3).normal(0, 2, len(z)) > 0, "left", "right").astype(object)
    labels[index == 0] = np.resize(np.array(["not assigned", "Unknown", np.nan, None, ""], dtype=object), len(z))[
        index == 0
    ]
    return z, labels, index > 0


def test_label_accuracy_is_scikit_learns_leave_one_out(lineages):
    z, labels, known = lineages
    np.testing.assert_array_equal(metrics.labelled(labels), known)
    model = KNeighborsClassifier(15)
    expected = cross_val_score(model, z[known], labels[known].astype(str), cv=LeaveOneOut()).mean()
    assert 0.6 < expected < 0.9
    assert metrics.label_accuracy(z, labels) == pytest.approx(expected)


def test_label_accuracy_of_one_label_is_no_number(cells):
    assert np.isnan(metrics.label_accuracy(cells[0], ["a"] * 399 + ["unknown"]))
    assert np.isnan(metrics.label_accuracy(cells[0], [np.nan] * 400))


def test_arrivals_are_scikit_learns_votes_by_mass(lineages):
    z, labels, known = lineages
    rng = np.random.default_rng(4)
    arrived, mass = rng.normal(size=(70, 2)) * 2 + [1, 0], rng.uniform(0.1, 3, 70)
    told = KNeighborsClassifier(15).fit(z[known], labels[known].astype(str)).predict(arrived)
    found = metrics.arrivals(arrived, mass, z, labels)
    assert list(found) == ["left", "right"]
    for name, share in found.items():
        assert share["predicted"] == pytest.approx(mass[told == name].sum() / mass.sum())
        assert share["observed"] == pytest.approx((labels[known] == name).mean())
    assert metrics.arrivals(arrived, mass, z, [None] * len(z)) == {}


def test_resampling_keeps_weights_and_repeats_no_point_of_equal_weight():
    rng = np.random.default_rng(0)
    points = np.arange(10.0)[:, None]
    weights = rng.uniform(0.5, 2, 10)
    drawn = metrics.resampled(points, weights, 1000, rng)[:, 0].astype(int)
    expected = 1000 * weights / weights.sum()
    assert np.abs(np.bincount(drawn, minlength=10) - expected).max() < 1
    assert len(np.unique(metrics.resampled(points, np.full(10, 0.1), 9, rng))) == 9


def test_principal_axes_are_those_of_the_components():
    x = np.random.default_rng(0).normal(size=(50, 4)) * [5, 3, 1, 1]
    np.testing.assert_allclose((x - x.mean(0)) @ metrics.principal_axes(x), PCA(2).fit_transform(x), atol=1e-9)
