from dataclasses import replace

import numpy as np
import pytest

from models.exports.series import Series
from models.exports.survey import lasting, survey
from tests.builders import process

SECOND = 1_000_000


def series(
    values: np.ndarray, time: np.ndarray | None = None, equipment: str = "p-7", use: np.ndarray | None = None
) -> Series:
    n = len(values)
    seconds = np.arange(n) if time is None else time
    return Series(equipment, seconds * SECOND, values, None, np.arange(n), np.ones(n, bool) if use is None else use)


def found(*parts: Series) -> dict[str, str]:
    names = tuple(f"s{i}" for i in range(parts[0].values.shape[1]))
    return {finding.kind: finding.text for finding in survey(parts, names, SECOND)}


def test_a_moving_process_gives_no_finding() -> None:
    assert found(series(process(0, 3000))) == {}


def test_gaps_are_counted_and_the_longest_named_first() -> None:
    time = np.arange(100)
    time[40:] += 7200
    time[60:] += 60
    text = found(series(process(0, 100), time))["gap"]
    assert text.startswith("2 gaps, the longest 2 h from 1970-01-01T00:00:39Z, 1 min from")


def test_a_step_of_three_intervals_is_no_gap() -> None:
    time = np.arange(100)
    time[50:] += 2
    assert "gap" not in found(series(process(0, 100), time))


def test_constant_sensors_are_named_with_their_machine_where_others_move() -> None:
    a, b = process(0, 100), process(1, 100)
    a[:, 1] = b[:, 1] = 7
    b[:, 2] = 3
    assert found(series(a), series(b, equipment="p-8"))["constant"] == "2 sensors never change: s1, s2 of 'p-8'"


def test_a_frozen_sensor_is_named_with_when_and_how_long() -> None:
    x = process(0, 600)
    x[300:421, 2] = x[300, 2]
    assert found(series(x)) == {
        "frozen": "1 stretch in which a sensor is frozen: s2 for 2 min from 1970-01-01T00:05:00Z"
    }


@pytest.mark.parametrize("values", [np.array([0.0, 1.0]), np.arange(5.0)])
def test_switches_and_setpoints_are_not_frozen(values: np.ndarray) -> None:
    x = process(0, 600)
    x[:, 2] = np.tile(values, 600)[:600]
    x[300:400, 2] = x[300, 2]
    assert found(series(x)) == {}


@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_a_stretch_in_which_most_sensors_fall_at_once_is_a_suspected_shutdown(noise: float) -> None:
    x = process(0, 3000)
    x[900:1500, :3] = noise * process(1, 600)[:, :3]
    text = found(series(x))["shutdown"]
    assert text.startswith("1 suspected shutdown, most sensors quiet or low at once: 10 min from 1970-01-01T00:15:00Z")
    assert "frozen" not in found(series(x))


def test_one_quiet_sensor_is_no_shutdown() -> None:
    x = process(0, 3000)
    x[900:1500, 0] = 0.1 * process(1, 600)[:, 0]
    assert "shutdown" not in found(series(x))


def test_missing_values_are_no_shutdown_and_no_freeze() -> None:
    x = process(0, 3000)
    x[900:1500] = np.nan
    x[:, 3] = np.nan
    x[-5:, 3] = np.arange(5)
    assert found(series(x)) == {}


def test_what_is_not_used_is_not_looked_at() -> None:
    x = process(0, 600)
    x[300:400] = 0
    use = np.ones(600, bool)
    use[300:] = False
    assert found(series(x, use=use)) == {}
    assert found(series(x, use=np.zeros(600, bool))) == {}


def test_files_of_one_machine_that_overlap_are_named() -> None:
    first, second = series(process(0, 100)), series(process(1, 100), np.arange(90, 190))
    assert found(first, second)["overlap"].startswith("files overlap: 'p-7' from 1970-01-01T00:01:30Z")
    assert "overlap" not in found(first, series(process(1, 100), np.arange(100, 200)))
    assert "overlap" not in found(first, series(process(1, 100), equipment="p-8"))


LABELS = [
    "label", "anomaly", "Anomalous", "fault", "faulty", "failure", "is_fault", "isFault", "attack", "changepoint",
    "Change Point", "異常", "故障フラグ", "target", "y", "pump anomaly",
]  # fmt: skip


def labels(name: str, column: np.ndarray, label: np.ndarray | None = None) -> list[str]:
    x = process(0, 600)
    x[:, 2] = column
    one = replace(series(x), label=label)
    return [f.text for f in survey([one], ("s0", "s1", name, "s3"), SECOND) if f.kind == "label"]


@pytest.mark.parametrize("name", LABELS)
def test_a_column_of_zero_and_one_that_is_called_as_a_label_is_asked_about(name: str) -> None:
    assert len(labels(name, np.arange(600) > 400)) == 1
    assert len(labels(name, np.zeros(600))) == 1
    assert len(labels(name, np.where(np.arange(600) % 5, 1.0, np.nan))) == 1


def test_the_question_names_both_ways_out() -> None:
    assert labels("anomaly", np.zeros(600)) == [
        "column 'anomaly' holds only 0 and 1: if it says where the machine was faulty, name it with --label anomaly, "
        "or leave it out with --ignore anomaly"
    ]
    assert labels("pump fault", np.zeros(600))[0].endswith("--ignore 'pump fault'")


def test_beside_a_label_another_can_only_be_left_out() -> None:
    (text,) = labels("changepoint", np.zeros(600), label=np.zeros(600))
    assert text.endswith("if it says where the machine was faulty, leave it out with --ignore changepoint")


@pytest.mark.parametrize(("name", "high"), [("running", 1), ("default", 1), ("yaw", 1), ("fault", 2), ("label", 0.5)])
def test_switches_and_counters_are_no_labels(name: str, high: float) -> None:
    assert labels(name, high * (np.arange(600) % 2)) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 s"), (59, "59 s"), (60, "1 min"), (5400, "1.5 h"), (86400 * 3, "3 days")]
)
def test_time_spans_are_told_in_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert lasting(int(seconds * SECOND)) == text
