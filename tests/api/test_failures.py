"""The table of statuses and the sentences of refusals."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from imgapi import errors
from imgapi.api.failures import STATUSES, explain, status_of
from imgapi.dashscope.client import ModelRetired


def leaves(kind: type[errors.ImgapiError]) -> Iterator[type[errors.ImgapiError]]:
    """The failures that are raised: the ends of the tree, as far as it stands in `errors`."""
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    if not children:
        yield kind
    for child in children:
        yield from leaves(child)


def test_every_failure_has_its_row() -> None:
    """The table has a row for every failure that can be raised, and no other."""
    assert set(STATUSES) == set(leaves(errors.ImgapiError))


def test_callers_faults_are_4xx_and_others_are_not() -> None:
    """Only what the caller can change answers 4xx."""
    for kind, status in STATUSES.items():
        assert (400 <= status < 500) is issubclass(kind, errors.CallerError), kind


def test_codes_are_unique_snake_case() -> None:
    """Programs tell failures apart by their code."""
    codes = [kind.code for kind in STATUSES]
    assert len(codes) == len(set(codes))
    assert all(code.replace("_", "").isalpha() and code == code.lower() for code in codes)


def test_a_failure_without_a_row_is_the_services_own() -> None:
    """What no row names answers 500."""
    assert status_of(ModelRetired("gone")) == 500


class Order(BaseModel, extra="forbid"):
    count: int = 1


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"count": "x" * 500}, "count: must be a whole number, and 500 characters were sent"),
        ({"count": []}, "count: must be a whole number, and a list was sent"),
        ({"count": None}, "count: must be a whole number, and null was sent"),
        ({"count": "\ud800"}, r"count: must be valid text, and '\ud800' was sent"),
        ({"\ud800": 1}, "The name of a field is not valid text; it has half of a surrogate pair."),
        ({"cuont": 1}, "cuont is not a field of this request; did you mean count?"),
    ],
)
def test_sentences_name_field_rule_and_value(body: object, sentence: str) -> None:
    """A refusal is one sentence with the field, the rule and what was sent, however long that was."""
    with pytest.raises(ValidationError) as caught:
        Order.model_validate(body)
    assert explain(caught.value.errors(), ["count"]).sentence == sentence
