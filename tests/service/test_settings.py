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
        ("port = 'x'", "setting port (in .*) is 'x'"),
        ("port = 70000", "setting port (in .*) is 70000"),
        ("body_bytes_max = 0", "setting body_bytes_max"),
        ("body_seconds_max = inf", "setting body_seconds_max"),
        ("prot = 1", "prot (in .*) is no setting; did you mean port?"),
        ("model_default = '../x'", "'../x' cannot be the name of a model"),
        ("model_patterns = {'*' = ''}", "'' cannot be the name of a model"),
        ("log_level = 'loud'", "setting log_level"),
        ("clock = 'sun'", "setting clock"),
        ("port = ", "is not TOML"),
        ("body_readings_max = 500000", "body_readings_max is 500000; expected at most queue_readings_max"),
        ("batch_readings_max = 500000", "batch_readings_max is 500000; expected at most queue_readings_max"),
        ("inflated_bytes_max = 10", "body_bytes_max is 8388608; expected at most inflated_bytes_max, which is 10"),
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
    monkeypatch.setenv("LIMEN_MODEL_PATTERNS", "pump-*=pumps")
    with pytest.raises(SettingsError, match="model_patterns"):
        load()
    monkeypatch.delenv("LIMEN_MODEL_PATTERNS")
    monkeypatch.setenv("LIMEN_PORT", "tcp://10.0.0.1:80")
    with pytest.raises(SettingsError, match=r"setting port \(LIMEN_PORT\) is 'tcp://10.0.0.1:80'"):
        load()


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
