import numpy as np
import pytest

from models.calibrate import CrossFit
from models.contract import ModelError
from models.fit import Shape
from models.horizons import HORIZONS, LEVELS, HorizonErrors, horizon_errors
from tests.builders import process

SHAPE = Shape(6, 4, 1.0)


def standardised(seed: int, rows: int) -> np.ndarray:
    x = process(seed, rows, 3)
    return (x - x.mean(0)) / x.std(0)


def crossed(z: np.ndarray, seen: np.ndarray | None = None) -> CrossFit:
    return CrossFit.prepare([z], None if seen is None else [seen], ["a"], 5, SHAPE)


def made() -> HorizonErrors:
    widths = np.outer([1, 2, 4], [1, 2, 3, 4, 5]).astype(np.float32)
    return HorizonErrors(np.array(LEVELS, np.float32), np.stack([widths, 2 * widths], 2))


def test_the_closed_loop_is_the_model_fed_with_its_own_predictions() -> None:
    core = crossed(standardised(0, 400)).core()
    memory = core.memory.encode(standardised(1, 30))[-1]
    ahead = np.append(memory, 1.0)
    for _ in range(7):
        memory = core.memory.step(memory, memory @ core.readout[:-1] + core.readout[-1])
        ahead = ahead @ core.closed_loop()
    np.testing.assert_allclose(ahead, np.append(memory, 1.0), atol=1e-12)


def test_widths_are_quantiles_of_errors_that_a_loop_finds() -> None:
    z = standardised(2, 600)
    cross, horizon = crossed(z), 8
    blocks = []
    for block, (piece,) in enumerate(cross.pieces):
        core, errors = cross.core(block), []
        for target in range(max(piece.start, SHAPE.window + horizon), piece.stop):
            memory = core.memory.encode(z[: target - horizon + 1])[-1]
            for _ in range(horizon - 1):
                memory = core.memory.step(memory, memory @ core.readout[:-1] + core.readout[-1])
            errors.append(np.abs(z[target] - memory @ core.readout[:-1] - core.readout[-1]))
        blocks.append(np.array(errors))
    pooled = np.quantile(np.concatenate(blocks), 0.9, axis=0)
    found = horizon_errors(cross).half_widths(np.array([horizon]), 0.9)[0]
    np.testing.assert_allclose(found / pooled, (found / pooled).mean(), rtol=1e-4)  # one factor for all sensors
    assert 1 < (found / pooled).mean() < 1.2


@pytest.mark.parametrize("horizon", [1, 5, 64])
def test_intervals_cover_what_they_promise_on_rows_never_seen(horizon: int) -> None:
    shares = []
    for seed in range(4):
        x = process(seed, 3000, 3)
        z = (x - x[:1000].mean(0)) / x[:1000].std(0)
        cross = crossed(z[:1000])
        core, later = cross.core(), z[1000:]
        memories = np.column_stack([core.memory.encode(later), np.ones(len(later))])[20:-horizon]
        expected = memories @ np.linalg.matrix_power(core.closed_loop(), horizon - 1) @ core.readout
        width = horizon_errors(cross).half_widths(np.array([horizon]), 0.9)
        shares.append((np.abs(later[20 + horizon :] - expected) <= width).mean())
    assert 0.89 < np.mean(shares) < 0.95


def test_blocks_that_differ_widen_the_intervals_of_all_sensors() -> None:
    z = standardised(3, 1000)
    unlike = z * np.repeat([1.0, 0.5, 1.0, 2.0, 1.0], 200)[:, None]
    pooled = [np.quantile(np.abs(cross_z), 0.9) for cross_z in (z, unlike)]
    far = [horizon_errors(crossed(each)).half_widths(np.array([128]), 0.9).mean() for each in (z, unlike)]
    assert far[1] / pooled[1] > 1.3 * far[0] / pooled[0]


def test_a_short_recording_has_no_intervals_far_ahead() -> None:
    found = horizon_errors(crossed(standardised(4, 300)))
    assert found.ticks_max == 128  # three of its blocks of 60 rows have 128 before most of their rows
    widths = found.half_widths(np.array([1, 128, 129, 1000, 10**6]), 0.8)
    assert np.isfinite(widths[:2]).all()
    assert np.isnan(widths[2:]).all()


def test_a_sensor_that_was_hardly_measured_has_no_interval_and_the_others_have() -> None:
    z = standardised(5, 500)
    seen = np.ones(z.shape, bool)
    seen[3:, 1] = False
    widths = horizon_errors(crossed(z, seen)).half_widths(np.array([1, 4]), 0.9)
    assert np.isnan(widths[:, 1]).all()
    assert np.isfinite(widths[:, [0, 2]]).all()


def test_between_horizons_and_shares_a_width_lies_in_between() -> None:
    found = made()
    np.testing.assert_allclose(found.half_widths(np.array([1, 2, 3, 4]), 0.8)[:, 0], [2, 4, 4 + 4 * np.log2(1.5), 8])
    near = [found.half_widths(np.array([1]), share)[0, 0] for share in (0.8, 0.85, 0.9)]
    assert near[0] < near[1] < near[2]
    assert near[2] == pytest.approx(3)
    assert found.ticks_max == 4


def test_as_arrays_and_back_keeps_what_is_not_known() -> None:
    found = made()
    found.widths[2, :, 1] = np.nan
    back = HorizonErrors.from_arrays(found.as_arrays(), 2)
    np.testing.assert_array_equal(back.widths, found.widths)
    assert np.isfinite(found.as_arrays()["widths"]).all()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"levels": np.array([0.5, 0.9], np.float32)}, "widths of forecasts are"),
        ({"levels": np.array([0.5, 0.8, 0.9, 0.95, 1.0], np.float32)}, "no shares"),
        ({"levels": np.array([0.5, 0.9, 0.8, 0.95, 0.99], np.float32)}, "do not ascend"),
        ({"widths": np.ones((len(HORIZONS) + 1, 5, 2), np.float32)}, "widths of forecasts are"),
        ({"other": np.ones(1, np.float32)}, "errors of forecasts are"),
    ],
)
def test_arrays_of_something_else_are_refused(changed: dict[str, np.ndarray], complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        HorizonErrors.from_arrays(made().as_arrays() | changed, 2)
