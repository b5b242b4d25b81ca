"""The OpenAPI document held against the running service by Schemathesis: every check, the valid, the invalid, links."""

import base64
import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from PIL import Image
from schemathesis import GenerationMode

import imgapi
from conftest import Service, run_service
from imgapi.app import create_app
from imgapi.settings import Settings
from pictures import encode

PATHS = [
    (method.upper(), path)
    for path, methods in create_app(Settings.model_construct()).openapi()["paths"].items()
    for method in methods
]
SAMPLES = Path(imgapi.__file__).parent / "api" / "samples"
FIELDS = {
    "top_garment_url": "shirt",
    "bottom_garment_url": "trousers",
    "person_image_url": "person",
    "base_image_url": "product",
    "ref_image_url": "landscape",
}
# Where the watermark of the sample is: half of what the document's example says.
MARK = (340, 293, 135, 20)
SCALES = ("top_scale", "bottom_scale", "left_scale", "right_scale")
# Enlarging far is a test of patience.
MOST_MIN_DIM = 1024
NUMBERS = itertools.count(1)
# An edit paints; the other operations only look.
EDIT_EXAMPLES, EXAMPLES = 2, 20
CHAINS, CHAIN_STEPS = 5, 6
COMMON: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(scope="module")
def secluded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with no port open to callers' URLs, so that generated ones lead nowhere."""
    yield from run_service(tmp_path_factory.mktemp("secluded"), source_ports=())


@cache
def sample(field: str) -> bytes:
    """The picture that a field is meant for, at half its size: edits take a quarter of the time."""
    with Image.open(SAMPLES / f"{FIELDS.get(field, 'watermarked')}.jpg") as opened:
        picture = opened.reduce(2)
    if field != "mask_url":
        return encode(picture, "jpeg")
    x, y, width, height = MARK
    mask = Image.new("L", picture.size)
    mask.paste(255, (x, y, x + width, y + height))
    return encode(mask, "png")


def load(service: Service, *, with_pictures: bool) -> Any:
    """Load the document of a service.

    Args:
        service: It.
        with_pictures: Whether generated requests have what no schema can ask for: real pictures, limits that agree, no
            receiver or page that isn't there, a key that is new. Such a request has to be accepted.
    """
    document = schemathesis.openapi.from_url(f"{service.address}/openapi.json")
    if with_pictures:
        for hook in (map_body, map_headers, map_query):
            document.hook(hook)
    return document


def map_body(_context: Any, body: Any) -> Any:
    """Give a body pictures, and limits that agree."""
    if not isinstance(body, dict):
        return body
    made = dict(body)
    for name, value in body.items():
        if name in {"image", "file"}:
            made[name] = sample(name)
        elif name.endswith("_url") and value is not None:
            kind = "png" if name == "mask_url" else "jpeg"
            made[name] = f"data:image/{kind};base64,{base64.b64encode(sample(name)).decode()}"
    if "min_dim" in made:
        made["min_dim"] = min(made["min_dim"], made.get("max_dim", MOST_MIN_DIM), MOST_MIN_DIM)
    if all(made.get(name) == 1 for name in SCALES):
        made[SCALES[0]] = 1.25
    if made.get("boxes"):
        made["boxes"] = [list(MARK)]
    return made


def map_headers(_context: Any, headers: Any) -> Any:
    """Leave out receivers that aren't there, take each key once, and understand preferences."""
    made = {name: value for name, value in (headers or {}).items() if name != "imgapi-webhook"}
    if "idempotency-key" in made:
        made["idempotency-key"] = f"key {next(NUMBERS)}"
    if "prefer" in made:
        made["prefer"] = "respond-async"
    return made


def map_query(_context: Any, query: Any) -> Any:
    """Leave out cursors: they come from another answer."""
    return {name: value for name, value in (query or {}).items() if name != "cursor"}


def loses_a_field(case: Any) -> bool:
    """Tell whether a form has an empty list for a field, which is not sent at all: what is meant as wrong is right."""
    return case.media_type == "multipart/form-data" and isinstance(case.body, dict) and [] in case.body.values()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_service_does_what_its_document_says(secluded: Service, method: str, path: str, mode: GenerationMode) -> None:
    """No answer is undocumented, of another shape, or a server error; the valid is accepted, the forbidden refused."""
    document = load(secluded, with_pictures=mode is GenerationMode.POSITIVE)
    strategy = document[path][method].as_strategy(generation_mode=mode)
    is_edit = mode is GenerationMode.POSITIVE and document.raw_schema["paths"][path][method.lower()]["tags"] == [
        "edits"
    ]

    @given(strategy)
    @settings(max_examples=EDIT_EXAMPLES if is_edit else EXAMPLES, phases=[Phase.explicit, Phase.generate], **COMMON)
    def hold(case: Any) -> None:
        assume(not loses_a_field(case))
        case.call_and_validate(timeout=30)

    try:
        hold()
    except Unsatisfiable:
        # There is nothing to send that the document forbids.
        assert mode is GenerationMode.NEGATIVE
        assert "requestBody" not in document.raw_schema["paths"][path][method.lower()]


def test_addresses_that_lead_nowhere_are_refused_as_documented(secluded: Service) -> None:
    """A valid URL behind which there is no picture is a documented refusal, whatever it looks like."""
    document = load(secluded, with_pictures=False)

    @given(document["/utils/photo_resize_url"]["POST"].as_strategy())
    @settings(max_examples=EXAMPLES, phases=[Phase.generate], **COMMON)
    def hold(case: Any) -> None:
        answer = case.call(timeout=30)
        # A few lead to this service's own samples.
        assert answer.status_code in {200, 400}
        case.validate_response(answer, excluded_checks=[schemathesis.checks.positive_data_acceptance])

    hold()


def test_what_follows_an_answer_holds(secluded: Service) -> None:
    """Requests that follow the document's links from answer to answer hold all checks, deleted tasks stay deleted."""
    document = load(secluded, with_pictures=True)
    # What is forbidden leads to no answer that could be followed.
    document.config.generation.update(modes=[GenerationMode.POSITIVE])
    machine = document.as_state_machine()
    machine.run(settings=settings(max_examples=CHAINS, stateful_step_count=CHAIN_STEPS, **COMMON))
