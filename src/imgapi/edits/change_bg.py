"""Change background: the subject of one picture before the background of another."""

from collections.abc import Mapping

from imgapi.contract.edits import ChangeBgRequest
from imgapi.dashscope.wire import BackgroundInput, BackgroundParameters, SubmitBody
from imgapi.edits import models
from imgapi.edits.edit import Candidate, Edit, InputRule, PreparedPicture, pictures_reply

Pictures = Mapping[str, PreparedPicture]


def _background(request: ChangeBgRequest, pictures: Pictures) -> SubmitBody:
    return SubmitBody(
        model=models.BACKGROUND,
        input=BackgroundInput(
            base_image_url=pictures["base_image_url"].url,
            ref_image_url=pictures["ref_image_url"].url,
            ref_prompt=request.ref_prompt or None,
        ),
        parameters=BackgroundParameters(model_version="v3", n=request.n),
    )


def _successor(model: str, request: ChangeBgRequest, pictures: Pictures) -> SubmitBody:
    # The result takes the ratio of the last picture, which therefore is the subject's.
    instruction = (
        "图1是背景参考，图2是主体。更换图2的背景：保持图2的主体、姿态、大小和位置完全不变，把背景换成图1的背景，"
        "让光线和阴影自然。"
    )
    if request.ref_prompt:
        instruction += f"背景要求：{request.ref_prompt}"
    ordered = (pictures["ref_image_url"], pictures["base_image_url"])
    return models.conversation(model, ordered, instruction, n=request.n)


CHANGE_BG = Edit(
    operation="change_bg",
    summary="Replace the background of the subject picture by that of a reference picture",
    candidates=(
        Candidate(
            model=models.BACKGROUND,
            path=models.BACKGROUND_PATH,
            asynchronous=True,
            inputs={
                "base_image_url": InputRule(models.BACKGROUND_BASE, cut_out=True),
                "ref_image_url": InputRule(models.BACKGROUND_REFERENCE),
            },
            body=_background,
            usual_seconds=12.0,
        ),
        *models.successors(("base_image_url", "ref_image_url"), _successor),
    ),
    reply=pictures_reply,
)
