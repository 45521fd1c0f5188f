from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.settings import PREFIX, Settings, SettingsError, load, table, unknown_variables


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)


def toml(folder: Path, text: str) -> Path:
    path = folder / "limen.toml"
    path.write_text(text)
    return path


def test_what_is_given_wins_over_the_environment_and_that_over_the_file(tmp_path, monkeypatch):
    config = toml(tmp_path, 'port = 1\nhost = "0.0.0.0"\nlog_level = "debug"')
    monkeypatch.setenv("LIMEN_PORT", "2")
    monkeypatch.setenv("LIMEN_HOST", "127.0.0.2")
    found = load(config, port=3)
    assert (found.port, found.host, found.log_level) == (3, "127.0.0.2", "debug")


def test_loopback_is_the_default():
    found = load()
    assert (found.host, found.hosts_allowed) == ("127.0.0.1", ["localhost", "127.0.0.1", "::1"])


@pytest.mark.parametrize("text", ["a.example, [::1] ,C", '["a.example", "::1", "c"]'])
def test_hosts_are_given_with_commas_or_as_json(monkeypatch, text):
    monkeypatch.setenv("LIMEN_HOSTS_ALLOWED", text)
    assert load().hosts_allowed == ["a.example", "::1", "c"]


def test_patterns_keep_their_order(tmp_path):
    config = toml(tmp_path, '[model_patterns]\n"pump-1*" = "b"\n"pump-*" = "a"\n"*" = "c"')
    assert list(load(config).model_patterns.items()) == [("pump-1*", "b"), ("pump-*", "a"), ("*", "c")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("port = 'x'", "setting port (in .*) is 'x'; expected a whole number from 0 to 65535, such as 8000"),
        ("port = 70000", "setting port (in .*) is 70000; expected a whole number from 0 to 65535, such as 8000"),
        ("snapshot_seconds = 0", "is 0; expected a number above 0 to 31622400, such as 300.0"),
        ("log_json = 'perhaps'", "is 'perhaps'; expected true or false"),
        ("data_dir = 3", "is 3; expected a path"),
        ("host = 3", "is 3; expected text"),
        ("model_patterns = 3", 'is 3; expected pairs such as pump-[*]=pumps, separated by commas, or JSON such as {"'),
        (
            "model_assignments = {'pump-7' = 3}",
            "setting model_assignments (in .*) is 3; expected pairs such as pump-7=",
        ),
        ("body_bytes_max = 0", "setting body_bytes_max"),
        ("body_seconds_max = inf", "setting body_seconds_max"),
        ("prot = 1", "prot (in .*) is no setting; did you mean port?"),
        ("model_default = '../x'", "'../x' cannot be the name of a model"),
        ("model_patterns = {'*' = ''}", "'' cannot be the name of a model"),
        ("time_source = {'*' = 'sun'}", "setting time_source (in .*) is 'sun'; expected pairs such as plc-[*]=offset"),
        ("join = ['press-*', 'pump[']", "in 'pump.' no '.' closes the '.' at character 5; .* expected name patterns"),
        ("join = ['']", "a pattern is empty; expected name patterns separated by commas, such as press-"),
        ("model_patterns = {'pump-[12' = 'pumps'}", "in 'pump-.12' no '.' closes the '.' at character 6"),
        ("time_source = {'[!' = 'arrival'}", "in '.!' no '.' closes the '.' at character 1"),
        ("log_level = 'loud'", "is 'loud'; expected 'debug', 'info', 'warning' or 'error'"),
        ("clock = 'sun'", "is 'sun'; expected 'wall' or 'event'"),
        ("port = ", "is not TOML"),
        ("body_readings_max = 500000", "body_readings_max is 500000; expected at most queue_readings_max"),
        ("batch_readings_max = 500000", "batch_readings_max is 500000; expected at most queue_readings_max"),
        ("inflated_bytes_max = 10", "body_bytes_max is 8388608; expected at most inflated_bytes_max, which is 10"),
        ("history = true\njournal = false", "history is true and journal is false; expected a journal"),
        ("in_flight_bytes_max = 10", "inflated_bytes_max is 16777216; expected at most in_flight_bytes_max"),
        ("model_inflated_bytes_max = 10", "model_bytes_max is 67108864; expected at most model_inflated_bytes_max"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path, text, sentence):
    with pytest.raises(
        SettingsError, match=sentence.replace("(in", r"\(in").replace(".*)", r".*\)").replace("?", r"\?")
    ):
        load(toml(tmp_path, text))


def test_variables_that_cannot_be_read_are_named(monkeypatch):
    monkeypatch.setenv("LIMEN_PORT", "tcp://10.0.0.1:80")
    with pytest.raises(SettingsError, match=r"setting port \(LIMEN_PORT\) is 'tcp://10.0.0.1:80'; expected a whole"):
        load()


@pytest.mark.parametrize("text", ["pump-*=m_plain, fan-*=m", '{"pump-*": "m_plain", "fan-*": "m"}'])
@pytest.mark.parametrize("name", ["model_patterns", "model_assignments"])
def test_pairs_are_given_with_commas_or_as_json(monkeypatch, name, text):
    monkeypatch.setenv(PREFIX + name.upper(), text)
    assert getattr(load(), name) == {"pump-*": "m_plain", "fan-*": "m"}


def test_sources_are_given_the_clock_that_counts(monkeypatch):
    monkeypatch.setenv("LIMEN_TIME_SOURCE", "gateway-3=arrival, plc-*=offset")
    assert load().time_source == {"gateway-3": "arrival", "plc-*": "offset"}
    monkeypatch.setenv("LIMEN_TIME_SOURCE", "gateway-3=now")
    with pytest.raises(
        SettingsError, match=r"LIMEN_TIME_SOURCE.* is 'now'; expected pairs .* event, offset or arrival"
    ):
        load()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("pumps", "in 'pumps' one side of '=' is missing"),
        ("pump-*=", "in 'pump-*=' one side"),
        ("=pumps", "in '=pumps' one side"),
        ("{pump: 1}", "no JSON: Expecting property name enclosed in double quotes at column 2"),
        ("pump-*=a/b", "'a/b' cannot be the name of a model"),
    ],
)
def test_pairs_that_are_none_are_refused_with_the_variable_and_an_example(monkeypatch, text, complaint):
    monkeypatch.setenv("LIMEN_MODEL_PATTERNS", text)
    with pytest.raises(SettingsError) as refused:
        load()
    sentence = str(refused.value)
    assert sentence.startswith("setting model_patterns (LIMEN_MODEL_PATTERNS) is ")
    assert complaint in sentence
    assert sentence.endswith(
        """expected pairs such as pump-*=pumps, separated by commas, or JSON such as {"pump-*": "pumps"}"""
    )


@pytest.mark.parametrize("pattern", ["pump[12]", "pump[!12]", "pump[]x]", "pump[!]]", "[[]1]", "]", "a]b", "[a][b]*"])
def test_a_pattern_whose_sets_are_closed_is_taken(monkeypatch, pattern):
    monkeypatch.setenv("LIMEN_JOIN", f"press-*, {pattern}")
    assert load().join == ["press-*", pattern]


def test_a_setting_given_as_an_option_is_named_as_one():
    with pytest.raises(SettingsError, match=r"^setting clock \(--clock\) is 'evnt'; expected 'wall' or 'event'$"):
        load(clock="evnt")


@pytest.mark.parametrize(
    "name", [name for name in Settings.model_fields if name not in ("hosts_allowed", "join", "model")]
)
def test_no_message_speaks_of_the_library_that_checks(name):
    with pytest.raises(SettingsError) as refused:
        load(**{name: [1.5]})
    assert re.fullmatch(rf"setting {name} \(--.*\) is \[1.5\]; expected .+", str(refused.value))
    assert not re.search(r"Input should|Value error|pydantic|type=", str(refused.value))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read"):
        load(tmp_path / "nowhere.toml")


def test_a_misspelt_variable_is_pointed_out():
    assert unknown_variables({"LIMEN_QUEUE_READING_MAX": "1", "LIMEN_DATA": "x", "PATH": "y"}) == [
        "LIMEN_QUEUE_READING_MAX is no setting and has no effect; did you mean LIMEN_QUEUE_READINGS_MAX?"
    ]


def test_every_setting_is_described():
    for variable, _, description in table():
        assert re.fullmatch(r"LIMEN_[A-Z_]+", variable)
        assert len(description) > 10
        assert description.endswith(".")
