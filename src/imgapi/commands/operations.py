"""The nine operations as commands and tools see them, read off the public request models."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from imgapi.api.failures import explain
from imgapi.api.forms import FILE_FIELD
from imgapi.app import UTILITIES
from imgapi.contract.fields import Request
from imgapi.contract.utils import ConvertRequest, PhotoResizeUrlRequest, ResizeRequest
from imgapi.parts.tasks import REQUESTS

CONVERT, RESIZE, RESIZE_URL = "convert_to_png", "photo_resize", "photo_resize_url"
_UTILITY_REQUESTS: Mapping[str, type[Request]] = {
    RESIZE_URL: PhotoResizeUrlRequest,
    RESIZE: ResizeRequest,
    CONVERT: ConvertRequest,
}
# The picture that is worked on, where that is not the first of a request.
_WORKED_ON: Mapping[str, str] = {"change_cloth": "person_image_url"}
_PICTURE_ENDING = "_url"
# Any text will do for a picture while the other fields are checked.
_SOME_PICTURE = "data:image/png;base64,"


@dataclass(frozen=True, slots=True)
class Operation:
    """One of the nine.

    Args:
        name: As in its path.
        path: Where requests for it go.
        summary: One line for people.
        request: Its public fields; an uploaded file is none of them.
        picture: The public field of the picture that is worked on.
        is_edit: Whether it is a task that may be paid for, rather than work done at once.
    """

    name: str
    path: str
    summary: str
    request: type[Request]
    picture: str
    is_edit: bool

    @property
    def command(self) -> str:
        """Its name on a command line."""
        return self.name.replace("_", "-")

    @property
    def takes_form(self) -> bool:
        """Whether its picture is sent as a file in a form."""
        return self.picture == FILE_FIELD

    @property
    def fields(self) -> Mapping[str, FieldInfo]:
        """Its public fields besides the picture that is worked on."""
        return {name: field for name, field in self.request.model_fields.items() if name != self.picture}

    @property
    def other_pictures(self) -> tuple[str, ...]:
        """Its further fields that hold pictures."""
        return tuple(name for name in self.fields if is_picture(name))

    def find_mistake(self, given: Mapping[str, object]) -> str | None:
        """Say in one sentence what is wrong with the fields of a request; None when nothing is.

        Args:
            given: Public fields and their values; the picture that is worked on may be missing.
        """
        whole = dict(given)
        if self.picture in self.request.model_fields:
            whole.setdefault(self.picture, _SOME_PICTURE)
        try:
            self.request.model_validate(whole)
        except ValidationError as exc:
            return explain(exc.errors(), tuple(self.request.model_fields)).sentence
        return None


def is_picture(field: str) -> bool:
    """Whether a public field holds a picture."""
    return field == FILE_FIELD or field.endswith(_PICTURE_ENDING)


def _edit(name: str, request: type[Request]) -> Operation:
    picture = _WORKED_ON.get(name) or next(field for field in request.model_fields if is_picture(field))
    return Operation(name, f"/{name}", _sentence(request.__doc__ or ""), request, picture, is_edit=True)


def _utility(name: str, request: type[Request]) -> Operation:
    picture = next((field for field in request.model_fields if is_picture(field)), FILE_FIELD)
    return Operation(name, f"/utils/{name}", _sentence(UTILITIES[name]), request, picture, is_edit=False)


def _sentence(text: str) -> str:
    return f"{text.strip().removesuffix('.')}."


OPERATIONS: Mapping[str, Operation] = {
    **{name: _edit(name, request) for name, request in REQUESTS.items()},
    **{name: _utility(name, request) for name, request in _UTILITY_REQUESTS.items()},
}
