"""The circuit breaker: what can only fail is not tried, and one probe finds out when it can succeed again."""

import pytest

from fakes import VirtualClock
from imgapi.dashscope.breaker import UNREACHED_IN_A_ROW, Breaker
from imgapi.errors import ImgapiError, UpstreamMisconfigured, UpstreamUnavailable

UNREACHED = UpstreamUnavailable("The upstream can't be reached.")
REFUSED = UpstreamMisconfigured("The operator has to mend the key.")


class Scene:
    """A breaker on virtual time, and what it announced."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.events: list[tuple[str, str]] = []
        self.breaker = Breaker(self.clock, lambda event, subject: self.events.append((event, subject)))

    def is_let_through(self, model: str = "m") -> bool:
        """Try a request that learns nothing."""
        try:
            with self.breaker.attempt(model):
                return True
        except ImgapiError:
            return False


def test_refused_account_refuses_every_model_until_a_probe_succeeds() -> None:
    """One refusal of the key is enough; after the pause a probe goes, and its success lets all through."""
    scene = Scene()
    scene.breaker.refused(REFUSED, None)
    with pytest.raises(UpstreamMisconfigured, match="mend the key"), scene.breaker.attempt("other"):
        pass
    with pytest.raises(UpstreamMisconfigured):
        scene.breaker.refuse_if_open("m")
    scene.clock.jump(10.1)
    with scene.breaker.attempt("m"):
        assert not scene.is_let_through()
        scene.breaker.refuse_if_open("m")
        scene.breaker.admitted("m")
    assert scene.is_let_through()
    assert scene.events == [("circuit opened", "account"), ("circuit closed", "account")]


def test_refused_model_leaves_the_others_alone() -> None:
    """What the account may not use of one model says nothing of the rest."""
    scene = Scene()
    scene.breaker.refused(REFUSED, "m")
    assert not scene.is_let_through("m")
    assert scene.is_let_through("other")


def test_host_opens_after_five_failures_in_a_row() -> None:
    """Four failed connections and an answer are ordinary life; five in a row are not."""
    scene = Scene()
    for _ in range(UNREACHED_IN_A_ROW - 1):
        scene.breaker.unreached(UNREACHED)
    scene.breaker.reached()
    for _ in range(UNREACHED_IN_A_ROW - 1):
        scene.breaker.unreached(UNREACHED)
    assert scene.is_let_through()
    scene.breaker.unreached(UNREACHED)
    assert scene.breaker.is_open("m")
    with pytest.raises(UpstreamUnavailable), scene.breaker.attempt("m"):
        pass


def test_pauses_grow_and_begin_anew_after_a_success() -> None:
    """Probes go after 10, 20, 40, 60, 60 s; a success resets the pause."""
    scene = Scene()
    scene.breaker.refused(REFUSED, None)
    for pause in (10, 20, 40, 60, 60):
        scene.clock.jump(pause - 0.1)
        assert not scene.is_let_through()
        scene.clock.jump(0.2)
        with scene.breaker.attempt("m"):
            scene.breaker.refused(REFUSED, None)
    scene.clock.jump(60.1)
    with scene.breaker.attempt("m"):
        scene.breaker.admitted("m")
    scene.breaker.refused(REFUSED, None)
    scene.clock.jump(10.1)
    assert scene.is_let_through()


def test_late_failures_of_the_same_outage_do_not_lengthen_the_pause() -> None:
    """Ten requests that were under way when the circuit opened count as one."""
    scene = Scene()
    for _ in range(10):
        scene.breaker.refused(REFUSED, None)
    scene.clock.jump(10.1)
    assert scene.is_let_through()


def test_probe_that_learns_nothing_makes_way_for_the_next() -> None:
    """A probe whose caller sent an unusable picture never reached the upstream; the next request probes."""
    scene = Scene()
    scene.breaker.refused(REFUSED, None)
    scene.clock.jump(10.1)
    assert scene.is_let_through()
    assert scene.is_let_through()
