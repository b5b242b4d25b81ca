"""What was written of a task, opened again: its request, and its inputs as the model gets them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgapi.contract.fields import Request
from imgapi.edits.edit import PreparedPicture
from imgapi.tasks.record import TaskRecord
from imgapi.tasks.sealing import Seal


@dataclass(frozen=True, slots=True)
class Written:
    """Reads rows.

    Args:
        seal: Opens what is kept sealed.
        requests: The request models, by operation.
    """

    seal: Seal
    requests: Mapping[str, type[Request]]

    def request(self, record: TaskRecord) -> Request:
        """Read what was asked for."""
        text = self.seal.open(record.request or "")
        return self.requests[record.operation].model_validate_json(text)

    def prepared(self, record: TaskRecord) -> dict[str, Any]:
        """Read how the inputs were made to fit: `pictures`, `changes` and `warnings`."""
        read: dict[str, Any] = json.loads(self.seal.open(record.prepared or ""))
        return read

    def pictures(self, record: TaskRecord) -> Mapping[str, PreparedPicture]:
        """Read the inputs as the model gets them, by field."""
        pictures = self.prepared(record)["pictures"]
        return {name: PreparedPicture(url, width, height) for name, (url, width, height) in pictures.items()}
