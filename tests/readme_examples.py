"""The examples of README files, made ready to run."""

import re
from pathlib import Path

DOCUMENTED_ADDRESS = "http://127.0.0.1:5000"


def example(readme: Path, language: str, address: str) -> str:
    """Take the one example of a language out of a README, with a test's server in place of the documented one."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", readme.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{readme} has {len(blocks)} examples in {language}"
    code: str = blocks[0]
    assert DOCUMENTED_ADDRESS in code
    return code.replace(DOCUMENTED_ADDRESS, address)
