"""Two-tone colouring and small affine jitter of grey ink masks.

All arithmetic on pixels is on integers, so the result is the same to the bit on every machine.
"""

import numpy as np

SCALE = (0.72, 1.0)
ANGLE = 0.26
SHIFT = 2.5
CONTRAST = 60

_CHUNK = 64
# Sampling positions have 16 fractional bits in units of half a pixel of the doubled mask: a quarter pixel.
_BITS = 16
_WEIGHT_BITS = 6
# Catmull-Rom weights a quarter of a pixel off centre, times 128.
_CUBIC = (-9, 111, 29, -3)
_LUMA = (30, 59, 11)


def colour_masks(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn each mask by up to ±0.26 rad, shrink it to 72-100 %, shift it and give it two random colours.

    The shift is up to ±2.5 px. Ink and ground differ by more than 60 grey levels of luma; either may be the
    lighter. Outside the mask there is ground.

    Args:
        masks: Ink, uint8 ``[N, S, S]``, 0 is ground and 255 full ink; S is even.
        rng: Source of randomness; the draws of an image depend on N too.

    Returns:
        uint8 ``[N, 3, S, S]``.
    """
    count = len(masks)
    angle = rng.uniform(-ANGLE, ANGLE, count)
    stretch = 1 / rng.uniform(*SCALE, count)
    shift = rng.uniform(-SHIFT, SHIFT, (count, 2))
    cosine, sine = np.cos(angle) * stretch, np.sin(angle) * stretch
    matrix = np.stack([cosine, -sine, sine, cosine], axis=1).reshape(count, 2, 2)
    # Rounded here once: a last-bit difference between libraries' sines does not survive it.
    fixed = np.rint(matrix * 2**_BITS).astype(np.int32)
    moved = np.rint(np.einsum("nij,nj->ni", matrix, 4 * shift) * 2**_BITS).astype(np.int32)
    ink, ground = _two_colours(count, rng)
    coloured = np.empty((count, 3, *masks.shape[1:]), dtype=np.uint8)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        mask = _jitter(masks[part], fixed[part], moved[part])[:, None]
        blend = ink[part, :, None, None] * mask + ground[part, :, None, None] * (255 - mask)
        coloured[part] = (blend + 127) // 255
    return coloured


def _two_colours(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ink and ground colours, int32 ``[count, 3]`` each; pairs with too little contrast are drawn again."""
    pairs = rng.integers(0, 256, (count, 2, 3), dtype=np.int32)
    while True:
        luma = pairs @ np.array(_LUMA, dtype=np.int32)
        dull = np.flatnonzero(np.abs(luma[:, 0] - luma[:, 1]) <= 100 * CONTRAST)
        if not len(dull):
            return pairs[:, 0], pairs[:, 1]
        pairs[dull] = rng.integers(0, 256, (len(dull), 2, 3), dtype=np.int32)


def _jitter(masks: np.ndarray, matrix: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Sample masks at affinely moved positions, two by two for each pixel.

    Args:
        masks: uint8 ``[n, S, S]``.
        matrix: int32 ``[n, 2, 2]``, from output to input coordinates (x, y) about the centre; 16 of the
            bits are fractional.
        moved: int32 ``[n, 2]``, how far the centre is moved, in quarters of a pixel; likewise.

    Returns:
        int32 ``[n, S, S]`` in 0-255.
    """
    count, side = masks.shape[:2]
    size = 2 * side
    # Corners of the output reach about 1.7 half-sizes from the centre; the margin holds all they can touch.
    margin = size
    padded = np.zeros((count, size + 2 * margin, size + 2 * margin), dtype=np.uint8)
    padded[:, margin:-margin, margin:-margin] = _double(masks)
    grid = np.arange(1 - size, size, 2, dtype=np.int32)
    x, y = grid[None, None, :], grid[None, :, None]
    coordinates = []
    for axis in (0, 1):
        a, b = matrix[:, axis, 0, None, None], matrix[:, axis, 1, None, None]
        centre = (size - 1 + 2 * margin) << _BITS
        coordinates.append(a * x + b * y + (centre - moved[:, axis, None, None]))
    (column, right), (row, below) = (_whole_and_part(c) for c in coordinates)
    width = padded.shape[2]
    flat = padded.reshape(-1)
    first = np.arange(count, dtype=np.int32)[:, None, None] * (width * width) + row * width + column
    one = 1 << _WEIGHT_BITS
    upper = flat.take(first) * (one - right) + flat.take(first + 1) * right
    lower = flat.take(first + width) * (one - right) + flat.take(first + width + 1) * right
    sampled = upper * (one - below) + lower * below
    summed = sampled.reshape(count, side, 2, side, 2).sum((2, 4), dtype=np.int32)
    return (summed + (2 << 2 * _WEIGHT_BITS)) >> (2 + 2 * _WEIGHT_BITS)


def _whole_and_part(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel of the doubled mask and interpolation weight (0 to 63) of fixed-point positions."""
    return position >> (_BITS + 1), (position >> (_BITS + 1 - _WEIGHT_BITS)) & ((1 << _WEIGHT_BITS) - 1)


def _double(masks: np.ndarray) -> np.ndarray:
    """Masks ``[n, S, S]`` at twice the size, uint8 ``[n, 2S, 2S]``, by cubic interpolation."""
    rows = _double_last(masks.astype(np.int32).swapaxes(1, 2)).swapaxes(1, 2)
    return _double_last(rows).astype(np.uint8)


def _double_last(x: np.ndarray) -> np.ndarray:
    """Twice as many samples along the last axis of int32 ``[n, k, S]``, edges repeated, clipped to 0-255."""
    size = x.shape[2]
    edged = np.pad(x, ((0, 0), (0, 0), (2, 2)), mode="edge")
    around = [edged[:, :, k : k + size] for k in range(5)]
    a, b, c, d = _CUBIC
    before = d * around[0] + c * around[1] + b * around[2] + a * around[3]
    after = a * around[1] + b * around[2] + c * around[3] + d * around[4]
    doubled = np.stack([before, after], axis=3).reshape(*x.shape[:2], 2 * size)
    return np.clip((doubled + 64) >> 7, 0, 255)
