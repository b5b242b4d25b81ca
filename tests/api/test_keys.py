"""Keys that callers are asked for: kept hashed, found in constant time, held to their quotas."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from conftest import Service, run_service
from fakes import VirtualClock
from imgapi.api.gate import is_open
from imgapi.api.keys import Key, Keyring, KeysInvalidError, new_key, read_keys
from imgapi.api.quotas import Quotas
from imgapi.app import create_app
from imgapi.cli import cli
from imgapi.errors import QuotaExceeded
from imgapi.settings import Settings, SettingsInvalidError
from pictures import encode, photo

FREE, BUSY, POOR = new_key(), new_key(), new_key()
DIGEST = "sha256:" + "0" * 64


def write_keys(folder: Path) -> Path:
    """A file with a key of each kind."""
    path = folder / "keys.toml"
    path.write_text(
        f'[[keys]]\nname = "free"\nhash = "{FREE[1]}"\n\n'
        f'[[keys]]\nname = "busy"\nhash = "{BUSY[1]}"\nrequests_per_minute = 3\n\n'
        f'[[keys]]\nname = "poor"\nhash = "{POOR[1]}"\nimages_per_month = 2\n'
    )
    return path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with keys switched on."""
    folder = tmp_path_factory.mktemp("guarded")
    yield from run_service(folder, api_keys_file=write_keys(folder))


def post(guarded: Service, key: str, body: Any, path: str = "/fix") -> httpx.Response:
    """Send a JSON body with a key."""
    return guarded.client.post(path, json=body, headers={"Authorization": f"Bearer {key}"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic " + FREE[0]},
        {"X-API-Key": FREE[0] + "x"},
        {"X-API-Key": FREE[1]},
        {"Authorization": "Bearer \xe9\xff"},
    ],
    ids=["none", "wrong", "basic", "longer", "hash", "no ASCII"],
)
def test_requests_without_a_known_key_are_refused(guarded: Service, headers: dict[str, str]) -> None:
    """No key, a wrong one, its hash or another scheme is a 401 in the documented shape, before anything is read."""
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = guarded.client.post("/fix", content=b"{" * 100, headers=encoded)
    assert answer.status_code == 401
    assert set(answer.json()) == {"error", "code", "request_id"}
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert FREE[0] not in answer.text


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_known_key_is_let_in(guarded: Service, header: str) -> None:
    """Either header carries a key."""
    value = f"bearer {FREE[0]}" if header == "Authorization" else FREE[0]
    assert guarded.client.get("/operations", headers={header: value}).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/redoc", "/openapi.json"])
def test_probes_and_pages_need_no_key(guarded: Service, path: str) -> None:
    """Load balancers and browsers have none."""
    assert guarded.client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/fix", "/livezz", "/docsx", "/operations", "/results", "/unknown", "//livez"])
def test_everything_else_needs_one(path: str) -> None:
    """What is open is a closed list."""
    assert not is_open(path)


def test_links_need_no_key(guarded: Service, data_url: Callable[..., str]) -> None:
    """A result's link is opened by browsers and by whoever it was given to."""
    picture = data_url(encode(photo("coffee").resize((200, 150)), "PNG"))
    reply = post(guarded, FREE[0], {"image_url": picture}, "/remove_bg").json()
    assert guarded.client.get(reply["results"][0]["url"]).status_code == 200


def test_a_minute_has_so_many_requests(guarded: Service) -> None:
    """Each answer tells what is left; beyond it is a 429 with `Retry-After`, and other keys are not held back."""
    answers = [post(guarded, BUSY[0], {}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 429]
    assert [answer.headers["RateLimit"].partition(";t=")[0] for answer in answers] == [
        f'"minute";r={left}' for left in (2, 1, 0, 0)
    ]
    assert answers[0].headers["RateLimit-Policy"] == '"minute";q=3;w=60'
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 60
    assert answers[3].json()["code"] == "quota_exceeded"
    assert post(guarded, FREE[0], {}).status_code == 400
    assert "RateLimit" not in post(guarded, FREE[0], {}).headers


def test_a_month_has_so_many_pictures(guarded: Service, data_url: Callable[..., str]) -> None:
    """Pictures that were made count, failures do not; beyond the budget nothing is started."""
    picture = data_url(encode(photo("coffee").resize((200, 150)), "PNG"))
    blank = data_url(encode(photo("coffee").resize((64, 64)).point(lambda _: 200), "PNG"))
    assert post(guarded, POOR[0], {"image_url": blank}, "/remove_bg").status_code == 400
    for expected in (200, 200, 429):
        answer = post(guarded, POOR[0], {"image_url": picture}, "/remove_bg")
        assert answer.status_code == expected, answer.text
    assert "2 pictures a month" in answer.json()["error"]
    assert int(answer.headers["Retry-After"]) >= 1


def test_requests_under_way_are_bounded() -> None:
    """A key that may have two under way gets a third only when one has ended."""
    key = Key("k", b"", concurrent=2)
    quotas = Quotas(VirtualClock())
    with quotas.request(key):
        with quotas.request(key), pytest.raises(QuotaExceeded), quotas.request(key):
            pass
        with quotas.request(key):
            pass


def test_a_new_minute_begins_at_nothing() -> None:
    """After the window all requests are there again."""
    clock = VirtualClock()
    key = Key("k", b"", requests_per_minute=1)
    quotas = Quotas(clock)
    with quotas.request(key):
        pass
    with pytest.raises(QuotaExceeded) as caught, quotas.request(key):
        pass
    assert caught.value.retry_after == pytest.approx(60.0)
    clock.jump(60.0)
    with quotas.request(key):
        pass


def test_new_keys_are_long_random_and_kept_as_a_hash() -> None:
    """Two keys differ; what is kept is the SHA-256 of the key."""
    (one, one_hash), (two, _) = new_key(), new_key()
    assert one != two
    assert len(one) >= 40
    assert one_hash == "sha256:" + hashlib.sha256(one.encode()).hexdigest()
    ring = Keyring((Key("one", bytes.fromhex(one_hash.removeprefix("sha256:"))),))
    assert ring.find(two) is None
    found = ring.find(one)
    assert found is not None
    assert found.name == "one"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "[[keys]]"),
        ("keys = 3", "[[keys]]"),
        ("[[keys]\n", "TOML"),
        ('[[keys]]\nname = "a b"\n', "name of letters"),
        (f'[[keys]]\nname = "a"\nhash = "{FREE[0]}"\n', "needs a hash"),
        (f'[[keys]]\nname = "a"\nhash = "{DIGEST}"\nimages = 3\n', "known are"),
        (f'[[keys]]\nname = "a"\nhash = "{DIGEST}"\nconcurrent = 0\n', "at least 1"),
        (f'[[keys]]\nname = "a"\nhash = "{DIGEST}"\nconcurrent = true\n', "at least 1"),
        (f'[[keys]]\nname = "a"\nhash = "{DIGEST}"\n' * 2, "twice"),
    ],
    ids=["empty", "no list", "no TOML", "name", "key for hash", "unknown limit", "zero", "true", "twice"],
)
def test_broken_file_of_keys_stops_the_start(tmp_path: Path, text: str, words: str) -> None:
    """Nothing is guessed about who may come in; the sentence shows no key."""
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(KeysInvalidError) as caught:
        read_keys(path)
    assert words in str(caught.value)
    assert FREE[0] not in str(caught.value)
    with pytest.raises(SettingsInvalidError, match="IMGAPI_API_KEYS_FILE"):
        create_app(Settings.model_construct(api_keys_file=path, data_dir=tmp_path))


def test_missing_file_of_keys_stops_the_start(tmp_path: Path) -> None:
    """A path that leads nowhere is no reason to let everybody in."""
    with pytest.raises(KeysInvalidError, match="can't be read"):
        read_keys(tmp_path / "nowhere.toml")


def test_command_makes_a_key_that_the_file_takes(tmp_path: Path) -> None:
    """`imgapi keys new` prints the key, and the table for the file apart from it."""
    result = CliRunner().invoke(cli, ["keys", "new", "shop"])
    assert result.exit_code == 0
    key = result.stdout.strip()
    path = tmp_path / "keys.toml"
    path.write_text(result.stderr)
    found = read_keys(path).find(key)
    assert found is not None
    assert found.name == "shop"


def test_docs_can_be_switched_off(tmp_path: Path) -> None:
    """With `IMGAPI_DOCS=off` neither pages nor document are there."""
    for service in run_service(tmp_path, docs="off"):
        for path in ("/docs", "/redoc", "/openapi.json"):
            answer = service.client.get(path)
            assert answer.status_code == 404
            assert "GET /docs" not in answer.json()["error"]
