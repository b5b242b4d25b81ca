"""SVG documents read within bounds, and the size they have on their own."""

import codecs
import re
from dataclasses import dataclass
from math import floor, isclose
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from imgapi.errors import UnreadableImage
from imgapi.pictures.limits import check_bytes

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
XML = "{http://www.w3.org/XML/1998/namespace}"

# Where elements without a namespace are put: written out below a root that has one, they would be taken for its own.
_NOWHERE = "{urn:none}"

MAX_DEPTH = 200
MAX_ELEMENTS = 250_000
# What a DOCTYPE may give every element of a name, of attributes and of letters in them.
_MAX_DEFAULTS, _MAX_DEFAULT_LETTERS = 10, 500
_ENTITY = re.compile("&(?!(?:lt|gt|amp|quot|apos|#x?[0-9a-fA-F]+);)")

# What CSS calls medium, in every browser.
FONT_SIZE = 16.0
# CSS 2.1 section 4.3.2, at 96 dpi.
_PIXELS = {"": 1.0, "px": 1.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6, "pt": 96 / 72, "pc": 16.0}
_FONT_SIZES = {"em": 1.0, "rem": 1.0, "ex": 0.5, "ch": 0.5}
_LENGTH = re.compile(r"\s*\+?((?:\d++(?:\.\d*+)?|\.\d+)(?:e[+-]?\d+)?)([a-z]*|%)\s*", re.IGNORECASE)
_STYLED_FONT_SIZE = re.compile(r"(?:^|;)\s*font-size\s*:([^;!]*)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_WITHOUT_SIZE = (300.0, 150.0)
_VIEW_BOX_NUMBERS = 4
_SAME_RATIO = 1e-6


# Encodings of more than a byte a character, which the parser leaves to its caller.
_DECLARED_ENCODING = re.compile(rb"<\?xml[^>]*?\sencoding\s*=\s*[\"']([a-z][\w.-]*)", re.IGNORECASE)
_WIDE_ENCODINGS = frozenset({"gb2312", "gbk", "gb18030", "big5", "shift_jis", "cp932", "euc_jp", "euc_kr", "cp949"})


@dataclass(slots=True)
class EntityRoom:
    """How many letters all uses of entities may still become, in one document or in several together.

    Attributes:
        letters: Below 0 once they would be too many.
    """

    letters: int = 2_000_000


class _BoundedBuilder(TreeBuilder):
    """Builds the tree, but refuses to go deeper or wider than the bounds."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._count = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableImage(f"the svg nests more than {MAX_DEPTH} elements; flatten its groups")
        if self._count > MAX_ELEMENTS:
            raise UnreadableImage(f"the svg has more than {MAX_ELEMENTS} elements; simplify it")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


class _BoundedParser(DefusedXMLParser):  # type: ignore[misc]
    """Takes entities that are short texts, and refuses attributes of a DOCTYPE that would multiply by all the elements.

    Args:
        uses: How many references to entities the document can have.
        room: What these may become is taken from it before the first is written out.
    """

    def __init__(self, uses: int, room: EntityRoom) -> None:
        super().__init__(target=_BoundedBuilder(), forbid_entities=False, forbid_external=True)
        self._uses, self._room = uses, room
        self._reckoned = 0
        self._defaults = self._letters = 0
        self.parser.AttlistDeclHandler = self._count_default
        self.parser.EntityDeclHandler = self._bound_entity

    def _bound_entity(self, _name: str, is_parameter: int, value: str | None, *_elsewhere: str | None) -> None:
        if is_parameter or value is None:
            raise UnreadableImage("the svg takes XML entities from elsewhere, which are refused; write them out")
        if _ENTITY.search(value):
            raise UnreadableImage("the svg has XML entities within entities, which are refused; write them out")
        longest = max(self._reckoned, self._uses * len(value))
        self._room.letters -= longest - self._reckoned
        self._reckoned = longest
        if self._room.letters < 0:
            raise UnreadableImage("the svg's XML entities would become too long; write them out")

    def _count_default(self, _element: str, name: str, _kind: str, default: str | None, _required: int) -> None:
        if default is None:
            return
        self._defaults += 1
        self._letters += len(name) + len(default)
        if self._defaults > _MAX_DEFAULTS or self._letters > _MAX_DEFAULT_LETTERS:
            raise UnreadableImage("the svg's DOCTYPE gives its elements too many attributes; write them out")


def read_svg(content: bytes, max_bytes: int) -> Element:
    """Read an SVG as `parse_svg` does, unless it has more bytes than allowed (ImageTooLarge)."""
    check_bytes(len(content), max_bytes, "the svg")
    return parse_svg(content)


def parse_svg(content: bytes, room: EntityRoom | None = None) -> Element:
    """Read an SVG into a tree of bounded depth and number of elements, entities written out.

    Args:
        content: The document.
        room: What is left for entities, where other documents share it.

    Raises:
        UnreadableImage: No well-formed XML, entities but short texts of the document itself, or beyond the bounds.
    """
    try:
        document = _decode_wide(content)
        uses = document.count("&") if isinstance(document, str) else document.count(b"&")
        parser = _BoundedParser(uses, room or EntityRoom())
        parser.feed(document)
        root: Element = parser.close()
    except DefusedXmlException as exc:
        raise UnreadableImage("the svg takes XML entities from elsewhere, which are refused; write them out") from exc
    except (ParseError, ValueError, LookupError) as exc:
        raise UnreadableImage(f"the svg is not well-formed XML ({exc})") from exc
    # Without a namespace on the root it is left out everywhere, as browsers accept it inside a page.
    missing = SVG if root.tag == "svg" else _NOWHERE
    for element in root.iter():
        if not element.tag.startswith("{"):
            element.tag = missing + element.tag
    if root.tag != f"{SVG}svg":
        raise UnreadableImage("the XML document's root is not an svg element of the SVG namespace")
    return root


def _decode_wide(content: bytes) -> bytes | str:
    """Decode a document in a Chinese, Japanese or Korean encoding; any other stays as it is."""
    declared = _DECLARED_ENCODING.match(content)
    name = codecs.lookup(declared[1].decode("ascii")).name if declared else ""
    return content.decode(name) if name in _WIDE_ENCODINGS else content


def intrinsic_size(root: Element) -> tuple[float, float]:
    """Tell width and height in CSS pixels from width, height and viewBox.

    What they don't say is 300 wide and 150 high, as for any replaced element (CSS 2.1, section 10.3.2).
    """
    box = _view_box(root)
    whole = box or _WITHOUT_SIZE
    font_size = _font_size(root)
    width, height = _length(root.get("width"), whole[0], font_size), _length(root.get("height"), whole[1], font_size)
    if box is not None and width is None and height is not None:
        return height * box[0] / box[1], height
    if box is not None and height is None and width is not None:
        return width, width * box[1] / box[0]
    return width or whole[0], height or whole[1]


def rendered_size(size: tuple[float, float]) -> tuple[int, int]:
    """Round a size to whole pixels, halves up and at least one a side, as browsers and resvg do."""
    # What a float is beside a half, it is by the way it was reckoned.
    width, height = (max(1, floor(round(side, 3) + 0.5)) for side in size)
    return width, height


def stretch(root: Element, width: int, height: int) -> bool:
    """Have a document say another size in pixels, what it draws stretched to it; False where that takes more than this.

    It takes more where its own frame keeps another ratio of sides than the document has, and leaves room at two sides.
    """
    own_width, own_height = intrinsic_size(root)
    box = _view_box(root)
    if box is None:
        if root.get("viewBox") is not None:
            return False
        root.set("viewBox", f"0 0 {own_width:.12g} {own_height:.12g}")
    elif not isclose(box[0] * own_height, box[1] * own_width, rel_tol=_SAME_RATIO):
        return False
    root.set("preserveAspectRatio", "none")
    root.set("width", str(width))
    root.set("height", str(height))
    return True


def _view_box(root: Element) -> tuple[float, float] | None:
    numbers = [float(number) for number in _NUMBER.findall(root.get("viewBox", ""))[: _VIEW_BOX_NUMBERS + 1]]
    if len(numbers) != _VIEW_BOX_NUMBERS or min(numbers[2:]) <= 0 or max(numbers[2:]) > _LARGEST:
        return None
    return numbers[2], numbers[3]


# Beyond any limit on a side, and still far from what floats can't hold.
_LARGEST = 1e9


def _length(text: str | None, whole: float, font_size: float) -> float | None:
    value = _pixels(text, whole, font_size)
    return None if value is None else _positive(value)


def _font_size(root: Element) -> float:
    """Tell what an em of the root is; a name of a size, which says none in pixels, leaves it as it is."""
    styled = _STYLED_FONT_SIZE.search(root.get("style", ""))
    return _pixels(styled[1] if styled else root.get("font-size"), FONT_SIZE, FONT_SIZE) or FONT_SIZE


def _pixels(text: str | None, whole: float, font_size: float) -> float | None:
    match = _LENGTH.fullmatch(text or "")
    if match is None:
        return None
    value, unit = float(match[1]), match[2].lower()
    if unit == "%":
        return whole * value / 100
    factor = _FONT_SIZES[unit] * font_size if unit in _FONT_SIZES else _PIXELS.get(unit)
    return None if factor is None else value * factor


def _positive(value: float) -> float:
    if value <= 0:
        raise UnreadableImage("the svg says it is 0 pixels wide or high")
    return min(value, _LARGEST)
