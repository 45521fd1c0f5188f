from pathlib import Path

import pytest

from models.contract import DataError
from tests.models.exports.exporting import minutes, recorded


@pytest.mark.parametrize(
    "name",
    [
        "timestamp",
        "DateTime",
        "Time",
        "日時",
        "時刻",
        "Zeitstempel",
        "_time",
        "@timestamp",
        "Time Stamp (UTC)",
        "Local_Time",
    ],
)
def test_time_is_found_by_its_name_wherever_it_stands(tmp_path: Path, name: str) -> None:
    found = recorded(tmp_path, f"flow,{name},pressure", *(f"1,{time},2" for time in minutes(2)))
    assert found.sensors == ("flow", "pressure")


def test_time_without_a_known_name_is_the_first_column_that_holds_times(tmp_path: Path) -> None:
    found = recorded(tmp_path, "flow,when", *(f"1795525500,{time}" for time in minutes(2)))
    assert found.sensors == ("flow",)


def test_numbers_are_times_only_where_the_column_is_called_so(tmp_path: Path) -> None:
    lines = ("1795525500,1", "1795525501,2")
    assert recorded(tmp_path, "ts,flow", *lines).interval == 1_000_000
    assert recorded(tmp_path, "counter,flow", *lines, time="counter").interval == 1_000_000
    with pytest.raises(DataError, match="no column that holds a time"):
        recorded(tmp_path, "counter,flow", *lines)


def test_a_runtime_beside_the_timestamp_is_a_sensor(tmp_path: Path) -> None:
    found = recorded(tmp_path, "time,timestamp,flow", *(f"{12.5 + i},{time},{i}" for i, time in enumerate(minutes(2))))
    assert found.sensors == ("time", "flow")


def test_date_and_time_of_day_in_two_columns_are_one_time(tmp_path: Path) -> None:
    lines = ("2026-11-24,23:59:59,1", "2026-11-25,00:00:00,2")
    for options in ({}, {"time": "date"}, {"time_format": "%Y-%m-%d %H:%M:%S"}):
        found = recorded(tmp_path, "date,time,flow", *lines, **options)
        assert list(found.row_time) == ["2026-11-24T23:59:59Z", "2026-11-25T00:00:00Z"]
        assert found.sensors == ("flow",)


def test_a_strange_time_is_read_with_its_format_alone(tmp_path: Path) -> None:
    found = recorded(tmp_path, "time,flow", "13.05 on 2026-11-24,1", time_format="%H.%M on %Y-%m-%d")
    assert found.row_time[0] == "2026-11-24T13:05:00Z"


def test_a_format_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--time-format '%Hh%Y-%m-%d' cannot be used: .*both hour and minute"):
        recorded(tmp_path, "time,flow", "24h2026-11-24,1", time_format="%Hh%Y-%m-%d")


@pytest.mark.parametrize("name", ["equipment", "Machine ID", "asset_name", "設備", "DeviceId"])
def test_machines_are_found_by_the_name_of_their_column(tmp_path: Path, name: str) -> None:
    found = recorded(tmp_path, f"time,{name},flow", "2026-11-24 13:00,a,1", "2026-11-24 13:00,b,2")
    assert [series.equipment for series in found.series] == ["a", "b"]


def test_any_column_may_be_named_as_that_of_machines(tmp_path: Path) -> None:
    found = recorded(tmp_path, "time,no,flow", "2026-11-24 13:00,1,1", "2026-11-24 13:00,2,2", equipment="no")
    assert [series.equipment for series in found.series] == ["1", "2"]


def test_a_machine_without_a_name_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 3, column 'machine': found ''; expected the name of a machine"):
        recorded(tmp_path, "time,machine,flow", "2026-11-24 13:00,a,1", "2026-11-24 13:01,,2")


def test_names_in_options_need_not_match_in_case(tmp_path: Path) -> None:
    found = recorded(tmp_path, "Time,Flow,Fault", "2026-11-24 13:00,1,0", label="fault", time="time")
    assert found.sensors == ("Flow",)


def test_a_wide_file_with_a_sensor_called_value_is_wide(tmp_path: Path) -> None:
    assert recorded(tmp_path, "time,value,sensor", "2026-11-24 13:00,1,2").sensors == ("value", "sensor")
