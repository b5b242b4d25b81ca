"""A faulty upstream never yields a second submit: one test a fault, with the emulator's record as the judge.

Each runs twice: with the emulator in the service's own process, and with it behind a socket, where cuts are real.
"""

import io
import time
from typing import Any

import httpx
import pytest

from contract.benches import KEY, POLL, SPEED, SUBMIT, Bench, assert_refused
from imgapi.dashscope.breaker import FIRST_PAUSE_SECONDS

CERTAIN: dict[str, dict[str, Any]] = {
    "429 throttled": {"status": 429, "code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"},
    "429 burst": {"status": 429, "code": "Throttling.BurstRate", "message": "Request rate increased too quickly"},
    "503 no capacity": {"status": 503, "code": "ModelUnavailable", "message": "busy"},
}


@pytest.mark.parametrize("fault", CERTAIN)
def test_refusal_that_accepted_nothing_is_sent_again(bench: Bench, picture: str, fault: str) -> None:
    """Throttling and missing capacity accept nothing: the third try succeeds, and one task exists."""
    bench.script(SUBMIT, CERTAIN[fault], times=2)
    assert bench.fix(picture).status_code == 200
    assert (bench.submits, bench.created) == (3, 1)


def test_endless_throttling_ends_in_time(bench: Bench, picture: str) -> None:
    """After three tries the caller is told when to come back; nothing exists."""
    bench.script(SUBMIT, CERTAIN["429 throttled"], times=None)
    answer = bench.fix(picture)
    assert_refused(answer, 500, "upstream_throttled")
    assert int(answer.headers["retry-after"]) >= 1
    assert (bench.submits, bench.created) == (3, 0)


FINAL: dict[str, tuple[dict[str, Any], int, str]] = {
    "429 unpaid": ({"status": 429, "code": "PrepaidBillOverdue", "message": "overdue"}, 500, "upstream_misconfigured"),
    "429 free quota": (
        {"status": 429, "code": "Throttling.AllocationQuota", "message": "Free allocated quota exceeded."},
        500,
        "upstream_misconfigured",
    ),
    "401": (
        {"status": 401, "code": "InvalidApiKey", "message": f"Bad key {KEY}"},
        500,
        "upstream_misconfigured",
    ),
    "arrears": ({"status": 400, "code": "Arrearage", "message": "Access denied"}, 500, "upstream_misconfigured"),
    "inspection": (
        {"status": 400, "code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."},
        400,
        "content_refused",
    ),
    "bad value": (
        {"status": 400, "code": "InvalidParameter", "message": "see https://a.example/?k"},
        400,
        "invalid_parameter",
    ),
    "no download": (
        {"status": 400, "code": "InvalidURL.Timeout", "message": "timeout"},
        400,
        "source_unreachable",
    ),
}


@pytest.mark.parametrize("fault", FINAL)
def test_final_refusal_is_not_sent_again(bench: Bench, picture: str, fault: str) -> None:
    """What no repetition can mend is tried once, and told to whom it concerns."""
    do, status, code = FINAL[fault]
    bench.script(SUBMIT, do, times=None)
    assert_refused(bench.fix(picture), status, code)
    assert (bench.submits, bench.created) == (1, 0)


@pytest.mark.parametrize("fault", ["429 unpaid", "401", "arrears"])
def test_refused_account_is_not_asked_again_at_once(bench: Bench, picture: str, fault: str) -> None:
    """After one refusal of the account nothing is sent for a while; every caller is told at once."""
    do, status, code = FINAL[fault]
    bench.script(SUBMIT, do, times=None)
    begun = time.monotonic()
    for _ in range(4):
        assert_refused(bench.fix(picture), status, code)
    # On a busy machine this may take longer than the pause, after which one probe goes.
    probes = int((time.monotonic() - begun) * SPEED / FIRST_PAUSE_SECONDS)
    assert 1 <= bench.submits <= 1 + probes
    assert bench.created == 0


AMBIGUOUS: dict[str, tuple[dict[str, Any], int]] = {
    "500": ({"status": 500, "code": "InternalError", "message": "internal"}, 0),
    "500 behind an acceptance": ({"status": 500, "code": "InternalError", "accept_anyway": True}, 1),
    "502 page": ({"status": 502, "html": True}, 0),
    "502 page behind an acceptance": ({"status": 502, "html": True, "accept_anyway": True}, 1),
    "503 page": ({"status": 503, "html": True}, 0),
    "504 page behind an acceptance": ({"status": 504, "html": True, "accept_anyway": True}, 1),
    "cut while sending": ({"cut": "sending"}, 0),
    "cut before acceptance": ({"cut": "before"}, 0),
    "lost reply": ({"cut": "after"}, 1),
    "reply cut short": ({"cut_after_bytes": 20, "accept_anyway": True}, 1),
    "reply shorter than announced": ({"short_body": True, "accept_anyway": True}, 1),
    "200 page": ({"status": 200, "html": True, "accept_anyway": True}, 1),
    "200 bad JSON": ({"status": 200, "bad_json": True, "accept_anyway": True}, 1),
    "200 null": ({"status": 200, "body": "null", "accept_anyway": True}, 1),
    "200 list": ({"status": 200, "body": "[]", "accept_anyway": True}, 1),
    "200 without an id": ({"status": 200, "body": '{"output": {"task_status": "PENDING"}}', "accept_anyway": True}, 1),
}


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_submit_of_unknown_fate_is_never_repeated(bench: Bench, picture: str, fault: str) -> None:
    """Once a submit may have been received it is lost openly: one submit, and the caller knows."""
    do, created = AMBIGUOUS[fault]
    bench.script(SUBMIT, do)
    assert_refused(bench.fix(picture), 500, "task_lost")
    assert bench.submits <= 1
    assert bench.created == created


def test_slow_reply_is_waited_for(bench: Bench, picture: str) -> None:
    """A slow acceptance is no fault: one submit, one task."""
    bench.script(SUBMIT, {"delay_seconds": 0.3})
    assert bench.fix(picture).status_code == 200
    assert (bench.submits, bench.created) == (1, 1)


POLL_FAULTS: dict[str, dict[str, Any]] = {
    "429": {"status": 429, "code": "Throttling.RateQuota"},
    "500": {"status": 500, "code": "InternalError"},
    "503": {"status": 503, "code": "ModelUnavailable"},
    "page": {"status": 502, "html": True},
    "bad JSON": {"status": 200, "bad_json": True},
    "cut": {"cut": "before"},
    "reply cut short": {"cut_after_bytes": 10},
    "unheard status": {"task_status": "THINKING"},
    "suspended": {"task_status": "SUSPENDED"},
    "not yet visible": {"task_status": "UNKNOWN"},
    "404": {"status": 404, "code": "NotFound"},
    "slow": {"delay_seconds": 0.2},
}


@pytest.mark.parametrize("fault", POLL_FAULTS)
def test_faults_while_polling_are_survived(bench: Bench, picture: str, fault: str) -> None:
    """Nothing that a look tells wrongly ends a task: it is found again, and never submitted again."""
    bench.script(POLL, POLL_FAULTS[fault], times=2)
    answer = bench.fix(picture)
    assert answer.status_code == 200, answer.text
    assert (bench.submits, bench.created) == (1, 1)


def test_task_that_stays_unknown_is_lost_openly(bench: Bench, picture: str) -> None:
    """UNKNOWN beyond the first seconds is the end, and no reason to submit again."""
    bench.script(POLL, {"task_status": "UNKNOWN"}, times=None)
    assert_refused(bench.fix(picture), 500, "task_lost")
    assert (bench.submits, bench.created) == (1, 1)


ENDINGS = {
    "InternalError.Timeout": (500, "edit_failed"),
    "InternalError.Algo": (500, "edit_failed"),
    "DataInspectionFailed": (400, "content_refused"),
    "InvalidParameter.FileDownload": (400, "source_unreachable"),
    "BadRequest.UnsupportedFileFormat": (400, "unreadable_image"),
    "NobodyKnows": (500, "edit_failed"),
}


@pytest.mark.parametrize("code", ENDINGS)
def test_failed_task_is_told_by_its_code(bench: Bench, picture: str, code: str) -> None:
    """A FAILED task is an HTTP 200 upstream and an error here, by whose fault it is; it is not tried again."""
    bench.script(SUBMIT, {"fail": code})
    status, ours = ENDINGS[code]
    assert_refused(bench.fix(picture), status, ours)
    assert (bench.submits, bench.created) == (1, 1)


def test_task_that_runs_for_ever_is_given_up_and_named(impatient: Bench, picture: str) -> None:
    """At the deadline the caller gets the task's ids; a running task is not canceled."""
    bench = impatient
    bench.script(SUBMIT, {"hold": "RUNNING"})
    answer = bench.fix(picture)
    assert_refused(answer, 500, "still_running")
    assert answer.json()["upstream_task_id"]
    assert (bench.submits, bench.emulator.ledger.call_counts["cancel"]) == (1, 0)


def test_task_that_never_begins_is_canceled(impatient: Bench, picture: str) -> None:
    """At the deadline a task that still waits upstream is canceled, so that nothing will be paid."""
    bench = impatient
    bench.script(SUBMIT, {"hold": "PENDING"})
    assert_refused(bench.fix(picture), 500, "edit_failed")
    assert (bench.submits, bench.emulator.ledger.call_counts["cancel"]) == (1, 1)


def test_partial_failure_keeps_what_was_made(bench: Bench, picture: str) -> None:
    """Three pictures and one failure are a success with three links and true metrics."""
    bench.script(SUBMIT, {"fail_items": [2]})
    body = {"base_image_url": picture, "ref_image_url": picture, "n": 4}
    answer = bench.edit("/change_bg", body | {"base_image_url": cut_out_url()})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["results"]) == 3
    assert answer.json()["task_metrics"] == {"TOTAL": 4, "SUCCEEDED": 3, "FAILED": 1}
    assert (bench.submits, bench.emulator.ledger.images_billed) == (1, 3)


def cut_out_url() -> str:
    """A drawn RGBA cut-out as a data URL."""
    import base64

    from pictures import draw_cutout

    buffer = io.BytesIO()
    draw_cutout(640, 560).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def test_retired_model_gives_way_to_the_next(bench: Bench, picture: str) -> None:
    """A refusal that means "retired" moves to the successor, and the next request asks the successor at once."""
    bench.script(SUBMIT | {"model": "wanx2.1-imageedit"}, {"retired": True}, times=None)
    first, second = bench.fix(picture), bench.fix(picture)
    assert (first.status_code, second.status_code) == (200, 200), first.text
    ledger = bench.emulator.ledger
    assert [record.model for record in ledger.of("submit")] == ["wanx2.1-imageedit", "wan2.7-image", "wan2.7-image"]
    assert dict(ledger.accepted) == {"wan2.7-image": 2}


def test_every_model_retired_is_the_operators_to_mend(bench: Bench, picture: str) -> None:
    """When no model is left the caller is told that it is not their fault; nothing exists."""
    bench.script(SUBMIT, {"retired": True}, times=None)
    assert_refused(bench.fix(picture), 500, "upstream_misconfigured")
    assert (bench.submits, bench.created) == (3, 0)


def test_expired_result_link_is_passed_on(bench: Bench, picture: str) -> None:
    """Without storage of our own the upstream's link is answered as it is; an expired one is 403 there."""
    bench.script(SUBMIT, {"expire_result": True})
    answer = bench.fix(picture)
    assert answer.status_code == 200
    assert httpx.get(answer.json()["results"][0]["url"], trust_env=False).status_code == 403
    assert (bench.submits, bench.created) == (1, 1)
