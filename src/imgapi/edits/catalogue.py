"""Every edit that runs upstream, by its operation."""

from collections.abc import Mapping
from typing import Any

from imgapi.edits.change_bg import CHANGE_BG
from imgapi.edits.change_cloth import CHANGE_CLOTH
from imgapi.edits.edit import Edit
from imgapi.edits.expand import EXPAND
from imgapi.edits.fix import FIX
from imgapi.edits.remove_watermark import REMOVE_WATERMARK

EDITS: Mapping[str, Edit[Any, Any]] = {
    edit.operation: edit for edit in (CHANGE_BG, CHANGE_CLOTH, EXPAND, FIX, REMOVE_WATERMARK)
}
