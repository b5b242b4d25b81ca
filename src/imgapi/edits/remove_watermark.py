"""Watermark removal: text and logo marks gone, the content kept."""

from collections.abc import Mapping

from imgapi.contract.edits import RemoveWatermarkRequest
from imgapi.dashscope.wire import ImageEditInput, ImageEditParameters, SubmitBody
from imgapi.edits import models
from imgapi.edits.edit import Candidate, Edit, InputRule, PreparedPicture, pictures_reply

Pictures = Mapping[str, PreparedPicture]
PROMPT = "去除图像中的文字和水印"
INSTRUCTION = "去除图像中的全部水印（文字、标志、平铺水印），自然补全被遮挡的部分，其余内容、构图和颜色完全不变。"


def _image_edit(_request: RemoveWatermarkRequest, pictures: Pictures) -> SubmitBody:
    return SubmitBody(
        model=models.IMAGE_EDIT,
        input=ImageEditInput(function="remove_watermark", prompt=PROMPT, base_image_url=pictures["image_url"].url),
        parameters=ImageEditParameters(),
    )


def _successor(model: str, _request: RemoveWatermarkRequest, pictures: Pictures) -> SubmitBody:
    picture = pictures["image_url"]
    size = models.size_within_area(picture.width, picture.height)
    return models.conversation(model, (picture,), INSTRUCTION, size=size)


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
        ),
        *models.successors(("image_url",), _successor),
    ),
    reply=pictures_reply,
)
