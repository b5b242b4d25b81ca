"""Metrics and readiness: what is counted, that nothing secret is in it, and when the service says it is not ready."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import Service, run_service
from house import House
from imgapi.api.keys import new_key
from imgapi.tasks.census import take_census
from imgapi.tasks.housekeeping import UNHEARD_SECONDS
from pictures import draw_photo, encode

ROOT = Path(__file__).parent.parent.parent


def read(answer: httpx.Response) -> dict[str, dict[tuple[str, ...], float]]:
    """Read an answer: samples by name, then by the values of their labels in the order of these."""
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_what_was_done_is_counted(tmp_path: Path, data_url: Callable[..., str]) -> None:
    """A request, the end of its task, its picture and the calls upstream are counted; nothing is under way after."""
    secret = "not-to-be-told"
    for service in run_service(tmp_path):
        url = data_url(encode(draw_photo(520, 520), "png"))
        assert service.post("/fix", {"base_image_url": url, "prompt": secret}).status_code == 200
        assert service.client.get(f"/{secret}").status_code == 404
        answer = service.client.get("/metrics")
        counts = read(answer)
        assert counts["imgapi_requests_total"]["POST", "/fix", "200"] == 1
        assert counts["imgapi_requests_total"]["GET", "unmatched", "404"] == 1
        assert counts["imgapi_request_seconds_count"]["/fix",] == 1
        assert counts["imgapi_tasks_ended_total"]["false", "fix", "succeeded"] == 1
        assert counts["imgapi_pictures_total"]["false", "fix"] == 1
        assert counts["imgapi_upstream_call_seconds_count"]["submit", "200"] == 1
        assert counts["imgapi_upstream_call_seconds_count"]["query", "200"] >= 1
        assert "imgapi_tasks_under_way" not in counts
        assert counts["imgapi_webhooks_pending"][()] == 0
        assert secret not in answer.text
        assert str(tmp_path) not in answer.text


def test_metrics_ask_for_a_key_like_the_rest(tmp_path: Path) -> None:
    """Where keys are given out, so does /metrics; the probes of a load balancer need none."""
    key, digest = new_key()
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[keys]]\nname = "one"\nhash = "{digest}"\n')
    for service in run_service(tmp_path / "data", api_keys_file=keys):
        assert service.client.get("/metrics").status_code == 401
        assert service.client.get("/metrics", headers={"X-API-Key": key}).status_code == 200
        assert service.client.get("/readyz").status_code == 200


def test_every_metric_is_described(service: Service) -> None:
    """The page for operators has a row for each, and none for what isn't there."""
    names = {name.name for name in service.parts.metrics.registry.collect() if name.name.startswith("imgapi_")}
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    described = {line.split("`")[1].split("{")[0] for line in text.splitlines() if line.startswith("| `imgapi_")}
    assert {name.removesuffix("_total") for name in described} == names


def test_a_stopping_service_is_not_ready(tmp_path: Path) -> None:
    """From the moment it is told to stop, /readyz is 503 with a time to come back, in the documented shape."""
    for service in run_service(tmp_path):
        assert service.client.get("/readyz").json() == {"status": "ok"}
        service.parts.runner.stop()
        answer = service.client.get("/readyz")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["code"] == "overloaded"
        assert service.client.get("/livez").status_code == 200


async def test_a_process_that_its_database_has_not_heard_of_is_not_ready() -> None:
    """When beats have failed for a while, the process is no longer current; the next beat makes it so again."""
    house = House()
    await house.open()
    seen = [house.housekeeping.is_current]
    house.clock.jump(UNHEARD_SECONDS)
    seen.append(house.housekeeping.is_current)
    await house.housekeeping._beat()
    seen.append(house.housekeeping.is_current)
    assert seen == [True, False, True]


@pytest.mark.parametrize("status", ["queued", "running"])
async def test_what_is_under_way_is_counted_by_model(status: str) -> None:
    """Tasks that have not ended are counted by operation, model and status, without the account's name."""
    house = House()
    for _ in range(3):
        await house.accept()
    await house.clock.advance(0.1 if status == "queued" else 2.0)
    census = await take_census(house.database)
    assert census.under_way["fix", "wanx2.1-imageedit", status] >= 1
    assert sum(census.under_way.values()) == 3
