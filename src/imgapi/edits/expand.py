"""Outpainting: the picture continued on its four sides."""

from collections.abc import Mapping

from imgapi.contract.edits import ExpandReply, ExpandRequest, ResultLink
from imgapi.dashscope.wire import ImageEditInput, ImageEditParameters, SubmitBody
from imgapi.edits import models
from imgapi.edits.edit import Candidate, Edit, Finished, InputRule, PreparedPicture, common_fields, metrics

Pictures = Mapping[str, PreparedPicture]


def _image_edit(request: ExpandRequest, pictures: Pictures) -> SubmitBody:
    return SubmitBody(
        model=models.IMAGE_EDIT,
        input=ImageEditInput(function="expand", prompt=request.prompt, base_image_url=pictures["base_image_url"].url),
        parameters=ImageEditParameters(
            top_scale=request.top_scale,
            bottom_scale=request.bottom_scale,
            left_scale=request.left_scale,
            right_scale=request.right_scale,
        ),
    )


def _successor(model: str, request: ExpandRequest, pictures: Pictures) -> SubmitBody:
    picture = pictures["base_image_url"]
    instruction = (
        "扩展画面（outpainting）：图中四周的纯灰色边框是空白。保持中间的原图完全不变，按照原图的内容、透视和光线自然地延伸，"
        f"填满全部灰色区域，不留边框。要求：{request.prompt}"
    )
    size = models.size_within_area(picture.width, picture.height)
    return models.conversation(model, (picture,), instruction, size=size)


def _scales(request: ExpandRequest) -> tuple[float, float, float, float]:
    return request.top_scale, request.bottom_scale, request.left_scale, request.right_scale


def _reply(finished: Finished) -> ExpandReply:
    link = ResultLink(url=finished.urls[0], expires_at=finished.expiry)
    return ExpandReply(**common_fields(finished), results=link, task_metrics=metrics(finished))


EXPAND = Edit(
    operation="expand",
    summary="Outpainting: continue the picture on its four sides",
    candidates=(
        Candidate(
            model=models.IMAGE_EDIT,
            path=models.IMAGE_TO_IMAGE_PATH,
            asynchronous=True,
            inputs={"base_image_url": InputRule(models.IMAGE_EDIT_PICTURE)},
            body=_image_edit,
            usual_seconds=21.0,
        ),
        *models.successors(("base_image_url",), _successor, _scales),
    ),
    reply=_reply,
)
