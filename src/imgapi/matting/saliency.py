"""Saliency by robust background detection: what is not tied to the frame stands out.

After Zhu, Liang, Wei and Sun, "Saliency Optimization from Robust Background Detection" (2014): superpixels,
boundary connectivity, background-weighted contrast and a closed-form smoothing.
"""

import cv2
import numpy as np

from imgapi.matting.pixels import Pixels

_SUPERPIXELS = 240
_ROUNDS = 4
_COMPACTNESS = 14.0
_COLOUR_SIGMA = 10.0
_SPACE_SIGMA = 0.25


def find_saliency(lab: Pixels) -> Pixels:
    """Rate every pixel 0..1 (H×W float32) by how much it stands out; `lab` is H×W×3 float32, about 320 px."""
    labels = _segment(lab)
    count = int(labels.max()) + 1
    height, width = labels.shape
    areas = np.bincount(labels.ravel(), minlength=count).astype(np.float64)
    y, x = np.mgrid[0:height, 0:width]
    places = np.stack(
        [
            np.bincount(labels.ravel(), weights=axis.ravel(), minlength=count) / areas
            for axis in (x / width, y / height)
        ],
        axis=1,
    )
    colours = np.stack(
        [np.bincount(labels.ravel(), weights=lab[:, :, i].ravel(), minlength=count) / areas for i in range(3)], axis=1
    )
    appearance = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    neighbours, rim = _neighbours(labels, count)
    background = _background_weight(appearance, neighbours, rim)
    near = np.exp(-(np.linalg.norm(places[:, None] - places[None], axis=2) ** 2) / (2 * _SPACE_SIGMA**2))
    contrast = (appearance * near * background[None]).sum(axis=1)
    contrast = contrast / max(1e-9, float(contrast.max()))
    values = _smooth(contrast, background, appearance, neighbours)
    return cv2.GaussianBlur(values[labels].astype(np.float32), (0, 0), 1.5)


def _segment(lab: Pixels) -> Pixels:
    """Superpixels: k-means in colour and place where each pixel may only join the nine grid cells round it."""
    height, width = lab.shape[:2]
    step = max(4.0, float(np.sqrt(height * width / _SUPERPIXELS)))
    rows, columns = max(1, round(height / step)), max(1, round(width / step))
    y, x = np.mgrid[0:height, 0:width]
    features = np.concatenate([lab, np.stack([x, y], axis=2) * (_COMPACTNESS / step)], axis=2).reshape(-1, 5)
    cell_row = np.minimum(y * rows // height, rows - 1).ravel()
    cell_column = np.minimum(x * columns // width, columns - 1).ravel()
    labels = cell_row * columns + cell_column
    for _ in range(_ROUNDS):
        counts = np.maximum(1, np.bincount(labels, minlength=rows * columns))
        centres = np.stack(
            [np.bincount(labels, weights=features[:, i], minlength=rows * columns) / counts for i in range(5)], axis=1
        ).astype(np.float32)
        nearest = np.full(labels.shape, np.inf, dtype=np.float32)
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                row = np.clip(cell_row + down, 0, rows - 1)
                column = np.clip(cell_column + across, 0, columns - 1)
                candidate = row * columns + column
                distance = ((features - centres[candidate]) ** 2).sum(axis=1)
                closer = distance < nearest
                nearest[closer] = distance[closer]
                labels = np.where(closer, candidate, labels)
    return np.unique(labels, return_inverse=True)[1].reshape(height, width)


def _neighbours(labels: Pixels, count: int) -> tuple[Pixels, Pixels]:
    """Adjacency (count×count bool, superpixels on the rim all adjacent) and how many rim pixels each has."""
    adjacent = np.zeros((count, count), dtype=bool)
    for one, other in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        adjacent[one.ravel(), other.ravel()] = True
    adjacent |= adjacent.T
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    rim = np.bincount(border, minlength=count).astype(np.float64)
    on_rim = rim > 0
    adjacent |= on_rim[:, None] & on_rim[None]
    np.fill_diagonal(adjacent, val=False)
    return adjacent, rim


def _background_weight(appearance: Pixels, neighbours: Pixels, rim: Pixels) -> Pixels:
    """Turn boundary connectivity (rim length over the square root of the soft area) into a weight 0..1."""
    cost = np.where(neighbours, np.maximum(0.0, appearance - 3.0), np.inf)
    np.fill_diagonal(cost, 0.0)
    for middle in range(len(cost)):
        np.minimum(cost, cost[:, middle, None] + cost[None, middle], out=cost)
    closeness = np.exp(-(cost**2) / (2 * _COLOUR_SIGMA**2))
    soft_area = closeness.sum(axis=1)
    soft_rim = closeness @ (rim > 0).astype(np.float64)
    connectivity = soft_rim / np.sqrt(soft_area)
    return np.asarray(1.0 - np.exp(-(connectivity**2) / 2.0))


def _smooth(contrast: Pixels, background: Pixels, appearance: Pixels, neighbours: Pixels) -> Pixels:
    weights = np.where(neighbours, np.exp(-(appearance**2) / (2 * _COLOUR_SIGMA**2)) + 0.1, 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    system = np.diag(5.0 * background + contrast) + laplacian
    return np.clip(np.linalg.solve(system + 1e-6 * np.eye(len(system)), contrast), 0.0, 1.0)
