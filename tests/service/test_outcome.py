import numpy as np

from service.outcome import Outcome
from service.status import Reason, Status


def test_what_nobody_touched_is_rejected_as_a_bad_value() -> None:
    outcome = Outcome.blank(3, top=False)
    outcome.reject(np.array([1]), Reason.NO_MODEL)
    found = outcome.body(0, 3, True, [], [])
    assert found.counts() == [0, 0, 0, 0, 0, 0, 3]
    assert found.reason.tolist() == [Reason.BAD_VALUE, Reason.NO_MODEL, Reason.BAD_VALUE]
    assert np.isnan(found.score).all()
    assert found.top_sensor is None


def test_the_part_of_one_body_is_cut_out() -> None:
    outcome = Outcome.blank(5, top=True)
    outcome.status[:] = [Status.SCORED, Status.LATE, Status.SCORED, Status.WARMING, Status.HELD]
    rows, columns = outcome.body(1, 4, True, ["a"], ["careful"]), outcome.body(4, 5, False, ["a"], [])
    assert rows.counts() == [1, 1, 0, 0, 0, 1, 0]
    assert rows.received == 3
    assert rows.warnings == ["careful"]
    assert rows.top_sensor is not None
    assert rows.top_sensor.shape == (3, 3)
    assert columns.counts()[Status.HELD] == 1
    assert columns.top_sensor is columns.top_share is None


def test_sensors_that_were_left_out_are_noted_by_body() -> None:
    outcome = Outcome.blank(1, top=False)
    outcome.leave_out(2, ["x"], 5)
    outcome.leave_out(2, ["y", "x"], 1)
    assert outcome.unknown == {2: ["x", "y", "x"]}
    assert outcome.unknown_values == 6
