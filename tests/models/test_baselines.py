"""The rivals of the LMN: what each computes, and that a model of any of them is kept as one of the LMN is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models import artifact
from models.baselines.k_means import NearestCluster
from models.baselines.methods import GRADIENT, METHODS
from models.baselines.pca import index_covariance
from models.baselines.windows import Windows, whole_windows
from models.contract import ModelError
from models.fit import Shape
from models.manifest import KINDS
from models.network import residuals
from models.preprocess import Segment
from models.train import Options, Training, train
from tests.builders import RIVALS, names, need, process

SHAPE = Shape(8, 4, 0.95)
methods = pytest.mark.parametrize("method", RIVALS)


def trained(method: str, holes: float = 0.0) -> Training:
    if method in METHODS:
        need(method)
    x = process(0)
    x[np.random.default_rng(1).random(x.shape) < holes] = np.nan
    return train([Segment("machine", x)], names(4), 1_000_000, Options(SHAPE, method=method, name="rival"))


def kind_of(method: str) -> str:
    """What the artifact of a method is: the LMN by gradient is the LMN."""
    return "lmn" if method == GRADIENT else method


def saved(training: Training, folder: Path) -> artifact.LoadedModel:
    artifact.save(training.manifest, training.detector, training.drift, folder, training.horizons)
    return artifact.load(folder)


@methods
def test_an_artifact_scores_as_the_model_that_it_was_saved_from(method: str, tmp_path: Path) -> None:
    training, x = trained(method, holes=0.02), process(3, 200)
    x[50:60, 1] = np.nan
    x[80] = np.nan
    loaded = saved(training, tmp_path)
    assert loaded.manifest.kind == kind_of(method)
    score = training.detector.run(x).score
    assert np.isfinite(np.delete(score, 80)[training.detector.warmup :]).all()
    np.testing.assert_array_equal(loaded.detector.run(x).score, score)


@methods
def test_machines_side_by_side_score_as_each_alone(method: str) -> None:
    detector, x = trained(method).detector, np.stack([process(seed, 40) for seed in range(5)])
    x[2, 10:14, 0] = np.nan
    state, together = detector.init_state(5), []
    for tick in range(40):
        state, ticks = detector.step(state, x[:, tick])
        together.append(ticks.score)
    for machine, alone in enumerate(x):
        np.testing.assert_array_equal(np.array(together)[:, machine], detector.run(alone).score)


@methods
def test_after_a_gap_scores_are_numbers_and_after_a_reset_as_from_the_start(method: str) -> None:
    detector, x = trained(method).detector, process(3, 60)
    late = np.zeros(60, np.int64)
    late[30] = 3
    _, ticks = detector.advance(detector.init_state(1), x, [1] * 60, skipped=late)
    assert np.isfinite(ticks.score[detector.warmup :]).all()
    again = detector.run(np.concatenate([x, x]), reset=np.arange(120) == 60)
    np.testing.assert_array_equal(again.score[60:], again.score[:60])


@methods
def test_weights_of_another_kind_are_refused(method: str, tmp_path: Path) -> None:
    training = trained(method)
    for kind in {*KINDS} - {kind_of(method)}:
        other = msgspec.structs.replace(training.manifest, kind=kind)
        with pytest.raises(ModelError, match=r"tensor|memory"):
            artifact.save(other, training.detector, training.drift, tmp_path)


@pytest.mark.parametrize("method", ["dynamic-pca", "k-means", "lstm"])
def test_weights_of_the_wrong_shape_are_refused(method: str, tmp_path: Path) -> None:
    training = trained(method)
    name, weights = next(iter(training.detector.network.weights().items()))  # type: ignore[union-attr]
    short = dataclasses.replace(training.detector.network, **{name: weights[:, :-1]})  # type: ignore[arg-type]
    detector = dataclasses.replace(training.detector, network=short)
    with pytest.raises(ModelError, match=f"tensor '{name}' has shape"):
        artifact.save(training.manifest, detector, training.drift, tmp_path)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ModelError, match="method is 'lstn'; this program knows 'lmn', 'pca'"):
        trained("lstn")


def test_windows_of_a_run_are_those_of_its_steps() -> None:
    windows, z = Windows(2, 3), np.arange(20, dtype=np.float32).reshape(10, 2)
    memory, looped = np.zeros((1, 6), np.float32), []
    for row in z:
        memory, _ = windows.step(memory, row[None])
        looped.append(memory[0])
    np.testing.assert_array_equal(windows.run(z[4:], looped[3]), looped[4:])
    np.testing.assert_array_equal(whole_windows([z], None, 3), looped[2:])


def test_the_index_of_pca_is_t2_and_spe_over_their_limits() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5000, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(5000, 5))
    index = np.linalg.inv(index_covariance(z.T @ z, np.full((5, 5), 5000.0)))
    values, vectors = np.linalg.eigh(z.T @ z / 5000)
    kept, rest = vectors[:, 3:], vectors[:, :3]
    t2, spe = ((z @ kept) ** 2 / values[3:]).sum(1), ((z @ rest) ** 2).sum(1)
    phi = np.einsum("ni,ij,nj->n", z, index, z)
    weights, left, *_ = np.linalg.lstsq(np.stack([t2, spe], 1), phi, rcond=None)
    assert left.sum() < 1e-12 * (phi**2).sum()
    over_limits = weights * [9.2103, np.quantile(spe, 0.99)]
    assert over_limits[0] == pytest.approx(over_limits[1], rel=0.1)
    assert phi.mean() == pytest.approx(5)


def test_the_nearest_cluster_is_that_at_the_least_distance() -> None:
    rng = np.random.default_rng(0)
    network, z = NearestCluster(2, 3, rng.normal(size=(7, 6)).astype(np.float32)), rng.normal(size=(50, 2))
    windows = whole_windows([z], None, 3)
    distance = ((windows[:, None] - network.clusters) ** 2).sum(2)
    np.testing.assert_allclose(residuals(network, z)[2:], z[2:] - network.clusters[distance.argmin(1), :2], atol=1e-6)


@pytest.mark.parametrize(("method", "shape"), [("k-means", Shape(8, 513)), ("lstm", Shape(1025, 4))])
def test_a_memory_that_could_not_be_served_is_refused_before_training(method: str, shape: Shape) -> None:
    with pytest.raises(ModelError, match=r"the memory would have 205[02] values; expected at most 2048"):
        METHODS[method].fit([np.zeros((600, 4))], None, shape, 0)
