"""Super-resolution: the picture larger and restored."""

from collections.abc import Mapping

from imgapi.contract.edits import FixRequest
from imgapi.dashscope.wire import ImageEditInput, ImageEditParameters, SubmitBody
from imgapi.edits import models
from imgapi.edits.edit import Candidate, Edit, InputRule, PreparedPicture, pictures_reply

Pictures = Mapping[str, PreparedPicture]


def _image_edit(request: FixRequest, pictures: Pictures) -> SubmitBody:
    return SubmitBody(
        model=models.IMAGE_EDIT,
        input=ImageEditInput(
            function="super_resolution", prompt=request.prompt, base_image_url=pictures["base_image_url"].url
        ),
        parameters=ImageEditParameters(upscale_factor=request.upscale_factor),
    )


def _successor(model: str, request: FixRequest, pictures: Pictures) -> SubmitBody:
    picture = pictures["base_image_url"]
    factor = request.upscale_factor
    instruction = (
        "图像超分（super-resolution）：提高清晰度，去除噪点、模糊和压缩痕迹，补足自然细节，"
        f"不改变内容、构图、颜色和文字。要求：{request.prompt}"
    )
    size = models.size_within_area(picture.width * factor, picture.height * factor)
    return models.conversation(model, (picture,), instruction, size=size)


FIX = Edit(
    operation="fix",
    summary="Super-resolution: enlarge and restore the picture",
    candidates=(
        Candidate(
            model=models.IMAGE_EDIT,
            path=models.IMAGE_TO_IMAGE_PATH,
            asynchronous=True,
            inputs={"base_image_url": InputRule(models.IMAGE_EDIT_PICTURE)},
            body=_image_edit,
            usual_seconds=9.0,
        ),
        *models.successors(("base_image_url",), _successor),
    ),
    reply=pictures_reply,
)
