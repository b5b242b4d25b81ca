"""The public words of the three local utilities: requests and replies as documented."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from imgapi.contract.fields import ImageUrl, Reply, Request
from imgapi.contract.samples import sample_url

LARGEST_SIDE = 16_384
DEFAULT_MIN_DIM = 512


class ResizeRequest(Request):
    """The two limits of a resize, in pixels; `max_dim` wins when both can't hold."""

    min_dim: Annotated[int, Field(ge=1, le=LARGEST_SIDE, description="Smallest allowed side, px.")] = DEFAULT_MIN_DIM
    max_dim: Annotated[
        int, Field(ge=1, le=LARGEST_SIDE, description="Largest allowed side, px; wins over `min_dim`.")
    ] = 4096

    @model_validator(mode="after")
    def refuse_contradiction(self) -> Self:
        """Refuse a `min_dim` above `max_dim`, but only when the caller sent it: the default is no demand."""
        if "min_dim" in self.model_fields_set and self.min_dim > self.max_dim:
            message = (
                f"min_dim is {self.min_dim}, which is more than max_dim ({self.max_dim}); lower one or raise the other"
            )
            raise ValueError(message)
        return self


class PhotoResizeUrlRequest(ResizeRequest):
    """Resize the picture behind a URL."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"image_url": sample_url("landscape.jpg"), "min_dim": 256, "max_dim": 512}]}
    )

    image_url: ImageUrl


class ConvertRequest(Request):
    """How an upload becomes PNG."""

    keep_animation: Annotated[
        bool, Field(description="Split an animation or a multi-page file into one PNG per frame.")
    ] = False
    overwrite: Annotated[bool, Field(description="Replace an existing output file of that name.")] = False


ImageData = Annotated[str, Field(description="The picture's bytes in base64, without a `data:` prefix.")]
Size = Annotated[str, Field(pattern=r"^\d+x\d+px$", examples=["1024x768px"])]


class ResizeReply(Reply):
    """The resized picture."""

    success: Literal[True]
    original_size: Size
    resized_size: Size
    image_data: ImageData


class ConvertReply(Reply):
    """The picture as PNG, with the names of the files written."""

    success: Literal[True]
    message: Literal["转换成功"]
    original_format: Literal["jpeg", "webp", "svg", "tiff", "gif", "bmp", "png"]
    converted_format: Literal["png"]
    image_paths: Annotated[list[str], Field(description="The files written, in frame order.")]
    image_data: Annotated[str, Field(description="The first or only PNG in base64, without a `data:` prefix.")]
