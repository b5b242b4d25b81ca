"""Virtual try-on: a top and a bottom garment onto a person."""

from collections.abc import Mapping

from imgapi.contract.edits import ChangeClothReply, ChangeClothRequest
from imgapi.dashscope.wire import SubmitBody, TryOnInput, TryOnParameters
from imgapi.edits import models
from imgapi.edits.edit import Candidate, Edit, Finished, InputRule, PreparedPicture, common_fields

FIELDS = ("top_garment_url", "bottom_garment_url", "person_image_url")
INSTRUCTION = (
    "虚拟试衣：让图3中的人物穿上图1的上衣和图2的下装。"
    "保持图3人物的脸、发型、姿态、体型和背景完全不变，衣服的颜色、图案和款式与图1、图2一致。"
)


def _try_on(model: str, pictures: Mapping[str, PreparedPicture]) -> SubmitBody:
    return SubmitBody(
        model=model,
        input=TryOnInput(**{name: pictures[name].url for name in FIELDS}),
        parameters=TryOnParameters(),
    )


def _successor(model: str, _request: ChangeClothRequest, pictures: Mapping[str, PreparedPicture]) -> SubmitBody:
    return models.conversation(model, [pictures[name] for name in FIELDS], INSTRUCTION)


def _reply(finished: Finished) -> ChangeClothReply:
    return ChangeClothReply(**common_fields(finished), image_url=finished.urls[0], expires_at=finished.expiry)


def _try_on_candidate(model: str) -> Candidate[ChangeClothRequest]:
    return Candidate(
        model=model,
        path=models.IMAGE_TO_IMAGE_PATH,
        asynchronous=True,
        inputs=dict.fromkeys(FIELDS, InputRule(models.TRY_ON_PICTURE)),
        body=lambda _request, pictures: _try_on(model, pictures),
        usual_seconds=16.0,
    )


CHANGE_CLOTH = Edit(
    operation="change_cloth",
    summary="Virtual try-on: put a top and a bottom garment onto a person",
    candidates=(
        _try_on_candidate(models.TRY_ON_PLUS),
        _try_on_candidate(models.TRY_ON),
        *models.successors(FIELDS, _successor),
    ),
    reply=_reply,
)
