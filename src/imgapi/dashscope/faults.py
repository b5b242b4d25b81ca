"""What an upstream error code means for us, in one table (docs/upstream.md#errors)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from imgapi.errors import (
    ContentRefused,
    EditFailed,
    ImgapiError,
    InvalidParameter,
    PictureUnsuitable,
    SourceUnreachable,
    UnreadableImage,
    UpstreamMisconfigured,
    UpstreamThrottled,
    UpstreamUnavailable,
)


class FaultKind(Enum):
    """Whose fault it is, which decides the answer to the caller and whether a submit may be sent again."""

    PARAMETER = "the caller's: a value the model refuses"
    PICTURE = "the caller's: a picture the model can't read"
    UNSUITABLE = "the caller's: a picture the model can read and can't work with"
    SOURCE = "the caller's: a picture the upstream could not download"
    CONTENT = "the caller's: refused by content inspection"
    OPERATOR = "the operator's: key, account, quota or wiring"
    THROTTLED = "transient: nothing accepted, slow down"
    UNAVAILABLE = "transient: nothing accepted, no capacity"
    RETIRED = "the model is gone or unknown; nothing accepted, nothing paid"
    INTERNAL = "the upstream's own failure"


@dataclass(frozen=True, slots=True)
class Fault:
    """An upstream error as we understand it.

    Args:
        kind: Whose fault it is.
        sentence: What a caller can do about it.
        code: The upstream's code, for the log.
        message: The upstream's message, for the log; it may carry links and is never shown as it is.
    """

    kind: FaultKind
    sentence: str
    code: str = ""
    message: str = ""

    @property
    def detail(self) -> str:
        """The upstream's own words for the log, with the query of any link removed."""
        return f"{self.code}: {plain_words(self.message)}"


_P, _I, _S, _C, _O = FaultKind.PARAMETER, FaultKind.PICTURE, FaultKind.SOURCE, FaultKind.CONTENT, FaultKind.OPERATOR
_N = FaultKind.UNSUITABLE
_T, _U, _R, _X = FaultKind.THROTTLED, FaultKind.UNAVAILABLE, FaultKind.RETIRED, FaultKind.INTERNAL

_OPERATOR = "This service can't use its upstream at the moment; its operator has to mend the account, key or quota."
_THROTTLED = "The upstream is busy; nothing was started, so try again a little later."
_INTERNAL = "The model failed on this picture, which isn't billed; try again or send another"
_DOWNLOAD = (
    "The upstream could not download a picture of this request; check that the link is public and answers quickly."
)
_UNREADABLE = "The model could not read a picture of this request; send a complete JPEG or PNG."
_REFUSED = "The upstream's content inspection refused this request; send other pictures or other words."

# These concern the whole account; any other fault of the operator's may concern one model only.
ACCOUNT_CODES = frozenset(
    {
        *("InvalidApiKey", "NOT AUTHORIZED", "Arrearage", "CommodityNotPurchased"),
        *("PrepaidBillOverdue", "PostpaidBillOverdue", "WorkSpaceNotFound", "Workspace.AccessDenied"),
    }
)

# code, or the beginning of one when it ends in ".": the longest match counts.
TABLE: dict[str, Fault] = {
    "InvalidApiKey": Fault(_O, _OPERATOR),
    "NOT AUTHORIZED": Fault(_O, _OPERATOR),
    "AccessDenied": Fault(_O, _OPERATOR),
    "AccessDenied.": Fault(_O, _OPERATOR),
    "Model.AccessDenied": Fault(_O, _OPERATOR),
    "App.AccessDenied": Fault(_O, _OPERATOR),
    "Workspace.AccessDenied": Fault(_O, _OPERATOR),
    "Endpoint.AccessDenied": Fault(_R, _OPERATOR),
    "AllocationQuota.": Fault(_O, _OPERATOR),
    "ModelNotFound": Fault(_R, _OPERATOR),
    "WorkSpaceNotFound": Fault(_O, _OPERATOR),
    "NotFound": Fault(_O, _OPERATOR),
    "Conflict": Fault(_O, _OPERATOR),
    "Arrearage": Fault(_O, _OPERATOR),
    "CommodityNotPurchased": Fault(_O, _OPERATOR),
    "PrepaidBillOverdue": Fault(_O, _OPERATOR),
    "PostpaidBillOverdue": Fault(_O, _OPERATOR),
    "UnsupportedOperation": Fault(_O, _OPERATOR),
    "invalid_parameter_error": Fault(_O, _OPERATOR),
    "InvalidParameter": Fault(_P, "The model refused a value of this request"),
    "InvalidParameter.": Fault(_P, "The model refused a value of this request"),
    "InvalidParameter.FileDownload": Fault(_S, _DOWNLOAD),
    "InvalidParameter.ImageFormat": Fault(_I, _UNREADABLE),
    "InvalidParameter.ImageContent": Fault(_N, "The model can't work with what this picture shows"),
    "InvalidParameter.DataInspection": Fault(_I, _UNREADABLE),
    "BadRequest.": Fault(_P, "The model refused this request"),
    "BadRequest.TooLarge": Fault(_N, "The request is too large for the model; send smaller pictures."),
    "BadRequest.InputDownloadFailed": Fault(_S, _DOWNLOAD),
    "BadRequest.ResourceNotExist": Fault(_S, _DOWNLOAD),
    "BadRequest.UnsupportedFileFormat": Fault(_I, _UNREADABLE),
    "InvalidURL": Fault(
        _S, "The upstream could not read a picture behind a link of this request; send JPEG, PNG, BMP or WebP."
    ),
    "InvalidURL.": Fault(_S, _DOWNLOAD),
    "DataInspectionFailed": Fault(_C, _REFUSED),
    "IPInfringementSuspect": Fault(
        _C, "The upstream suspects that this request infringes someone's rights; send other pictures."
    ),
    "InvalidPerson": Fault(
        _N, "person_image_url must show exactly one person, whole and facing the camera; no one or several were found."
    ),
    "InvalidGarment": Fault(
        _N, "No garment was found; top_garment_url and bottom_garment_url must each show one garment laid flat."
    ),
    "InvalidInputLength": Fault(
        _N, "A picture is outside the model's limits: each side 150 to 4096 px, the file 5 KB to 5 MB."
    ),
    "InvalidImageResolution": Fault(_N, "A picture's size is outside the model's limits; send it larger or smaller."),
    "InvalidImageFormat": Fault(_I, _UNREADABLE),
    "InvalidImage.": Fault(_I, _UNREADABLE),
    "InvalidFile.": Fault(_I, _UNREADABLE),
    "Throttling": Fault(_T, _THROTTLED),
    "Throttling.": Fault(_T, _THROTTLED),
    "InternalError": Fault(_X, _INTERNAL),
    "InternalError.": Fault(_X, _INTERNAL),
    "SystemError": Fault(_X, _INTERNAL),
    "ModelServiceFailed": Fault(_X, _INTERNAL),
    "RequestTimeOut": Fault(_X, _INTERNAL),
    "ModelServingError": Fault(_U, "The model has no capacity at the moment; nothing was started, so try again later."),
    "ModelUnavailable": Fault(_U, "The model has no capacity at the moment; nothing was started, so try again later."),
}
_UNKNOWN = Fault(_X, "The upstream failed in a way that imgapi does not know")

_LINK = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+")
_SHOWN_CHARACTERS = 200


def plain_words(message: str) -> str:
    """Return an upstream message fit to be read by anyone: one line, no links, at most 200 characters."""
    return " ".join(_LINK.sub("[link]", message).split())[:_SHOWN_CHARACTERS]


def classify(code: str, message: str) -> Fault:
    """Find what an upstream error means, by its code and, where codes are ambiguous, by its message."""
    fault = _look_up(code)
    kind, sentence = fault.kind, fault.sentence
    lower = message.lower()
    if code == "InvalidParameter" and "model not exist" in lower:
        kind, sentence = _R, _OPERATOR
    elif code == "Throttling.AllocationQuota" and "free" in lower:
        kind, sentence = _O, _OPERATOR
    elif code == "InvalidParameter.DataInspection" and (
        "download" in lower or "find" in lower or "authorization" in lower
    ):
        kind, sentence = _S, _DOWNLOAD
    elif code == "InvalidParameter.DataInspection" and "size" in lower:
        kind, sentence = _N, "The size of a picture of this request is not supported; send it larger or smaller."
    elif kind in {_P, _X} or code == "InvalidParameter.ImageContent":
        words = plain_words(message)
        sentence = f"{sentence}: {words}" if words else f"{sentence}."
    return Fault(kind, sentence, code, message)


def _look_up(code: str) -> Fault:
    if code in TABLE:
        return TABLE[code]
    stems = [stem for stem in TABLE if stem.endswith(".") and code.startswith(stem)]
    return TABLE[max(stems, key=len)] if stems else _UNKNOWN


_ERRORS: Mapping[FaultKind, type[ImgapiError]] = {
    FaultKind.PARAMETER: InvalidParameter,
    FaultKind.PICTURE: UnreadableImage,
    FaultKind.UNSUITABLE: PictureUnsuitable,
    FaultKind.SOURCE: SourceUnreachable,
    FaultKind.CONTENT: ContentRefused,
    FaultKind.OPERATOR: UpstreamMisconfigured,
    FaultKind.THROTTLED: UpstreamThrottled,
    FaultKind.UNAVAILABLE: UpstreamUnavailable,
    FaultKind.RETIRED: UpstreamMisconfigured,
    FaultKind.INTERNAL: EditFailed,
}


def to_error(fault: Fault) -> ImgapiError:
    """Turn a fault into the failure that the caller is told; the upstream's own words go to the log."""
    return _ERRORS[fault.kind](fault.sentence, detail=fault.detail)
