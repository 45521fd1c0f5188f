import numpy as np
import pytest

from models.contract import DataError, Floats
from models.pump import AFFECTED, KINDS, NAMES, SENSORS, Fault, Kind
from models.simulate import simulate

START, END, TICKS = 2000, 3500, 4000
LATE = slice((START + END) // 2, END)
NOISE = np.array([sensor.noise for sensor in SENSORS])


def course(faults: list[Fault], seed: int = 3) -> Floats:
    return simulate(machines=1, ticks=TICKS, faults=faults, seed=seed).values[0]


def fault(kind: Kind, severity: float = 1.0, sensor: str = "discharge_pressure") -> Fault:
    return Fault(kind, 0, START, END, severity, "" if kind in AFFECTED else sensor)


def difference(kind: Kind, severity: float = 1.0, sensor: str = "discharge_pressure") -> Floats:
    return course([fault(kind, severity, sensor)]) - course([])


def late_mean(kind: Kind) -> dict[str, float]:
    return dict(zip(NAMES, difference(kind)[LATE].mean(axis=0), strict=True))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "frozen_sensor"])
def test_a_fault_moves_the_sensors_that_it_claims_by_a_clear_margin(kind: Kind) -> None:
    moved = np.abs(difference(kind)[LATE]).mean(axis=0) / NOISE
    for sensor in fault(kind).sensors:
        assert moved[NAMES.index(sensor)] > 5, sensor


@pytest.mark.parametrize("kind", KINDS)
def test_before_a_fault_nothing_differs(kind: Kind) -> None:
    np.testing.assert_array_equal(difference(kind)[:START], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_fault_only_the_temperatures_take_time_to_come_back(kind: Kind) -> None:
    slow = [column for column, name in enumerate(NAMES) if "temperature" in name and name != "ambient_temperature"]
    after = difference(kind)[END:]
    np.testing.assert_array_equal(np.delete(after, slow, axis=1), 0)
    assert np.abs(after[-1]).max() <= max(np.abs(after[0]).max(), 0.11)


@pytest.mark.parametrize("kind", ["sensor_drift", "frozen_sensor"])
@pytest.mark.parametrize("sensor", NAMES)
def test_a_fault_of_a_transmitter_moves_no_other_sensor(kind: Kind, sensor: str) -> None:
    moved = difference(kind, sensor=sensor).any(axis=0)
    assert [name for name, does in zip(NAMES, moved, strict=True) if does] == [sensor]


def test_a_blocked_valve_takes_flow_and_power_and_raises_pressure() -> None:
    moved = late_mean("blocked_valve")
    assert moved["flow"] < -10
    assert moved["discharge_pressure"] > 0.2
    assert moved["motor_current"] < -1
    assert moved["motor_temperature"] < -1


def test_a_leak_takes_measured_flow_and_pressure_and_costs_power() -> None:
    moved = late_mean("leak")
    assert moved["flow"] < -2
    assert moved["discharge_pressure"] < -0.1
    assert moved["motor_current"] > 0.3


def test_cavitation_lowers_suction_and_flow_and_makes_them_unsteady() -> None:
    moved, change = late_mean("cavitation"), difference("cavitation")[LATE]
    assert moved["suction_pressure"] < -0.1
    assert moved["flow"] < -2
    assert moved["vibration_de"] > 1
    assert np.diff(change[:, NAMES.index("flow")]).std() > 0.3


def test_a_worn_bearing_grows_hotter_and_shakes_more_until_it_is_repaired() -> None:
    change = difference("bearing_wear")
    hotter = change[:, NAMES.index("bearing_temperature_de")]
    assert hotter[END - 1] > hotter[(START + END) // 2] > hotter[START + 100] > 0
    assert change[LATE, NAMES.index("vibration_de")].mean() > 3 * change[LATE, NAMES.index("vibration_nde")].mean()


@pytest.mark.parametrize("column", range(len(SENSORS)), ids=NAMES)
def test_a_drifting_sensor_moves_by_its_drift(column: int) -> None:
    drifted = difference("sensor_drift", sensor=NAMES[column])[END - 1, column]
    assert drifted == pytest.approx(SENSORS[column].drift, abs=2 * 10.0 ** -SENSORS[column].decimals)
    assert SENSORS[column].drift > 10 * SENSORS[column].noise


@pytest.mark.parametrize("column", range(len(SENSORS)), ids=NAMES)
def test_a_frozen_sensor_stands_still_where_the_live_one_moves_at_every_tick(column: int) -> None:
    """In steady operation it may stand near the live value: what gives it away is that it does not move."""
    frozen, live = course([fault("frozen_sensor", sensor=NAMES[column])])[:, column], course([])[:, column]
    assert set(frozen[START:END]) == {live[START - 1]}
    assert np.diff(live[START:END]).std() > 0.8 * NOISE[column]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "frozen_sensor"])
def test_a_mild_fault_moves_less_than_a_severe_one(kind: Kind) -> None:
    mild, severe = (np.abs(difference(kind, severity)[LATE]).mean(axis=0) / NOISE for severity in (0.3, 1.0))
    for sensor in fault(kind).sensors:
        column = NAMES.index(sensor)
        assert 0 < mild[column] < severe[column]


def test_head_flow_and_speed_keep_the_affinity_laws() -> None:
    """Head over speed squared is a falling straight line of (flow over speed) squared, at every operating point."""
    x = dict(zip(NAMES, simulate(machines=1, faults=()).values[0].T, strict=True))
    speed = x["speed"] / 1475
    head = (x["discharge_pressure"] - x["suction_pressure"]) / 0.0979
    slope, head_0 = np.polyfit((x["flow"] / speed) ** 2, head / speed**2, 1)
    assert slope == pytest.approx(-0.00104, rel=0.25)
    assert head_0 == pytest.approx(60, rel=0.1)
    residual = head / speed**2 - (slope * (x["flow"] / speed) ** 2 + head_0)
    assert residual.std() < 0.5


def test_current_follows_hydraulic_power_and_temperatures_follow_the_load_slowly() -> None:
    x = dict(zip(NAMES, simulate(machines=1, faults=()).values[0].T, strict=True))
    power = x["flow"] * (x["discharge_pressure"] - x["suction_pressure"])
    assert np.corrcoef(power, x["motor_current"])[0, 1] > 0.98

    lags = range(0, 600, 6)  # minutes, at 10 s
    agreement = [np.corrcoef(x["motor_current"][: 20_000 - n], x["motor_temperature"][n:])[0, 1] for n in lags]
    assert 10 <= np.argmax(agreement) <= 60


def test_readings_stay_where_a_pump_can_be() -> None:
    fleet = simulate(machines=8, ticks=5000, seed=11)
    bounds = {"m3/h": (20, 200), "bar": (0, 10), "rpm": (1000, 1600), "A": (10, 60), "degC": (0, 120), "mm/s": (0, 15)}
    for column, unit in enumerate(fleet.units):
        low, high = bounds[unit]
        assert low < fleet.values[:, :, column].min(), fleet.sensors[column]
        assert fleet.values[:, :, column].max() < high, fleet.sensors[column]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "rust"}, "expected one of bearing_wear"),
        ({"kind": "leak", "sensor": "flow"}, "only sensor_drift and frozen_sensor"),
        ({"kind": "sensor_drift"}, "sensor of sensor_drift is ''"),
        ({"kind": "frozen_sensor", "sensor": "colour"}, "is 'colour'"),
        ({"kind": "leak", "severity": 0.0}, "severity of leak is 0"),
    ],
)
def test_a_fault_that_contradicts_itself_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Fault(**{"machine": 0, "start": 0, "end": 10, **wrong})
