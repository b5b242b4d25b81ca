"""The run-length codings of BMP: RLE8, RLE4 and OS/2's RLE24."""

import numpy as np
import numpy.typing as npt

_END_OF_LINE, _END_OF_PICTURE, _DELTA = 0, 1, 2
_PAIRS_AT_ONCE = 4096
_FEW_PAIRS = 16
# The two 4-bit pixels of each byte.
_HALVES = tuple(bytes((byte >> 4, byte & 15)) for byte in range(256))

Bytes = npt.NDArray[np.uint8]


def decode_runs(data: bytes, width: int, height: int, bits: int) -> tuple[bytearray, bytearray]:
    """Decode runs, rows in stored order; what lies beyond a row's end is dropped.

    Args:
        data: The coded pixels.
        width: Pixels a row.
        height: Rows.
        bits: 4, 8 or 24 a pixel.

    Returns:
        For each pixel 1 where a run covers it, else 0; and its index, or its three bytes.

    Raises:
        EOFError: The data end before the last row and without an end mark.
    """
    return _Runs(data, width, height, bits).decode()


class _Runs:
    def __init__(self, data: bytes, width: int, height: int, bits: int) -> None:
        self._data, self._width, self._height, self._bits = data, width, height, bits
        self._bytes_a_pixel = max(1, bits // 8)
        self._drawn = bytearray(width * height)
        self._pixels = bytearray(width * height * self._bytes_a_pixel)
        self._offset = self._x = self._y = 0

    def decode(self) -> tuple[bytearray, bytearray]:
        while self._y < self._height:
            self._draw_runs()
            mark = self._data[self._offset : self._offset + 2]
            if len(mark) < 2:  # noqa: PLR2004 - two bytes
                if self._y == self._height - 1 and self._x >= self._width:
                    break
                raise EOFError
            self._offset += 2
            if mark[1] == _END_OF_PICTURE:
                break
            if mark[1] == _END_OF_LINE:
                self._x, self._y = 0, self._y + 1
            elif mark[1] == _DELTA:
                step = self._take(2)
                self._x, self._y = self._x + step[0], self._y + step[1]
            else:
                self._draw_literal(mark[1])
        return self._drawn, self._pixels

    def _take(self, count: int) -> bytes:
        taken = self._data[self._offset : self._offset + count]
        if len(taken) < count:
            raise EOFError
        self._offset += count
        return taken

    def _draw_runs(self) -> None:
        """Draw all runs up to the next escape, those of a row at once."""
        entry = 1 + self._bytes_a_pixel
        # Where escapes follow each other closely, an array would cost more than the few runs between.
        for _ in range(_FEW_PAIRS):
            if len(pair := self._data[self._offset : self._offset + entry]) < entry or not pair[0]:
                return
            self._offset += entry
            count, value = pair[0], pair[1:]
            is_halved = self._bits == 4  # noqa: PLR2004 - bits
            self._draw(_HALVES[value[0]] * ((count + 1) // 2) if is_halved else value * count, count)
        while True:
            count = min(_PAIRS_AT_ONCE, (len(self._data) - self._offset) // entry)
            pairs = np.frombuffer(self._data, np.uint8, count * entry, self._offset).reshape(-1, entry)
            escapes = np.flatnonzero(pairs[:, 0] == 0)
            ends = int(escapes[0]) if len(escapes) else count
            if ends:
                self._offset += ends * entry
                repeated = self._repeat(pairs[:ends])
                self._draw(repeated.astype(np.uint8).tobytes(), len(repeated))
            if ends < _PAIRS_AT_ONCE:
                return

    def _repeat(self, pairs: Bytes) -> Bytes:
        if self._bits != 4:  # noqa: PLR2004 - bits
            return np.repeat(pairs[:, 1:], pairs[:, 0], axis=0)
        # A run of 4-bit pixels alternates between the two halves of its byte, beginning with the upper.
        lengths = pairs[:, 0].astype(np.int64)
        values = np.repeat(pairs[:, 1], lengths)
        place = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.where(place % 2 == 0, values >> 4, values & 15)[:, None]

    def _draw_literal(self, count: int) -> None:
        stored = (count + 1) // 2 if self._bits == 4 else count * self._bytes_a_pixel  # noqa: PLR2004 - bits
        values = self._take(stored)
        self._offset += stored % 2
        if self._bits == 4:  # noqa: PLR2004 - bits
            values = b"".join(map(_HALVES.__getitem__, values))
        self._draw(values, count)

    def _draw(self, values: bytes, count: int) -> None:
        start, size = self._y * self._width + self._x, self._bytes_a_pixel
        fitting = min(count, max(0, self._width - self._x))
        if fitting:
            end = start + fitting
            self._drawn[start:end] = b"\x01" * fitting
            self._pixels[start * size : end * size] = values[: fitting * size]
        self._x += count
