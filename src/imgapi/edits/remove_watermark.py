"""Watermark removal: text and logo marks gone, the content kept."""

from collections.abc import Mapping

from imgapi.contract.edits import RemoveWatermarkRequest
from imgapi.dashscope.wire import ImageEditInput, ImageEditParameters, SubmitBody
from imgapi.edits import models
from imgapi.edits.edit import Candidate, Edit, InputRule, MarkedArea, MaskRule, PreparedPicture, pictures_reply

Pictures = Mapping[str, PreparedPicture]
PROMPT = "去除图像中的文字和水印"
# For a marked area the model wants to be told what is to be seen there, not what is to go (docs/upstream.md).
MASKED_PROMPT = "与周围自然衔接的画面，没有任何文字、标志和水印"
INSTRUCTION = "去除图像中的全部水印（文字、标志、平铺水印），自然补全被遮挡的部分，其余内容、构图和颜色完全不变。"
MASKED_INSTRUCTION = (
    "图1是蒙版，白色区域标出水印的位置；图2是原图。去除图2中白色区域内的水印（文字、标志），自然补全被遮挡的部分，"
    "其余内容、构图和颜色完全不变。"
)


def _marked(request: RemoveWatermarkRequest) -> MarkedArea | None:
    if not request.boxes and request.mask_url is None:
        return None
    boxes = [(box.x, box.y, box.width, box.height) for box in request.boxes or ()]
    return MarkedArea(boxes, "mask_url" if request.mask_url is not None else None)


def _image_edit(_request: RemoveWatermarkRequest, pictures: Pictures) -> SubmitBody:
    mask = pictures.get("mask")
    return SubmitBody(
        model=models.IMAGE_EDIT,
        input=ImageEditInput(
            function="remove_watermark" if mask is None else "description_edit_with_mask",
            prompt=PROMPT if mask is None else MASKED_PROMPT,
            base_image_url=pictures["image_url"].url,
            mask_image_url=None if mask is None else mask.url,
        ),
        parameters=ImageEditParameters(),
    )


def _successor(model: str, _request: RemoveWatermarkRequest, pictures: Pictures) -> SubmitBody:
    picture = pictures["image_url"]
    size = models.size_within_area(picture.width, picture.height)
    if "mask" not in pictures:
        return models.conversation(model, (picture,), INSTRUCTION, size=size)
    # The result takes the ratio of the last picture, which therefore is the original.
    return models.conversation(model, (pictures["mask"], picture), MASKED_INSTRUCTION, size=size)


_MASK = MaskRule("image_url", _marked)
REMOVE_WATERMARK = Edit(
    operation="remove_watermark",
    summary="Remove text and logo watermarks, keep the content",
    candidates=(
        Candidate(
            model=models.IMAGE_EDIT,
            path=models.IMAGE_TO_IMAGE_PATH,
            asynchronous=True,
            inputs={"image_url": InputRule(models.IMAGE_EDIT_PICTURE)},
            body=_image_edit,
            usual_seconds=9.0,
            mask=_MASK,
        ),
        *models.successors(("image_url",), _successor, mask=_MASK),
    ),
    reply=pictures_reply,
)
