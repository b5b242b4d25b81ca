"""SVG made harmless before a renderer sees it: nothing outside the document is referred to, nothing multiplies."""

import base64
import binascii
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes
from xml.etree.ElementTree import Element, tostring

from imgapi.errors import ImageTooLarge, ImgapiError, UnreadableImage
from imgapi.pictures import headers
from imgapi.pictures.rasters import decoding
from imgapi.pictures.signatures import sniff_format
from imgapi.pictures.svg_document import SVG, XLINK, XML, EntityRoom, parse_svg

# Elements after every `use` and paint reference is written out.
MAX_EXPANDED_ELEMENTS = 1_000_000
# The next would change no sample of 8 bits by half a step.
MAX_OCTAVES = 10
_MAX_EMBEDDED_PIXELS = 16_000_000
# All that is looked at as an SVG which another embeds, unpacked.
_MAX_EMBEDDED_BYTES = 5 * 1024 * 1024
_GZIP, _GZIP_BITS = b"\x1f\x8b", 16

_INERT = frozenset({f"{SVG}script", f"{SVG}foreignObject", f"{SVG}handler", f"{SVG}listener"})
_HREFS = ("href", f"{XLINK}href")
_IMAGES = frozenset({f"{SVG}image", f"{SVG}feImage"})
_EMBEDDABLE = {"jpeg": headers.read_jpeg, "png": headers.read_png, "webp": headers.read_webp, "gif": headers.read_gif}

_SVG_URL = "data:image/svg+xml;base64,"
_DATA_URL = re.compile(r"\s*data:([^,]*),", re.IGNORECASE)
_MAX_PASSES = 10
_FIRST_CHARACTER, _SURROGATES = 0x20, (0xD800, 0xDFFF)
_CSS_ESCAPE = re.compile(r"\\(?:([0-9a-f]{1,6})\s?|(.))", re.IGNORECASE | re.DOTALL)
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_CSS_IMPORT = re.compile(r"@(?:import|charset|namespace)[^;{}]*;?", re.IGNORECASE)
_CSS_FONT_FACE = re.compile(r"@font-face\s*\{[^}]*\}?", re.IGNORECASE)
_CSS_URL = re.compile(r"url\(\s*(\"[^\"]*\"?|'[^']*'?|[^)]*)\s*\)?", re.IGNORECASE)
_CSS_OTHER_LOADERS = re.compile(r"(?:image|image-set|src|cross-fade)\([^)]*\)?", re.IGNORECASE)
# A property of CairoSVG alone, which takes every declaration for an attribute; it leaves out those that begin so.
_CSS_HREF = re.compile(r"(?<![\w-])href(?=\s*:)", re.IGNORECASE)
_LOCAL_REFERENCE = re.compile(r"url\(\s*+[\"']?+\s*+#([^\"')]+)", re.IGNORECASE)
_NESTED_FUNCTIONS = re.compile(r"\([^)]*\(")
# Whatever cleaning could change in a value without escapes.
_CSS_SUSPICIOUS = re.compile(r"@|/\*|(?:image|image-set|src|cross-fade)\(|url\((?! *+[\"']?+ *+#)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSvg:
    """An SVG that an image element of another carries in a `data:` URL.

    Attributes:
        root: Its own tree, cleaned.
        image: The element of the outer tree.
        attribute: Name of the attribute that holds the URL.
    """

    root: Element
    image: Element
    attribute: str

    def put_back(self) -> None:
        """Write it into its image element."""
        document = tostring(self.root, encoding="utf-8")
        self.image.set(self.attribute, _SVG_URL + base64.b64encode(document).decode("ascii"))


def clean_svg(root: Element) -> Sequence[EmbeddedSvg]:
    """Drop scripts, links and every reference that is neither `#id` nor a small embedded picture, in place.

    An SVG embedded as a picture is taken out and cleaned likewise; one inside that is dropped, as browsers and
    renderers do. Who draws the document puts it back.

    Raises:
        ImageTooLarge: References multiply the elements of all these documents beyond MAX_EXPANDED_ELEMENTS, or what is
            embedded has too many bytes, or too many letters in its entities.
    """
    embedded = list(_take_out(root))
    weights: dict[Element, int] = {}
    for each in embedded:
        weights[each.image] = _clean(each.root, {})
    _clean(root, weights)
    return embedded


def _take_out(root: Element) -> Iterator[EmbeddedSvg]:
    left_bytes, room = _MAX_EMBEDDED_BYTES, EntityRoom()
    for element in root.iter():
        attribute = next((name for name in _HREFS if name in element.attrib), None)
        if element.tag not in _IMAGES or attribute is None:
            continue
        content, is_svg = _embedded_document(element.attrib[attribute])
        # Counted whatever it turns out to be: unpacking alone takes its time.
        left_bytes -= len(content)
        if left_bytes < 0:
            megabytes = _MAX_EMBEDDED_BYTES / 1024**2
            raise ImageTooLarge(f"the svg embeds drawings of more than {megabytes:g} MB; write fewer or simpler ones")
        if not is_svg:
            continue
        del element.attrib[attribute]
        with suppress(UnreadableImage):
            yield EmbeddedSvg(parse_svg(content, room), element, attribute)
        if room.letters < 0:
            raise ImageTooLarge("the XML entities of the drawings that the svg embeds become too long; write them out")


def _embedded_document(url: str) -> tuple[bytes, bool]:
    """Read what may be an SVG in a `data:` URL, nothing where another picture is stated; tell whether it counts as one.

    It does where the URL says so, or says of no picture what it is and it looks like one.
    """
    lead = _DATA_URL.match(url)
    media_type = lead[1].lower() if lead else "image/"
    says_svg = "svg" in media_type
    if media_type.startswith("image/") and not says_svg:
        return b"", False
    content = _unpacked(_read_data_url(url))
    return content, says_svg or sniff_format(content) == "svg"


def _unpacked(content: bytes) -> bytes:
    """Undo the gzip of an SVG in a `data:` URL; at most a byte too much comes out, and of damaged data nothing."""
    if not content.startswith(_GZIP):
        return content
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | _GZIP_BITS).decompress(content, _MAX_EMBEDDED_BYTES + 1)
    except zlib.error:
        return b""


def _clean(root: Element, weights: Mapping[Element, int]) -> int:
    """Clean one document; gives how many elements it has once all references are written out.

    Args:
        root: The document.
        weights: How many elements an element stands for beside itself.
    """
    for element in root.iter():
        if element.tag in _INERT:
            _make_inert(element)
        _clean_attributes(element)
        if element.tag == f"{SVG}feTurbulence":
            _bound_octaves(element)
        if element.tag == f"{SVG}style":
            element.text = _clean_css("".join(element.itertext()))
            del element[:]
    return _expanded_elements(root, weights)


def _make_inert(element: Element) -> None:
    """Leave of an element only its place, which selectors count, and the text after it."""
    tail = element.tail
    element.clear()
    element.tag, element.tail = f"{SVG}desc", tail


def _bound_octaves(turbulence: Element) -> None:
    """Leave out the octaves that nobody could see: each has half the strength of the one before, and costs as much."""
    try:
        octaves = float(turbulence.get("numOctaves", "1"))
    except ValueError:
        return
    if octaves > MAX_OCTAVES:
        turbulence.set("numOctaves", str(MAX_OCTAVES))


def _clean_attributes(element: Element) -> None:
    if "href" in element.attrib:
        # The elder spelling counts only where the younger is missing, not where it is refused.
        element.attrib.pop(f"{XLINK}href", None)
    for name, value in list(element.attrib.items()):
        local = name.rpartition("}")[2].lower()
        if local == "href":
            harmless = _harmless_reference(value, embedded=element.tag in _IMAGES)
            if harmless is None:
                del element.attrib[name]
            else:
                element.attrib[name] = harmless
        elif name == f"{XML}base" or local.startswith("on"):
            del element.attrib[name]
        elif local.endswith("transform") and _NESTED_FUNCTIONS.search(value):
            # No valid transform nests, and a renderer's parser can take minutes over one that does.
            del element.attrib[name]
        elif _may_load(value) or (name == "style" and "href" in value.lower()):
            element.attrib[name] = _clean_css(value)


def _may_load(value: str) -> bool:
    """Tell whether an attribute may have something in it that loads: most values have neither function nor escape."""
    if "\\" not in value:
        return "(" in value and _CSS_SUSPICIOUS.search(value) is not None
    unescaped = _CSS_ESCAPE.sub(lambda match: _unescaped(match[1], match[2]), value)
    return "(" in unescaped or "@" in unescaped or "href" in unescaped.lower()


def _clean_css(text: str) -> str:
    """Take out of CSS what loads something, as often as taking out brings forth more; nothing when that won't end."""
    for _ in range(_MAX_PASSES):
        cleaned = _clean_css_once(text)
        if cleaned == text:
            return text
        text = cleaned
    return ""


def _clean_css_once(text: str) -> str:
    # Escapes go first, since they can spell any of the rest.
    text = _CSS_ESCAPE.sub(lambda match: _unescaped(match[1], match[2]), text)
    text = _CSS_COMMENT.sub("", text.replace("\\", ""))
    text = _CSS_FONT_FACE.sub("", _CSS_IMPORT.sub("", text))
    text = _CSS_OTHER_LOADERS.sub("none", _CSS_HREF.sub("-href", text))
    return _CSS_URL.sub(lambda match: match[0] if _is_local(match[1]) else "none", text)


def _unescaped(code: str | None, character: str | None) -> str:
    number = int(code, 16) if code else 0
    # Control characters and halves of pairs can't stand in XML.
    is_character = _FIRST_CHARACTER <= number < sys.maxunicode and not _SURROGATES[0] <= number <= _SURROGATES[1]
    return character or (chr(number) if is_character else "")


def _is_local(target: str) -> bool:
    return target.strip(" \t\r\n\f\"'").startswith("#")


def _harmless_reference(value: str, *, embedded: bool) -> str | None:
    """Give what a reference may be, None for nothing: `#id`, or a picture that is embedded and small.

    The picture is written anew: readers differ over what else may stand in a `data:` URL, and over what it then means.
    """
    target = value.strip()
    if target.startswith("#"):
        # CairoSVG follows what stands in this function, wherever it stands and with lines broken in it.
        return None if "url(" in "".join(target.split()) else target
    content = _read_data_url(value) if embedded else b""
    name = sniff_format(content)
    if name is None or not _is_small_raster(content, name):
        return None
    return f"data:image/{name};base64,{base64.b64encode(content).decode('ascii')}"


def _read_data_url(url: str) -> bytes:
    """Read what a `data:` URL carries; nothing for any other URL and for a damaged one."""
    match = _DATA_URL.match(url)
    if match is None:
        return b""
    data = url[match.end() :]
    try:
        if "base64" in match[1].lower():
            return base64.b64decode(unquote_to_bytes("".join(data.split())) + b"==")
        return unquote_to_bytes(data)
    except (binascii.Error, ValueError):
        return b""


def _is_small_raster(content: bytes, name: str) -> bool:
    reader = _EMBEDDABLE.get(name)
    if reader is None:
        return False
    try:
        with decoding(name):
            header = reader(content, 1)
    except ImgapiError:
        return False
    return 0 < header.width * header.height <= _MAX_EMBEDDED_PIXELS


def _expanded_elements(root: Element, weights: Mapping[Element, int]) -> int:
    """Count the elements after all `#id` references are written out, each element visited once."""
    targets = {identity: element for element in root.iter() if (identity := element.get("id"))}
    sizes: dict[Element, int] = {}
    # Each with what it needs.
    open_elements: dict[Element, list[Element]] = {}
    stack = [root]
    while stack:
        element = stack[-1]
        if element in sizes:
            stack.pop()
            continue
        needed = open_elements.get(element)
        if needed is None:
            needed = open_elements[element] = [*element, *_referred(element, targets)]
            # What is open already refers to itself; renderers end such a circle where it closes.
            stack.extend(other for other in needed if other not in sizes and other not in open_elements)
            continue
        stack.pop()
        sizes[element] = 1 + weights.get(element, 0) + sum(sizes.get(other, 0) for other in needed)
        if sizes[element] > MAX_EXPANDED_ELEMENTS:
            raise ImageTooLarge(
                f"the svg's references expand to more than {MAX_EXPANDED_ELEMENTS} elements; write fewer of them",
            )
    return sizes[root]


def _referred(element: Element, targets: dict[str, Element]) -> list[Element]:
    names = []
    for key, value in element.attrib.items():
        if "#" not in value:
            continue
        if key in _HREFS and value.strip().startswith("#"):
            names.append(value.strip()[1:])
        if "(" in value:
            names += [name.strip() for name in _LOCAL_REFERENCE.findall(value)]
    return [targets[name] for name in names if name in targets]
