"""The public words of the six edits: requests and replies as documented."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from imgapi.contract.fields import ImageUrl, Number, Prompt, Reply, Request
from imgapi.contract.samples import sample_url

Scale = Annotated[
    Number, Field(ge=1.0, le=2.0, description="1.0 adds nothing on this side; 1.5 adds 50 % of the original side.")
]


class ChangeBgRequest(Request):
    """Replace the background of the subject picture by that of a reference picture."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "base_image_url": sample_url("product.jpg"),
                    "ref_image_url": sample_url("landscape.jpg"),
                    "ref_prompt": "湖边 草地",
                    "n": 1,
                }
            ]
        }
    )

    base_image_url: Annotated[
        ImageUrl, Field(description="The picture whose subject is kept. Same forms as any image field.")
    ]
    ref_image_url: Annotated[
        ImageUrl, Field(description="The picture whose background is taken. Same forms as any image field.")
    ]
    ref_prompt: Annotated[Prompt, Field(description="Words that guide the background.")] = ""
    n: Annotated[int, Field(ge=1, le=4, description="Number of results.")] = 1


class ChangeClothRequest(Request):
    """Virtual try-on: put a top and a bottom garment onto a person."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "top_garment_url": sample_url("shirt.jpg"),
                    "bottom_garment_url": sample_url("trousers.jpg"),
                    "person_image_url": sample_url("person.jpg"),
                }
            ]
        }
    )

    top_garment_url: Annotated[ImageUrl, Field(description="The top garment, laid flat.")]
    bottom_garment_url: Annotated[ImageUrl, Field(description="The bottom garment, laid flat.")]
    person_image_url: Annotated[ImageUrl, Field(description="Exactly one person, standing and facing the camera.")]


class ExpandRequest(Request):
    """Outpainting: continue the picture on its four sides."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "base_image_url": sample_url("landscape.jpg"),
                    "top_scale": 1.0,
                    "bottom_scale": 1.0,
                    "left_scale": 1.25,
                    "right_scale": 1.25,
                }
            ]
        }
    )

    base_image_url: ImageUrl
    top_scale: Scale = 1.5
    bottom_scale: Scale = 1.5
    left_scale: Scale = 1.5
    right_scale: Scale = 1.5
    prompt: Annotated[Prompt, Field(description="What the larger picture shows.")] = "按照原来图片背景来操作扩展"

    @model_validator(mode="after")
    def refuse_nothing_to_do(self) -> "ExpandRequest":
        """Refuse four scales of 1.0: the picture would come back as it is, and be paid for."""
        if self.top_scale == self.bottom_scale == self.left_scale == self.right_scale == 1.0:
            message = (
                "top_scale, bottom_scale, left_scale and right_scale are all 1.0: there is nothing to add; "
                "raise at least one of them, up to 2.0"
            )
            raise ValueError(message)
        return self


class FixRequest(Request):
    """Super-resolution: enlarge and restore the picture."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"base_image_url": sample_url("product.jpg"), "upscale_factor": 2}]}
    )

    base_image_url: ImageUrl
    prompt: Prompt = "图像超分。"
    upscale_factor: Annotated[
        int, Field(ge=1, le=4, description="How many times larger; 1 sharpens without enlarging.")
    ] = 2


class RemoveBgRequest(Request):
    """Cut out the main subject, with true alpha."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image_url": sample_url("product.jpg")}]})

    image_url: ImageUrl


class Box(Request):
    """A rectangle of a picture, in its pixels, counted from its top left corner."""

    x: Annotated[int, Field(ge=0, description="Of the left edge.")]
    y: Annotated[int, Field(ge=0, description="Of the top edge.")]
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]

    @model_validator(mode="before")
    @classmethod
    def read_list(cls, value: object) -> object:
        """Read `[x, y, width, height]`, the short form of a box."""
        if not isinstance(value, list):
            return value
        names = tuple(cls.model_fields)
        if len(value) != len(names):
            message = f"must be [x, y, width, height], and {len(value)} numbers were sent"
            raise ValueError(message)
        return dict(zip(names, value, strict=True))


def _describe_short_form(schema: dict[str, Any]) -> None:
    """Say that a box may also be a list of four numbers."""
    numbers = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 4, "maxItems": 4}
    boxes = schema["anyOf"][0]
    boxes["items"] = {"anyOf": [boxes["items"], {**numbers, "title": "[x, y, width, height]"}]}


class RemoveWatermarkRequest(Request):
    """Remove text and logo watermarks, keep the content."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"image_url": sample_url("watermarked.jpg")},
                {
                    "image_url": sample_url("watermarked.jpg"),
                    "boxes": [{"x": 680, "y": 586, "width": 270, "height": 40}],
                },
            ]
        }
    )

    image_url: ImageUrl
    boxes: Annotated[
        list[Box] | None,
        Field(
            max_length=64,
            json_schema_extra=_describe_short_form,
            description=(
                "Where the watermark is, if it is not to be looked for; `[x, y, width, height]` will do for each. "
                "Measured in the picture as it is shown, its EXIF orientation applied."
            ),
        ),
    ] = None
    mask_url: Annotated[
        ImageUrl | None,
        Field(
            description=(
                "A picture of the size of the first, white where the watermark is and black elsewhere; "
                "added to `boxes` when both are sent. Same forms as any image field."
            )
        ),
    ] = None


class ResultLink(Reply):
    """One picture that was made."""

    url: Annotated[str, Field(description="Where the picture can be downloaded. An upstream link dies after 24 hours.")]
    expires_at: Annotated[
        str | None, Field(description="When a picture that this service keeps is gone: RFC 3339, UTC.")
    ] = None


class Usage(Reply):
    """What a task made, and what that costs by the upstream's price list."""

    images: Annotated[int, Field(ge=0, description="Pictures made.")]
    list_price_cny: Annotated[
        float, Field(ge=0, description="Their price by the upstream's list, CNY; what was really charged is `billed`.")
    ]


Billed = Annotated[
    bool | Literal["unknown"],
    Field(
        description=(
            "Whether the upstream charges for it. `unknown`: it may have been accepted and can't be followed, "
            "so look at the upstream's own bill. Without an upstream account nothing is charged."
        )
    ),
]


class TaskMetrics(Reply):
    """How many pictures were asked for, made and not made."""

    TOTAL: int
    SUCCEEDED: int
    FAILED: int


Time = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$",
        description="`YYYY-MM-DD HH:MM:SS.mmm` in UTC+8, without a zone suffix.",
        examples=["2026-05-04 10:20:30.123"],
    ),
]
TaskId = Annotated[
    str,
    Field(description="The task's id here, a UUID.", examples=["7d0a4f1e-6f3b-4c58-9a55-0d2f2f6f1a10"]),
]


class EditReply(Reply):
    """What the reply of every edit says of its task."""

    task_id: TaskId
    task_status: Literal["SUCCEEDED"]
    submit_time: Time
    scheduled_time: Time
    end_time: Time
    engine: Annotated[
        str,
        Field(
            description=(
                "`dashscope:<model>` or `onnx:<model>` for a model's work, `local-preview` for what was painted here."
            ),
            examples=["dashscope:wanx2.1-imageedit", "local-preview"],
        ),
    ]
    upstream_task_id: Annotated[
        str | None, Field(description="The upstream's own id of the task, where it has one.")
    ] = None
    prepared: Annotated[
        list[str] | None,
        Field(
            description="What was changed in the inputs so that the model takes them; absent when nothing was.",
            examples=[["resized 300x200 to 768x512"]],
        ),
    ] = None
    warnings: Annotated[
        list[str] | None,
        Field(
            description="What may be wrong with the pictures; hints, absent when there are none.",
            examples=[["low_confidence", "touches_border"]],
        ),
    ] = None
    ignored: Annotated[
        list[str] | None,
        Field(
            description="Fields of the request that a local preview makes no use of; absent when there are none.",
            examples=[["prompt"]],
        ),
    ] = None
    billed: Billed | None = None
    usage: Annotated[Usage | None, Field(description="What was made, and its list price.")] = None


class PicturesReply(EditReply):
    """The documented common reply: a list of results with its metrics."""

    results: list[ResultLink]
    task_metrics: TaskMetrics


class RemoveBgReply(PicturesReply):
    """The common reply, with hints about how sure the cut-out is."""

    confidence: Annotated[
        float | None, Field(ge=0, le=1, description="How sure the matting is of its subject; a hint, not a promise.")
    ] = None


class ExpandReply(EditReply):
    """As the common reply, but `results` is one object."""

    results: ResultLink
    task_metrics: TaskMetrics


class ChangeClothReply(EditReply):
    """As the common reply, but with `image_url` in place of `results` and without `task_metrics`."""

    image_url: Annotated[str, Field(description="Where the picture can be downloaded.")]
    expires_at: Annotated[
        str | None, Field(description="When a picture that this service keeps is gone: RFC 3339, UTC.")
    ] = None
