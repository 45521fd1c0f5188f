from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from models.contract import DataError
from models.exports.zones import check_zone, localise

MINUTE = 60_000_000
BERLIN = ZoneInfo("Europe/Berlin")


def local_steps(start: datetime, minutes: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """True times a fixed step apart, and what a clock in Berlin shows at each; both in microseconds."""
    utc = [start + timedelta(minutes=minutes * i) for i in range(count)]
    epoch = datetime(1970, 1, 1)
    shown = [(t.astimezone(BERLIN).replace(tzinfo=None) - epoch) // timedelta(microseconds=1) for t in utc]
    true = [(t.replace(tzinfo=None) - epoch) // timedelta(microseconds=1) for t in utc]
    return np.array(true), np.array(shown)


@pytest.mark.parametrize("minutes", [1, 10, 15, 30, 60])
@pytest.mark.parametrize("newest_first", [False, True])
def test_both_passes_of_a_repeated_hour_are_told_apart(minutes: int, newest_first: bool) -> None:
    true, shown = local_steps(datetime(2026, 10, 24, 22, tzinfo=UTC), minutes, 300 // minutes)
    if newest_first:
        true, shown = true[::-1], shown[::-1]
    found = localise(shown, "Europe/Berlin", np.zeros(len(shown), int))
    np.testing.assert_array_equal(found.us, true)
    assert (found.unresolved, found.skipped) == (0, 0)


def test_every_machine_has_its_own_order() -> None:
    true, shown = local_steps(datetime(2026, 10, 24, 22, tzinfo=UTC), 10, 30)
    for order in (np.repeat(np.arange(30), 2), np.tile(np.arange(30), 2)):
        group = np.tile([0, 1], 30) if order[1] == 0 else np.repeat([0, 1], 30)
        np.testing.assert_array_equal(localise(shown[order], "Europe/Berlin", group).us, true[order])


def test_every_year_has_its_own_repeated_hour() -> None:
    parts = [local_steps(datetime(year, 10, day, 22, tzinfo=UTC), 10, 30) for year, day in ((2025, 25), (2026, 24))]
    true, shown = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    np.testing.assert_array_equal(localise(shown, "Europe/Berlin", np.zeros(60, int)).us, true)


def test_an_hour_seen_once_is_its_first_pass_and_said() -> None:
    true, shown = local_steps(datetime(2026, 10, 25, 0, 5, tzinfo=UTC), 10, 4)
    found = localise(shown, "Europe/Berlin", np.zeros(4, int))
    np.testing.assert_array_equal(found.us, true)
    assert found.unresolved == 4


def test_a_skipped_hour_is_read_as_if_clocks_had_not_changed() -> None:
    skipped = int((datetime(2026, 3, 29, 2, 30) - datetime(1970, 1, 1)) / timedelta(microseconds=1))
    found = localise(
        np.array([skipped - 60 * MINUTE, skipped, skipped + 60 * MINUTE]), "Europe/Berlin", np.zeros(3, int)
    )
    assert found.us.tolist() == [skipped - 120 * MINUTE, skipped - 60 * MINUTE, skipped - 60 * MINUTE]
    assert found.skipped == 1


def test_a_zone_without_clock_changes_only_shifts() -> None:
    assert localise(np.array([0, 1]), "Asia/Tokyo", np.zeros(2, int)).us.tolist() == [-540 * MINUTE, -540 * MINUTE + 1]


@pytest.mark.parametrize("name", ["JST+9", "", "europe/berlin ", "../etc/passwd"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="--timezone is"):
        check_zone(name)
