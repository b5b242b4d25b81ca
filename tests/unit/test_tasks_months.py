"""Months: what the edits of an API key may make, taken before and given back after, once."""

import asyncio

import pytest

from fakes import answers, refuses
from house import URL, House
from imgapi.contract.edits import ChangeBgRequest
from imgapi.errors import EditFailed, ImgapiError, QuotaExceeded
from imgapi.tasks.record import Payer, Terms

THREE = ChangeBgRequest(base_image_url=URL, ref_image_url=URL, n=3)
TERMS = Terms(Payer("shop", 4))


def request(pictures: int) -> ChangeBgRequest:
    """Ask for some pictures."""
    return THREE.model_copy(update={"n": pictures})


async def left_of(house: House) -> int:
    """Count what the month still has, by taking it one by one."""
    left = 0
    while left < 9:
        try:
            await house.accept("change_bg", request(1), TERMS)
        except QuotaExceeded:
            return left
        left += 1
    return left


@pytest.mark.parametrize(
    ("pictures", "left"),
    [(1, 3), (0, 4), (3, 1)],
    ids=["one made", "failed", "all made"],
)
async def test_what_was_not_made_is_given_back(pictures: int, left: int) -> None:
    """Of three wanted pictures those that were made stay counted; a clear failure gives all back."""
    house = House()
    links = [{"url": f"{URL}?{number}"} for number in range(pictures)]
    failed = [{"code": "InternalError.Algo", "message": "no"}] * (3 - pictures)
    house.upstream.output = {"results": links + failed}
    outcome = await asyncio.gather(house.run("change_bg", THREE, TERMS), return_exceptions=True)
    assert isinstance(outcome[0], EditFailed) is (pictures == 0)
    assert await left_of(house) == left


async def test_what_was_perhaps_made_stays_counted() -> None:
    """A submit of unknown fate gives nothing back."""
    house = House()
    house.upstream.scripts["wanx-background-generation-v2"] = [answers(502, content=b"<html>")]
    with pytest.raises(ImgapiError):
        await house.run("change_bg", THREE, TERMS)
    assert await left_of(house) == 1


async def test_a_refused_submit_gives_back() -> None:
    """What the upstream refuses costs nothing."""
    house = House()
    house.upstream.scripts["wanx-background-generation-v2"] = [refuses(400, "DataInspectionFailed")]
    with pytest.raises(ImgapiError):
        await house.run("change_bg", THREE, TERMS)
    assert await left_of(house) == 4


async def test_a_new_month_begins_at_nothing() -> None:
    """Beyond the budget the answer tells how long the month still is; the next one (UTC) is fresh."""
    house = House()
    await house.accept("change_bg", request(4), TERMS)
    with pytest.raises(QuotaExceeded) as caught:
        await house.accept("change_bg", request(1), TERMS)
    assert "4 pictures a month" in caught.value.message
    assert 0 < caught.value.retry_after <= 31 * 86400
    house.clock.jump(caught.value.retry_after + 1)
    await house.accept("change_bg", request(4), TERMS)


async def test_callers_without_a_key_have_no_months() -> None:
    """Where no key is asked for nothing is counted."""
    house = House()
    for _ in range(5):
        await house.accept("change_bg", THREE)
