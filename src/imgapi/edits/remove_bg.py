"""Cut-out: the main subject with true alpha; done here, since no upstream model returns alpha."""

from collections.abc import Callable
from dataclasses import dataclass

from imgapi.clock import Clock, documented_time
from imgapi.contract.edits import RemoveBgReply, RemoveBgRequest, ResultLink, TaskMetrics
from imgapi.edits.prepare import Preparer
from imgapi.errors import ImgapiError
from imgapi.results.store import ResultStore

OPERATION = "remove_bg"


@dataclass(frozen=True, slots=True)
class RemoveBg:
    """Cuts out and keeps the result.

    Args:
        preparer: Fetches the picture and has the workers.
        results: Keeps the PNG.
        link: Turns a result's name into a URL that the caller can open.
        clock: For the times in the reply.
        engine: What cuts out, as the reply names it: `local-preview`, or `onnx:` and a model's name.
    """

    preparer: Preparer
    results: ResultStore
    link: Callable[[str], str]
    clock: Clock
    engine: str

    async def run(self, request: RemoveBgRequest, task_id: str) -> RemoveBgReply:
        """Cut the subject out.

        Raises:
            CallerError: The URL or the picture is unusable, or no subject stands out.
            Overloaded: The workers' waiting line is full, or a model is still being downloaded.
            CapabilityMissing: The model that cuts out can't be had or run.
        """
        submitted_at = self.clock.time()
        source, info = await self.preparer.read(request, "image_url")
        scheduled_at = self.clock.time()
        try:
            picture = await self.preparer.raster(source.content, info)
            cutout = await self.preparer.cut_out(picture)
        except ImgapiError as exc:
            raise exc.about("image_url") from exc.__cause__
        name = await self.results.put(cutout.content, ".png")
        return RemoveBgReply(
            task_id=task_id,
            task_status="SUCCEEDED",
            submit_time=documented_time(submitted_at),
            scheduled_time=documented_time(scheduled_at),
            end_time=documented_time(self.clock.time()),
            engine=self.engine,
            results=[ResultLink(url=self.link(name))],
            task_metrics=TaskMetrics(TOTAL=1, SUCCEEDED=1, FAILED=0),
            confidence=round(cutout.confidence, 3),
            warnings=list(cutout.warnings) or None,
        )
