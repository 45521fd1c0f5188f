from pathlib import Path

import numpy as np
import pytest

from models.contract import DataError
from models.data import DataOptions, read
from tests.models.exports.exporting import kinds, recorded, written

HEADER = "TagName;Timestamp;Value;Quality"


def entries(*tags: str, count: int = 3) -> list[str]:
    """Lines of a long file, tag by tag: the k-th tag says 10 k + minute."""
    return [f"{tag};2026-11-24T00:{i:02}:00Z;{10 * k + i},5;Good" for k, tag in enumerate(tags) for i in range(count)]


def test_tags_are_joined_by_time(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *entries("flow", "pressure"))
    assert found.sensors == ("flow", "pressure")
    (series,) = found.series
    np.testing.assert_array_equal(series.values, [[0.5, 10.5], [1.5, 11.5], [2.5, 12.5]])
    assert (found.rows, found.row_equipment) == (3, ["pump-7"] * 3)
    assert list(found.row_time)[1] == "2026-11-24T00:01:00Z"


def test_rows_count_ticks(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *entries("flow", "pressure"), rows="1:")
    assert found.row_status == ["outside", "used", "used"]


@pytest.mark.parametrize("bad", ["Bad", "0", "uncertain", "BAD (comm fail)", "64"])
def test_a_value_of_bad_quality_is_missing(tmp_path: Path, bad: str) -> None:
    lines = [line.replace("Good", "192") if bad.isdigit() else line for line in entries("flow", "pressure")]
    lines[1] = lines[1].rpartition(";")[0] + ";" + bad
    found = recorded(tmp_path, HEADER, *lines)
    assert np.argwhere(np.isnan(found.series[0].values)).tolist() == [[1, 0]]
    assert kinds(found) == ["bad_quality"]


def test_an_unknown_quality_is_refused_with_its_place(tmp_path: Path) -> None:
    lines = entries("flow")
    lines[2] = lines[2].replace("Good", "Goofy")
    with pytest.raises(DataError, match=r"line 4, column 'Quality': found 'Goofy'; .*--missing 'Goofy'"):
        recorded(tmp_path, HEADER, *lines)
    assert kinds(recorded(tmp_path, HEADER, *lines, missing=("Goofy",))) == ["bad_quality"]


def test_text_in_a_value_names_the_tag_to_leave_out(tmp_path: Path) -> None:
    lines = [*entries("flow"), "mode;2026-11-24T00:00:00Z;Running;Good"]
    with pytest.raises(DataError, match=r"line 5, column 'Value': found 'Running'; .*--ignore 'mode'"):
        recorded(tmp_path, HEADER, *lines)
    assert recorded(tmp_path, HEADER, *lines, ignore=("mode",)).sensors == ("flow",)


def test_words_of_historians_are_missing_in_values(tmp_path: Path) -> None:
    found = recorded(tmp_path, HEADER, *entries("flow"), "pressure;2026-11-24T00:01:00Z;I/O Timeout;", *entries("p2"))
    assert found.sensors == ("flow", "p2")
    assert kinds(found) == ["empty_column", "missing_word"]


def test_a_map_turns_tags_into_sensors_of_machines(tmp_path: Path) -> None:
    tags = written(
        tmp_path, "tag,equipment,sensor,unit", "P7.FT,p-7,flow,m3/h", "P8.FT,p-8,flow,m3/h", "AMB,p-7,ambient,C",
        "AMB,p-8,ambient,C", "P7.PT,p-7,pressure,bar", name="tags.csv",
    )  # fmt: skip
    found = recorded(tmp_path, HEADER, *entries("P7.FT", "P8.FT", "AMB", "P7.PT", "OTHER"), map=tags)
    assert (found.sensors, found.units) == (("flow", "ambient", "pressure"), ("m3/h", "C", "bar"))
    values = {series.equipment: series.values[0] for series in found.series}
    np.testing.assert_array_equal(values["p-7"], [0.5, 20.5, 30.5])
    np.testing.assert_array_equal(values["p-8"], [10.5, 20.5, np.nan])
    assert found.row_equipment == ["p-7", "p-8"] * 3
    assert kinds(found)[0] == "unmapped_tag"
    assert "OTHER" in found.findings[0].text


def test_a_column_of_machines_is_used_in_long_files(tmp_path: Path) -> None:
    lines = [f"2026-11-24T00:0{i}:00Z,{machine},flow,{i}" for i in range(2) for machine in ("a", "b")]
    found = recorded(tmp_path, "time,machine,sensor,value", *lines)
    assert [(s.equipment, s.values.ravel().tolist()) for s in found.series] == [("a", [0, 1]), ("b", [0, 1])]


def test_repeated_tags_and_times_are_counted_and_the_first_value_stands(tmp_path: Path) -> None:
    lines = entries("flow")
    found = recorded(tmp_path, HEADER, *lines, lines[0], lines[1].replace("1,5", "9,5"))
    assert [(f.kind, f.count) for f in found.findings] == [("duplicate", 1), ("conflict", 1)]
    assert found.findings[0].text == "pump-7.csv: 1 row repeats tag, time and value, left out"
    assert "1 row repeats tag and time with another value" in found.findings[1].text
    assert found.series[0].values.ravel().tolist() == [0.5, 1.5, 2.5]


def test_tags_recorded_at_different_times_are_reported(tmp_path: Path) -> None:
    lines = [f"tag-{i % 5};2026-11-24T00:{i:02}:00Z;{i};Good" for i in range(50)]
    assert "sparse" in kinds(recorded(tmp_path, HEADER, *lines))


def test_labels_of_a_tick_are_those_of_its_rows(tmp_path: Path) -> None:
    lines = [f"{line};{int(k == 1)}" for k, line in enumerate(entries("flow", "pressure"))]
    found = recorded(tmp_path, HEADER + ";fault", *lines, label="fault")
    assert found.series[0].label.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("tag,equipment,unit", "a,b,c"), r"--map tags\.csv has no column 'sensor'"),
        (
            ("tag,equipment,sensor", "a,p,flow", "b,p,flow"),
            r"--map tags\.csv: line 3, column 'tag': found 'b'.* 'flow' of 'p' is tag 'a' already",
        ),
        (("tag,equipment,sensor", "a,p,"), r"line 2, column 'sensor'.*a name"),
        (
            ("tag,equipment,sensor", "x,p,flow"),
            r"none of its tags is in --map, which has x; they are flow",
        ),
        (("tag,equipmnt,sensor", "a,p,flow"), r"--map tags\.csv has a column 'equipmnt'; did you mean 'equipment'\?"),
        (("tag,equipment,snesor", "a,p,flow"), r"--map tags\.csv has a column 'snesor'; did you mean 'sensor'\?"),
    ],
)
def test_a_map_that_cannot_be_used_is_refused(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    tags = written(tmp_path, *lines, name="tags.csv")
    with pytest.raises(DataError, match=message):
        read([written(tmp_path, HEADER, *entries("flow"))], DataOptions(map=tags))


def test_a_map_may_have_columns_that_say_more(tmp_path: Path) -> None:
    tags = written(tmp_path, "tag,sensor,area,description,units", "flow,f,A1,inlet,m3/h", name="tags.csv")
    found = recorded(tmp_path, HEADER, *entries("flow"), map=tags)
    assert (found.sensors, found.units) == (("f",), ("m3/h",))


def test_a_map_of_wide_columns_makes_a_row_for_each_machine(tmp_path: Path) -> None:
    tags = written(tmp_path, "tag,equipment,sensor", "F7,p-7,flow", "F8,p-8,flow", name="tags.csv")
    found = recorded(
        tmp_path, "time,F7,F8", "2026-11-24T00:00:00Z,1,2", "2026-11-24T00:01:00Z,3,4", map=tags, rows="1:"
    )
    assert found.row_equipment == ["p-7", "p-8", "p-7", "p-8"]
    assert found.row_status == ["outside", "outside", "used", "used"]
    assert [s.values.ravel().tolist() for s in found.series] == [[1, 3], [2, 4]]


def test_a_map_without_machines_only_renames(tmp_path: Path) -> None:
    tags = written(tmp_path, "Tag Name,Sensor,EU", "F7,flow,m3/h", name="tags.csv")
    found = recorded(tmp_path, "time,machine,F7", "2026-11-24T00:00:00Z,a,1", "2026-11-24T00:00:00Z,b,2", map=tags)
    assert [(s.equipment, s.values.tolist()) for s in found.series] == [("a", [[1]]), ("b", [[2]])]
    assert (found.sensors, found.units) == (("flow",), ("m3/h",))
