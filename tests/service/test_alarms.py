import msgspec
import pytest

from service.alarms import SETTLED_AFTER, Alarm, AlarmBook, Exceedance, Kind, Opening, SensorShare, named


def alarm(number: int, equipment: str = "p", kind: Kind = "process") -> Alarm:
    return Alarm(f"0-{number}-0", kind, equipment, "pumps", 1, start=number)


def ids(found: tuple[list[Alarm], int]) -> list[str]:
    return [one.id.split("-")[1] for one in found[0]]


@pytest.fixture
def book() -> AlarmBook:
    """Two closed alarms of p, an open one, one of q, one of another kind."""
    book = AlarmBook(10)
    for number in (1, 2):
        book.open(alarm(number))
        book.close("p", "process", number + 1)
    book.open(alarm(3))
    book.open(alarm(4, "q"))
    book.open(alarm(5, "p", "silent"))
    return book


def test_alarms_are_found_by_what_is_asked_newest_first(book: AlarmBook) -> None:
    assert ids(book.select()) == ["5", "4", "3", "2", "1"]
    assert ids(book.select(open=True)) == ["5", "4", "3"]
    assert ids(book.select(open=False)) == ["2", "1"]
    assert ids(book.select(equipment="p", kind="process")) == ["3", "2", "1"]
    assert ids(book.select(skip=1, count=2)) == ["4", "3"]
    assert book.select(skip=1, count=2)[1] == 5
    assert book.open_counts() == {("pumps", "process"): 2, ("pumps", "silent"): 1}


def test_one_alarm_of_each_kind_is_open_for_a_machine(book: AlarmBook) -> None:
    assert book.current("p", "process") is book.get("0-3-0")
    assert book.current("p", "silent") is book.get("0-5-0")
    assert book.current("q", "silent") is None


def test_closing_ends_it_and_closing_again_is_nothing(book: AlarmBook) -> None:
    closed = book.close("q", "process", 9)
    assert closed is not None
    assert (closed.end, closed.open) == (9, False)
    assert book.close("q", "process", 10) is None
    assert closed.end == 9


def test_an_alarm_does_not_end_before_it_began(book: AlarmBook) -> None:
    closed = book.close("q", "process", -5)
    assert closed is not None
    assert closed.end == closed.start


def test_the_oldest_closed_ones_are_forgotten_and_open_ones_never() -> None:
    book = AlarmBook(2)
    book.open(alarm(0, "always"))
    for number in range(1, 6):
        book.open(alarm(number))
        book.close("p", "process", number)
    assert ids(book.select()) == ["0", "5", "4"]
    assert book.get("0-3-0") is None


def test_a_restored_book_is_the_same_within_its_bound(book: AlarmBook) -> None:
    found = book.get("0-3-0")
    assert found is not None
    found.peak, found.peak_time, found.opening = 2.5, 7, Opening(1.5, [SensorShare("speed", 1.0)])
    found.add(Exceedance(2.5, [SensorShare("flow", 0.5)]))
    saved = msgspec.json.decode(book.saved(), type=list[Alarm])
    again = AlarmBook(10)
    again.open(alarm(99, "stranger"))
    again.restore(saved)
    assert list(again.newest_first()) == list(book.newest_first())
    assert again.current("p", "process") == found
    assert again.get("0-99-0") is None
    smaller = AlarmBook(1)
    smaller.restore(saved)
    assert ids(smaller.select(open=False)) == ["2"]
    assert smaller.get("0-1-0") is None


def over(score: float, sensor: str) -> Exceedance:
    return Exceedance(score, [SensorShare(sensor, 1.0)])


def test_sensors_are_those_of_the_highest_exceedance_that_others_followed() -> None:
    found = alarm(1)
    for score, sensor in [(2.0, "flow"), (9.0, "vibration"), *[(3.0, "flow")] * SETTLED_AFTER, (70.0, "temperature")]:
        found.add(over(score, sensor))
    assert found.sensors == [SensorShare("vibration", 1.0)], "the step back to normal is the highest, and the last"
    for _ in range(SETTLED_AFTER):
        found.add(over(3.0, "flow"))
    assert found.sensors == [SensorShare("temperature", 1.0)], "it was no step back: others followed"


def test_a_short_alarm_names_the_sensors_of_its_highest_exceedance() -> None:
    found = alarm(1)
    for score, sensor in [(2.0, "flow"), (9.0, "vibration"), (3.0, "flow")]:
        found.add(over(score, sensor))
    assert found.sensors == [SensorShare("vibration", 1.0)]


def test_no_sensor_under_one_percent_is_named_and_five_at_most() -> None:
    assert named({"flow": 0.995, "speed": 0.005}) == [SensorShare("flow", 0.995)]
    assert [one.sensor for one in named({name: 1.0 for name in "gfedcba"})] == list("abcde")
    assert named({}) == named({"flow": 0.0}) == []


def test_what_an_open_alarm_keeps_is_bounded_and_gone_when_it_is_closed(book: AlarmBook) -> None:
    found = book.get("0-3-0")
    assert found is not None
    for number in range(100):
        found.add(over(number, f"s{number}"))
    assert len(found.recent) == SETTLED_AFTER
    book.close("p", "process", 99)
    assert (found.recent, found.sensors[0].sensor) == ([], f"s{99 - SETTLED_AFTER}")


def test_an_alarm_of_an_older_snapshot_goes_on() -> None:
    text = b'{"id":"0-1-0","kind":"process","equipment":"p","model":"m","version":1,"start":1,'
    old = msgspec.json.decode(text + b'"sensors":[{"sensor":"flow","share":1.0}]}', type=Alarm)
    assert (old.opening, old.recent) == (None, [])
    old.add(over(2.0, "speed"))
    assert old.sensors == [SensorShare("speed", 1.0)]
