"""The sample pictures that the document's examples name; the service serves them itself."""

from types import MappingProxyType

# What the committed document says; a running service puts its own address in place of it.
DEFAULT_ADDRESS = "http://127.0.0.1:5000"
SAMPLES_PATH = "/samples/"
SAMPLES = MappingProxyType(
    {
        "product.jpg": "a cup on a plain ground",
        "landscape.jpg": "a lake between mountains",
        "person.jpg": "a standing person",
        "shirt.jpg": "a T-shirt, laid flat",
        "trousers.jpg": "trousers, laid flat",
        "watermarked.jpg": "the landscape with a watermark",
    }
)


def sample_url(name: str) -> str:
    """Write the URL of a sample picture as the committed document has it.

    Raises:
        KeyError: There is no such sample.
    """
    SAMPLES[name]
    return f"{DEFAULT_ADDRESS}{SAMPLES_PATH}{name}"
