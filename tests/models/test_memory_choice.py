from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from models.calibrate import CrossFit
from models.fit import ReadoutMoments, Shape
from models.laes import Block, LinearAutoencoder
from models.manifest import identify
from models.memory_choice import Candidate, Choices, Stretch, choices_of, choose, preferred, readout_moments
from models.preprocess import Segment
from models.train import Options, train
from tests.builders import SMALL, names, process, trained

SMALLER = Choices((4, 8, 12), (3, 6), (0.9, 0.95))


def standard(rows: int, seed: int = 0, sensors: int = 4) -> np.ndarray:
    x = process(seed, rows, sensors)
    return (x - x.mean(0)) / x.std(0)


def cross_fit(runs: list[np.ndarray], choices: Choices, blocks: int = 5) -> CrossFit:
    owners = ["machine"] * len(runs)
    return CrossFit.prepare(runs, None, owners, blocks, choices.least, lags=choices.lags)


def chosen(candidates: tuple[Candidate, ...]) -> Shape:
    return next(c.shape for c in candidates if c.chosen)


def test_moments_from_lag_statistics_are_those_of_the_rows() -> None:
    reach, runs = 6, [standard(60), standard(4, 1), standard(25, 2)]
    memory = LinearAutoencoder(5, 4, 0.9).fit(runs)
    found = readout_moments(memory, [Stretch(Block.of(z, reach + 1), 3) for z in runs])
    rows = ReadoutMoments.empty(5, 4)
    for z in runs:
        memories = np.zeros_like(z @ memory.A_.T)
        for t in range(len(z)):  # of the last `reach` inputs
            for k in range(min(reach, t + 1)):
                memories[t] += np.linalg.matrix_power(memory.B_, k) @ memory.A_ @ z[t - k]
        rows.add(memories[2:-1], z[3:], None)
    np.testing.assert_allclose(found.products, rows.products, atol=1e-9)
    np.testing.assert_allclose(found.targets, rows.targets, atol=1e-9)
    np.testing.assert_allclose(found.squares, rows.squares, atol=1e-9)
    np.testing.assert_array_equal(found.rows, rows.rows)
    readout = rows.solve()
    residual = np.vstack([z[3:] - predicted(memory, z, reach, readout)[2:-1] for z in runs])
    assert found.error(readout) == pytest.approx((residual**2).mean())


def predicted(memory: LinearAutoencoder, z: np.ndarray, reach: int, readout: np.ndarray) -> np.ndarray:
    padded = np.vstack([np.zeros((reach - 1, z.shape[1])), z])
    last = [memory.encode(padded[t : t + reach])[-1] for t in range(len(z))]
    return np.array(last) @ readout[:-1] + readout[-1]


def test_the_error_of_a_candidate_is_that_of_cross_fitting_on_the_rows() -> None:
    runs = [standard(900), standard(700, 1)]
    for candidate in choose(cross_fit(runs, SMALLER), SMALLER):
        held_out = CrossFit.prepare(runs, None, ["machine"] * 2, 5, candidate.shape).held_out()
        rows = [
            np.mean(np.concatenate([h.residual[10 if h.first == 0 else 0 :] for h in part]) ** 2) for part in held_out
        ]
        assert candidate.error == pytest.approx(np.mean(rows), rel=0.01)


def test_the_smallest_within_a_standard_error_of_the_best_is_preferred() -> None:
    blocks = np.array([1.0, 5.0, 2.0, 9.0, 3.0])
    better, noise = np.array([0.3, 0.31, 0.29, 0.3, 0.3]), np.array([0.2, -0.2, 0.1, -0.12, 0.03])
    assert preferred(np.array([blocks, blocks - better, blocks - better - noise])) == 1
    assert preferred(np.array([blocks, blocks - noise])) == 0
    assert preferred(np.array([blocks, blocks - better, blocks - 2 * better])) == 2


def test_a_memory_that_has_to_look_further_back_is_chosen_to() -> None:
    noise = np.random.default_rng(3).normal(size=(3000, 2))
    delayed = noise.copy()
    delayed[15:, 1] = noise[:-15, 0] + 0.1 * noise[15:, 1]
    runs, choices = [delayed / delayed.std(0)], Choices((40,), (10, 20), (0.95,))
    assert chosen(choose(cross_fit(runs, choices), choices)).window == 20
    runs = [standard(3000)]
    assert chosen(choose(cross_fit(runs, choices), choices)) == choices.least


def test_training_with_choices_is_training_with_what_they_come_to() -> None:
    x = process(3, 500)
    x[np.random.default_rng(4).random(x.shape) < 0.05] = np.nan
    parts = [Segment("a", x[:300]), Segment("b", x[300:])]
    auto = train(parts, names(4), 1_000_000, Options(choices=SMALLER))
    fixed = train(parts, names(4), 1_000_000, Options(shape=chosen(auto.candidates)))
    assert len(auto.candidates) >= 5
    fresh = process(5, 200)
    np.testing.assert_array_equal(auto.detector.run(fresh).score, fixed.detector.run(fresh).score)
    assert auto.manifest.memory_id == fixed.manifest.memory_id
    assert (auto.manifest.L, auto.manifest.g) == (chosen(auto.candidates).window, chosen(auto.candidates).discount)


def test_the_curve_is_in_the_manifest_and_one_without_it_keeps_its_id() -> None:
    auto = train([Segment("a", process(3, 400))], names(4), 1_000_000, Options(choices=SMALLER)).manifest
    kept = auto.fit.memory_candidates
    assert [c.chosen for c in kept].count(True) == 1
    assert [(c.p, c.L, c.g) for c in kept if c.chosen] == [(auto.p, auto.L, auto.g)]
    assert [c.p for c in kept] == sorted(c.p for c in kept)
    assert min(c.standard_error for c in kept) == 0
    given = trained(shape=SMALL).manifest
    assert b"memory_candidates" not in msgspec.json.encode(given)
    assert identify(given) != identify(replaced(given, auto))


def replaced(manifest, other):  # type: ignore[no-untyped-def]
    fit = msgspec.structs.replace(manifest.fit, memory_candidates=other.fit.memory_candidates)
    return msgspec.structs.replace(manifest, fit=fit)


def test_with_too_few_rows_to_choose_by_the_least_is_taken() -> None:
    training = train([Segment("a", process(3, 101))], names(4), 1_000_000, Options(choices=Choices(windows=(10, 60))))
    assert {c.shape.window for c in training.candidates} == {10}
    scraps = [standard(15, seed) for seed in range(12)]
    assert choose(cross_fit(scraps, Choices()), Choices()) == ()


def test_few_sensors_make_no_memory_wider_than_its_window() -> None:
    candidates = choose(cross_fit([standard(500, sensors=2)], Choices()), Choices())
    assert [c.shape.memory_size for c in candidates] == [20] * 3


def test_wide_windows_of_many_sensors_are_not_tried() -> None:
    assert Choices().within(50).windows == (10, 20)
    assert Choices().within(51).windows == (10,)
    assert (Choices().lags, Choices().within(51).lags) == (31, 21)


def test_what_is_given_is_not_chosen() -> None:
    assert choices_of(True, None, None, None) == (Choices().least, Choices())
    assert choices_of(True, None, 7, None) == (Shape(32, 7, 0.9), replace(Choices(), windows=(7,)))
    assert choices_of(True, 5, 6, 0.7) == (Shape(5, 6, 0.7), None)
    assert choices_of(False, None, 6, None) == (replace(Shape(), window=6), None)
