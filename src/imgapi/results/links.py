"""Turns names of kept files into URLs of this service, and back."""

from dataclasses import dataclass

from imgapi.results.kept_names import is_result_name


@dataclass(frozen=True, slots=True)
class Links:
    """The URLs of one kind of kept files.

    Args:
        base_url: What comes before the name, such as `https://images.example.com/results/`; ends in a slash.
    """

    base_url: str

    def __post_init__(self) -> None:
        if not self.base_url.endswith("/"):
            raise ValueError("the base of links must end in a slash")

    def write(self, name: str) -> str:
        """Return the URL under which callers find the file."""
        return f"{self.base_url}{name}"

    def read(self, url: str) -> str | None:
        """Return the name in a URL that `write` made; None for any other URL."""
        name = url.removeprefix(self.base_url)
        return name if name != url and is_result_name(name) else None
