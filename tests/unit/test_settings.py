"""Settings: read once, frozen, described, and refused in one sentence that shows no secret."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from imgapi.edits.catalogue import EDITS
from imgapi.settings import Settings, SettingsInvalidError, environment_name, read_settings

KEY = "sk-hunter2hunter2"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this machine's own settings out of the way."""
    for name in Settings.model_fields:
        monkeypatch.delenv(environment_name(name), raising=False)


def test_defaults_need_no_environment() -> None:
    """With an empty environment the service runs without a key on the documented port."""
    settings = read_settings()
    assert settings.dashscope_api_key is None
    assert (settings.host, settings.port) == ("127.0.0.1", 5000)
    assert settings.own_url == "http://127.0.0.1:5000"
    assert settings.base_url == "https://dashscope.aliyuncs.com/api/v1"
    assert settings.queries_per_second < 20


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of value is read from its variable, with surrounding blanks ignored."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "http://127.0.0.1:5001/api/v1")
    monkeypatch.setenv("IMGAPI_EXPAND_MODELS", "wan2.7-image , qwen-image-2.0,")
    monkeypatch.setenv("IMGAPI_SOURCE_PORTS", "80,443, 8080")
    monkeypatch.setenv("IMGAPI_DATA_DIR", "/srv/imgapi")
    monkeypatch.setenv("IMGAPI_PUBLIC_URL", "https://pictures.example/api/")
    monkeypatch.setenv("IMGAPI_ALLOW_PRIVATE_SOURCES", "true")
    settings = read_settings()
    assert settings.dashscope_api_key == SecretStr(KEY)
    assert settings.base_url == "http://127.0.0.1:5001/api/v1"
    assert settings.models_of("expand") == ("wan2.7-image", "qwen-image-2.0")
    assert settings.source_ports == (80, 443, 8080)
    assert settings.data_dir == Path("/srv/imgapi")
    assert settings.own_url == "https://pictures.example/api"
    assert settings.allow_private_sources


@pytest.mark.parametrize("value", ["", "   "])
@pytest.mark.parametrize("name", ["DASHSCOPE_API_KEY", "IMGAPI_DASHSCOPE_WORKSPACE"])
def test_blank_is_unset(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing counts as not set: an empty key never reaches DashScope."""
    monkeypatch.setenv(name, value)
    settings = read_settings()
    assert settings.dashscope_api_key is None
    assert settings.dashscope_workspace is None


def test_region_chooses_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each region has its own shared host."""
    monkeypatch.setenv("IMGAPI_DASHSCOPE_REGION", "ap-southeast-1")
    assert read_settings().base_url == "https://dashscope-intl.aliyuncs.com/api/v1"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("IMGAPI_PORT", "99999"),
        ("IMGAPI_PORT", "http"),
        ("IMGAPI_PREPARE", "perhaps"),
        ("IMGAPI_DASHSCOPE_REGION", "mars"),
        ("IMGAPI_QUERIES_PER_SECOND", "21"),
        ("IMGAPI_TASK_SECONDS", "inf"),
        ("IMGAPI_TASK_SECONDS", "nan"),
        ("IMGAPI_WORKERS", "0"),
        ("IMGAPI_SOURCE_PORTS", "80,https"),
        ("IMGAPI_PUBLIC_URL", "ftp://pictures.example"),
        ("DASHSCOPE_BASE_URL", "https://someone:hunter2@dashscope.example/api/v1"),
        ("DASHSCOPE_API_KEY", "sk-hunter2\u00e4"),
        ("DASHSCOPE_API_KEY", "sk-hunter2\nX-Other: 1"),
    ],
)
def test_wrong_value_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value stops the start with one sentence that names the variable and shows no secret."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsInvalidError) as caught:
        read_settings()
    sentence = str(caught.value)
    assert sentence.startswith(f"{variable} has a wrong value: ")
    assert sentence.endswith(".")
    assert not set("\n{}") & set(sentence)
    assert "hunter2" not in sentence
    assert caught.value.__cause__ is None, "the cause would show the value"
    assert caught.value.__suppress_context__


def test_key_is_masked() -> None:
    """Neither the text nor the dump of the settings shows the key."""
    settings = read_settings(DASHSCOPE_API_KEY=KEY)
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in text
        assert "**********" in text


def test_settings_are_frozen() -> None:
    """Nothing changes a setting after the start."""
    with pytest.raises(ValidationError, match="frozen"):
        setattr(read_settings(), "port", 1)  # noqa: B010 - a plain assignment is refused by the type checker


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_described(name: str) -> None:
    """Every setting says in a sentence what it does, and is set by a documented variable."""
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")
    assert environment_name(name).startswith(("IMGAPI_", "DASHSCOPE_"))


@pytest.mark.parametrize("operation", sorted(EDITS))
def test_default_models_can_serve(operation: str) -> None:
    """The default order of each edit's models is the order the edit itself declares."""
    assert read_settings().models_of(operation) == EDITS[operation].model_names
