"""The coding of faxes in BMPs of OS/2: runs of two colours by ITU-T T.4, one-dimensional ("modified Huffman").

Libtiff knows the coding, but does not tell when rows are missing or damaged, and stumbles over what lacks or precedes
end-of-line codes.
Sources: ITU-T T.4, tables 2 and 3; OS/2's pmbitmap.h, which knows rows from the bottom up only; on which colour is
white, of which no document speaks, the consensus that the manual of bmplib reports.
"""

import re
from functools import cache

import numpy as np
import numpy.typing as npt

from imgapi.errors import ImageTooLarge, UnreadableImage

# Codes of the runs 0 to 63, then of 64, 128 … 1728; those of 1792, 1856 … 2560 are the same for both colours.
_WHITE = """
00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101
101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010 00000011
00011010 00011011 00010010 00010011 00010100 00010101 00010110 00010111 00101000 00101001 00101010 00101011 00101100
00101101 00000100 00000101 00001010 00001011 01010010 01010011 01010100 01010101 00100100 00100101 01011000 01011001
01011010 01011011 01001010 01001011 00110010 00110011 00110100
11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010 011010011
011010100 011010101 011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000
010011011
"""
_BLACK = """
0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 000011000
0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 00000010111 00000011000
000011001010 000011001011 000011001100 000011001101 000001101000 000001101001 000001101010 000001101011 000011010010
000011010011 000011010100 000011010101 000011010110 000011010111 000001101100 000001101101 000011011010 000011011011
000001010100 000001010101 000001010110 000001010111 000001100100 000001100101 000001010010 000001010011 000000100100
000000110111 000000111000 000000100111 000000101000 000001011000 000001011001 000000101011 000000101100 000001011010
000001100110 000001100111
0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 0000001101101
0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 0000001110100 0000001110101
0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 0000001010101 0000001011010 0000001011011
0000001100100 0000001100101
"""
_LONG = """
00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 000000010111
000000011100 000000011101 000000011110 000000011111
"""
_LONGEST_CODE = 13
# An end of line is a 1 after at least so many zeros.
_EOL_ZEROS = 11
_FIRST_MAKE_UP = 64
_NOT_ZERO = re.compile(rb"[^\x00]")
# A page of text at 600 dpi has a tenth of them.
_MAX_RUNS = 5_000_000

Pixels = npt.NDArray[np.uint8]


@cache
def _lengths_and_runs(codes: str) -> tuple[bytes, tuple[int, ...]]:
    """List, by the next 13 bits, how long the code is that they begin with (0: none), and its run."""
    lengths, runs = bytearray(1 << _LONGEST_CODE), [0] * (1 << _LONGEST_CODE)
    for number, code in enumerate((codes + _LONG).split()):
        free = _LONGEST_CODE - len(code)
        first = int(code, 2) << free
        for place in range(first, first + (1 << free)):
            lengths[place] = len(code)
            runs[place] = number if number < _FIRST_MAKE_UP else (number - _FIRST_MAKE_UP + 1) * _FIRST_MAKE_UP
    return bytes(lengths), tuple(runs)


def decode_huffman(data: bytes, width: int, height: int) -> Pixels:
    """Decode H×W pixels, rows in stored order: 0 where T.4 says white, 1 where it says black.

    Each row begins with a white run and may have an end-of-line code before it.

    Raises:
        EOFError: The data end, or say that the page ends, before the last row.
        UnreadableImage: Bits that are no code, or runs that do not add up to a row.
        ImageTooLarge: More runs than are taken.
    """
    reader = _Reader(data)
    runs: list[int] = []
    for row in range(height):
        if reader.skip_end_of_line() and reader.skip_end_of_line():
            # Two in succession end the page.
            raise EOFError
        reader.read_row(width, row, runs)
    pixels: Pixels = np.repeat(np.resize(np.array((0, 1), np.uint8), len(runs)), runs).reshape(height, width)
    return pixels


class _Reader:
    def __init__(self, data: bytes) -> None:
        # A code can be looked up wherever it begins.
        self._data, self._bits = data + bytes(3), 8 * len(data)
        self._place = 0

    def skip_end_of_line(self) -> bool:
        """Go behind an end-of-line code, with any zeros that fill it up; tell whether there is one."""
        byte, used = self._place >> 3, self._place & 7
        ahead = int.from_bytes(self._data[byte : byte + 3], "big") << used & 0xFFFFFF
        if self._place >= self._bits or ahead >> (24 - _EOL_ZEROS):
            return False
        if not ahead:
            found = _NOT_ZERO.search(self._data, byte + 1)
            if found is None:
                raise EOFError
            byte, used = found.start(), 0
            ahead = self._data[byte] << 16
        self._place = 8 * byte + used + 25 - ahead.bit_length()
        return True

    def read_row(self, width: int, row: int, runs: list[int]) -> None:
        """Add the runs of a row in turn white and black, an even number of them."""
        table, other = _lengths_and_runs(_WHITE), _lengths_and_runs(_BLACK)
        data, place, end = self._data, self._place, self._bits
        left = width
        while left:
            lengths, values = table
            run, value = 0, _FIRST_MAKE_UP
            while value >= _FIRST_MAKE_UP:
                at = place >> 3
                code = (data[at] << 16 | data[at + 1] << 8 | data[at + 2]) >> (11 - (place & 7)) & 0x1FFF
                place += lengths[code]
                if not lengths[code] or place > end or run > width:
                    raise self._fault(place, row)
                value = values[code]
                run += value
            left -= run
            if left < 0 or len(runs) > _MAX_RUNS:
                raise self._fault(place, row) if left < 0 else _too_many_runs()
            runs.append(run)
            table, other = other, table
        if len(runs) % 2:
            runs.append(0)
        self._place = place

    def _fault(self, place: int, row: int) -> Exception:
        if place + _LONGEST_CODE > self._bits:
            return EOFError()
        return UnreadableImage(f"the bmp picture is damaged: row {row} of its fax coding can't be decoded")


def _too_many_runs() -> Exception:
    return ImageTooLarge(
        f"the bmp picture has more than {_MAX_RUNS} runs in its fax coding; save it without that coding"
    )
