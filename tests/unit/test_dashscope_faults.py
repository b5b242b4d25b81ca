"""The fault table: every documented code has one meaning, and what a caller reads of it is safe and useful."""

import pytest

from imgapi.dashscope.faults import FaultKind, classify, plain_words, to_error
from imgapi.errors import CallerError, ContentRefused, UpstreamError, UpstreamMisconfigured

K = FaultKind
# Every row of the documented error table (docs/upstream.md#errors), with a typical message.
DOCUMENTED = [
    ("InvalidApiKey", "Invalid API-key provided.", K.OPERATOR),
    ("NOT AUTHORIZED", "", K.OPERATOR),
    ("AccessDenied", "current user api does not support synchronous calls.", K.OPERATOR),
    ("AccessDenied", "Invalid according to Policy: Policy expired.", K.OPERATOR),
    ("AccessDenied.Unpurchased", "", K.OPERATOR),
    ("Model.AccessDenied", "", K.OPERATOR),
    ("App.AccessDenied", "", K.OPERATOR),
    ("Workspace.AccessDenied", "", K.OPERATOR),
    ("Endpoint.AccessDenied", "Workspace endpoint access denied.", K.RETIRED),
    ("AllocationQuota.FreeTierOnly", "", K.OPERATOR),
    ("ModelNotFound", "", K.RETIRED),
    ("WorkSpaceNotFound", "", K.OPERATOR),
    ("NotFound", "", K.OPERATOR),
    ("Conflict", "", K.OPERATOR),
    ("InvalidParameter", "Model not exist.", K.RETIRED),
    ("InvalidParameter", "Range of n should be [1, 4]", K.PARAMETER),
    ("InvalidParameter", "Required body invalid, please check the request body format.", K.PARAMETER),
    ("BadRequest.EmptyModel", 'Required parameter "model" missing from request.', K.PARAMETER),
    ("BadRequest.EmptyInput", "", K.PARAMETER),
    ("BadRequest.EmptyParameters", "", K.PARAMETER),
    ("BadRequest.IllegalInput", "The input parameter requires json format.", K.PARAMETER),
    ("BadRequest.TooLarge", "Payload Too Large.", K.UNSUITABLE),
    ("BadRequest.InputDownloadFailed", "Failed to download the input file", K.SOURCE),
    ("BadRequest.UnsupportedFileFormat", "Base image require RGBA format, but is RGB", K.PICTURE),
    ("BadRequest.ResourceNotExist", "", K.SOURCE),
    ("InvalidURL", "Required URL is missing or invalid", K.SOURCE),
    ("InvalidURL.ConnectionRefused", "", K.SOURCE),
    ("InvalidURL.Timeout", "", K.SOURCE),
    ("InvalidParameter.FileDownload", "download for input_image error", K.SOURCE),
    ("InvalidParameter.ImageFormat", "read image error", K.PICTURE),
    ("InvalidParameter.ImageContent", "", K.UNSUITABLE),
    ("InvalidParameter.JsonPhrase", "input json error", K.PARAMETER),
    (
        "InvalidParameter.DataInspection",
        "Unable to download the media resource during the data inspection process.",
        K.SOURCE,
    ),
    (
        "InvalidParameter.DataInspection",
        "Download the media resource timed out during the data inspection process.",
        K.SOURCE,
    ),
    (
        "InvalidParameter.DataInspection",
        "Failed to find the requested media resource during the data inspection process.",
        K.SOURCE,
    ),
    (
        "InvalidParameter.DataInspection",
        "Don't have authorization to access the media resource during the data inspection process.",
        K.SOURCE,
    ),
    (
        "InvalidParameter.DataInspection",
        "The media format is not supported or incorrect for the data inspection.",
        K.PICTURE,
    ),
    ("InvalidParameter.DataInspection", "Failed to decode the image during the data inspection.", K.PICTURE),
    ("InvalidParameter.DataInspection", "The image size is not supported for the data inspection.", K.UNSUITABLE),
    ("DataInspectionFailed", "Input data may contain inappropriate content.", K.CONTENT),
    ("DataInspectionFailed", "Output data may contain inappropriate content.", K.CONTENT),
    ("IPInfringementSuspect", "Input data is suspected of being involved in IP infringement.", K.CONTENT),
    ("InvalidPerson", "The input image has no human body or multi human bodies.", K.UNSUITABLE),
    ("InvalidGarment", "Missing clothing image.", K.UNSUITABLE),
    ("InvalidInputLength", "The image resolution is invalid", K.UNSUITABLE),
    ("InvalidImageResolution", "", K.UNSUITABLE),
    ("InvalidImageFormat", "", K.PICTURE),
    ("InvalidImage.Anything", "", K.PICTURE),
    ("InvalidFile.Anything", "", K.PICTURE),
    ("UnsupportedOperation", "", K.OPERATOR),
    ("Arrearage", "Access denied, please make sure your account is in good standing.", K.OPERATOR),
    ("Throttling", "Requests throttling triggered.", K.THROTTLED),
    ("Throttling.RateQuota", "Requests rate limit exceeded, please try again later.", K.THROTTLED),
    ("Throttling.BurstRate", "Request rate increased too quickly", K.THROTTLED),
    ("Throttling.AllocationQuota", "Allocated quota exceeded, please increase your quota limit.", K.THROTTLED),
    ("Throttling.AllocationQuota", "Free allocated quota exceeded.", K.OPERATOR),
    ("CommodityNotPurchased", "", K.OPERATOR),
    ("PrepaidBillOverdue", "", K.OPERATOR),
    ("PostpaidBillOverdue", "", K.OPERATOR),
    ("InternalError", "", K.INTERNAL),
    ("InternalError.Timeout", "", K.INTERNAL),
    ("InternalError.Algo", "algorithm process error", K.INTERNAL),
    ("InternalError.FileUpload", "oss upload error", K.INTERNAL),
    ("InternalError.Upload", "Failed to upload result.", K.INTERNAL),
    ("SystemError", "", K.INTERNAL),
    ("ModelServiceFailed", "", K.INTERNAL),
    ("RequestTimeOut", "", K.INTERNAL),
    ("ModelServingError", "", K.UNAVAILABLE),
    ("ModelUnavailable", "", K.UNAVAILABLE),
    ("invalid_parameter_error", "The provided URL does not appear to be valid.", K.OPERATOR),
]
CALLERS = {K.PARAMETER, K.PICTURE, K.UNSUITABLE, K.SOURCE, K.CONTENT}


@pytest.mark.parametrize(("code", "message", "kind"), DOCUMENTED)
def test_every_documented_code_has_its_meaning(code: str, message: str, kind: FaultKind) -> None:
    """Each row of the documented table is the fault of whom the table says, with a sentence for the caller."""
    fault = classify(code, message)
    assert fault.kind is kind
    error = to_error(fault)
    assert isinstance(error, CallerError if kind in CALLERS else UpstreamError)
    assert len(error.message) > 20
    assert "\n" not in error.message
    assert error.detail is not None
    assert error.detail.startswith(code)


@pytest.mark.parametrize("code", ["", "SomethingNew", "InvalidParameterLookalike", "throttling"])
def test_unknown_codes_are_the_upstreams(code: str) -> None:
    """A code nobody documented is never blamed on the caller, and never tried again."""
    assert classify(code, "words").kind is FaultKind.INTERNAL


def test_a_refused_value_is_told_in_the_upstreams_words() -> None:
    """What the upstream says about a value reaches the caller."""
    error = to_error(classify("InvalidParameter", "Range of n should be [1, 4]"))
    assert error.message == "The model refused a value of this request: Range of n should be [1, 4]"


@pytest.mark.parametrize("code", ["InvalidParameter", "BadRequest.IllegalInput", "InvalidParameter.JsonPhrase"])
def test_links_never_reach_a_sentence(code: str) -> None:
    """A message that carries a signed link is told without it, on one line, and bounded."""
    message = "bad url https://bucket.test/a.png?Signature=c2VjcmV0\nor oss://private/key/a.png " + "x" * 500
    error = to_error(classify(code, message))
    for text in (error.message, error.detail or ""):
        assert "://" not in text
        assert "c2VjcmV0" not in text
        assert "private" not in text
        assert "\n" not in text
        assert len(text) < 300


@pytest.mark.parametrize(
    "code", [code for code, _, kind in DOCUMENTED if kind in {K.OPERATOR, K.RETIRED} and code != "InvalidParameter"]
)
def test_the_operators_trouble_stays_with_the_operator(code: str) -> None:
    """What is the operator's to mend is told without key, workspace or the upstream's words."""
    message = "key sk-0123456789 of llm-workspace-77, free quota, see https://console.test"
    error = to_error(classify(code, message))
    assert isinstance(error, UpstreamMisconfigured)
    for secret in ("sk-", "llm-", "console", "http", code):
        assert secret not in error.message


def test_content_refusals_are_their_own_error() -> None:
    """Inspection is told apart from an unreadable picture."""
    assert isinstance(to_error(classify("DataInspectionFailed", "")), ContentRefused)


def test_plain_words_keep_what_is_no_link() -> None:
    """Only links are taken out."""
    assert plain_words("  a\n b ://x c") == "a b ://x c"
