"""Shapes out of files: airfoil coordinates, points, masks and sections of surfaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from zipfile import BadZipFile

import numpy as np
import PIL.Image
from jaxtyping import Float64

from sciml.flow.masks import shape_of_mask
from sciml.flow.sections import read_stl
from sciml.flow.shapes import Shape, polygon

__all__ = [
    "READERS",
    "parse_airfoil",
    "read_airfoil",
    "read_array",
    "read_image",
    "read_points",
    "read_shape",
    "read_stl",
]

Points = Float64[np.ndarray, "_ 2"]

BLUNT = 0.3  # of the chord: the bluntest trailing edge that a straight line closes
GAP = 0.1  # of the extent: the widest gap in other curves
COUNTS = 1.5  # a first pair above this counts points (Lednicer); a unit chord stays below


def read_shape(path: Path | str) -> Shape:
    """The shape in a file, whose extension says how to read it.

    ``.dat`` holds an airfoil (:func:`read_airfoil`), ``.csv`` and ``.txt`` points
    (:func:`read_points`), ``.png`` a silhouette (:func:`read_image`), ``.npy`` and ``.npz`` a mask
    (:func:`read_array`), ``.stl`` a surface cut at half its height (:func:`read_stl`), ``.json``
    what :meth:`Shape.to_json` wrote.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for another extension, a file that cannot be read, or a shape that is not
            valid; the sentence names the file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        known = ", ".join(READERS)
        raise ValueError(f"{path} has the extension {suffix!r}; shapes are read from {known}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    return READERS[suffix](path)


def read_airfoil(path: Path | str) -> Shape:
    """An airfoil of unit chord from a ``.dat`` file in Selig's or Lednicer's order.

    Raises:
        ValueError: naming the file, and the line where it can.
    """
    return _named(path, lambda: parse_airfoil(_text(path)))


def parse_airfoil(text: str) -> Shape:
    r"""An airfoil from the text of a ``.dat`` file.

    Selig's order goes round from the trailing edge over the upper side; Lednicer's gives the
    number of points of the upper and the lower side, then each from the leading edge. What stands
    before the first pair of numbers and after the last is a title or a note.

    Example:
        >>> selig = parse_airfoil("a diamond\n 1 0\n .5 .1\n 0 0\n .5 -.1\n")
        >>> lednicer = parse_airfoil("a diamond\n2. 3.\n\n0 0\n.5 .1\n\n0 0\n.5 -.1\n1 0\n")
        >>> round(selig.area, 6), round(lednicer.area, 6)
        (0.1, 0.1)
    """
    rows = _pairs(text)
    if not rows:
        raise ValueError("No line holds a pair of coordinates x y.")
    points = np.array(rows)
    if points[0].min() > COUNTS:
        points = _from_lednicer(points)
    elif _is_two_runs(points[:, 0]):
        points = _join_runs(points)
    return polygon(points, family="airfoil", largest_gap=BLUNT)


def read_points(path: Path | str) -> Shape:
    """A polygon from lines of x and y [m], apart by a comma, a semicolon or white space.

    A first line of column names and lines that begin with ``#`` are passed over.

    Raises:
        ValueError: naming the file, and the line where it can.
    """

    def read() -> Shape:
        lines = [line.partition("#")[0] for line in _text(path).splitlines()]
        rows = _pairs("\n".join(lines), notes=False)
        return polygon(np.array(rows).reshape(-1, 2), largest_gap=GAP)

    return _named(path, read)


def read_image(path: Path | str, *, pixel: float = 1.0) -> Shape:
    """The silhouette in an image.

    The fluid has the tone of most of the border, and the outline lies half way between it and the
    tone furthest from it; a picture with transparency shows its body where it is opaque.

    Args:
        path: a PNG file.
        pixel: side of a pixel [m].

    Raises:
        ValueError: naming the file.
    """

    def read() -> Shape:
        content = BytesIO(Path(path).read_bytes())
        try:
            with PIL.Image.open(content) as image:
                solidity = _solidity(image)
        except (OSError, SyntaxError) as error:  # Pillow's ways to refuse an image
            raise ValueError(f"it is not a whole image ({error}).") from error
        return shape_of_mask(solidity, pixel=pixel)

    return _named(path, read)


def read_array(path: Path | str, *, index: int | None = None, pixel: float = 1.0) -> Shape:
    """The body in a mask, 1 in the solid and row 0 at the top, from a ``.npy`` or ``.npz`` file.

    Args:
        path: the file; an archive holds one array, or one called ``mask``.
        index: which mask, if the array is a stack of them.
        pixel: side of a pixel [m].

    Raises:
        ValueError: naming the file.
    """

    def read() -> Shape:
        mask = _array(Path(path))
        if mask.ndim == 3 and index is None:
            raise ValueError(f"It holds {len(mask)} masks; say which with read_array(index=...).")
        if index is not None:
            if mask.ndim != 3 or not 0 <= index < len(mask):
                raise ValueError(f"It holds no mask number {index}; its shape is {mask.shape}.")
            mask = mask[index]
        return shape_of_mask(mask, pixel=pixel)

    return _named(path, read)


def _read_json(path: Path) -> Shape:
    return _named(path, lambda: Shape.from_json(_text(path)))


READERS: Mapping[str, Callable[[Path], Shape]] = MappingProxyType(
    {
        ".dat": read_airfoil,
        ".csv": read_points,
        ".txt": read_points,
        ".png": read_image,
        ".npy": read_array,
        ".npz": read_array,
        ".stl": lambda path: _named(path, lambda: read_stl(path)),
        ".json": _read_json,
    }
)
"""How to read a shape, by the extension of its file."""


def _named(path: Path | str, read: Callable[[], Shape]) -> Shape:
    """Read, with the name of the file in front of whatever is wrong with it."""
    try:
        return read()
    except ValueError as error:
        raise ValueError(f"{path} gives no shape: {error}") from error


def _text(path: Path | str) -> str:
    content = Path(path).read_bytes()
    if b"\0" in content:
        raise ValueError("it is not text.")
    return content.decode("utf-8-sig", errors="replace")


def _pairs(text: str, *, notes: bool = True) -> list[list[float]]:
    """Every line of two numbers; a line of another kind between them is refused.

    Notes may follow the last of them, unless forbidden.
    """
    lines = text.splitlines()
    numbers = _numbers(lines)
    pairs = [row for row, values in enumerate(numbers) if len(values) == 2]
    if not pairs:
        return []
    broken = {row for row in range(pairs[0], pairs[-1]) if lines[row].strip()} - set(pairs)
    after = range(pairs[-1] + 1, len(lines))
    broken |= {row for row in after if numbers[row] or (lines[row].strip() and not notes)}
    if broken:
        row = min(broken)
        content = lines[row].strip()[:40]
        raise ValueError(f"Line {row + 1} is not a pair of coordinates: {content!r}.")
    return [numbers[row] for row in pairs]


def _numbers(lines: list[str]) -> list[list[float]]:
    """The numbers of each line, none where it holds anything else."""
    numbers: list[list[float]] = []
    for line in lines:
        try:
            numbers.append([float(w) for w in line.replace(",", " ").replace(";", " ").split()])
        except ValueError:
            numbers.append([])
    return numbers


def _from_lednicer(points: Points) -> Points:
    upper, lower = points[0]
    if not (upper + lower == len(points) - 1 and upper == int(upper)):
        raise ValueError(
            f"The first pair announces {upper:g} + {lower:g} points in Lednicer's order, "
            f"but {len(points) - 1} follow."
        )
    top, bottom = points[1 : 1 + int(upper)], points[1 + int(upper) :]
    return np.concatenate([top[::-1], bottom])


def _is_two_runs(x: np.ndarray) -> bool:
    """Whether x runs twice from the leading edge to the trailing edge: Lednicer without counts."""
    if len(x) < 4:
        return False
    fall = int(np.argmin(np.diff(x)))
    chord = np.ptp(x)
    return bool(x[fall] - x[fall + 1] > 0.9 * chord and x[0] < x.min() + 0.05 * chord)


def _join_runs(points: Points) -> Points:
    fall = int(np.argmin(np.diff(points[:, 0]))) + 1
    return np.concatenate([points[:fall][::-1], points[fall:]])


def _solidity(image: PIL.Image.Image) -> Float64[np.ndarray, "rows columns"]:
    """1 in the body and 0 in the fluid, by opacity if there is any transparency, else by tone."""
    if image.has_transparency_data:
        opacity = np.asarray(image.convert("RGBA"), dtype=np.float64)[..., 3] / 255.0
        if opacity.min() < 0.5:
            return opacity
    tone = np.asarray(image.convert("RGB").convert("L"), dtype=np.float64)
    fluid = np.median(np.concatenate([tone[0], tone[-1], tone[:, 0], tone[:, -1]]))
    contrast = np.abs(tone - fluid)
    if contrast.max() == 0.0:
        raise ValueError("All of the picture has one tone, so it shows no body.")
    return contrast / contrast.max()


def _array(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (BadZipFile, EOFError) as error:
        raise ValueError(f"it is not a NumPy file ({error}).") from error
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded as archive:
        name = "mask" if "mask" in archive.files else archive.files[0] if archive.files else ""
        if len(archive.files) != 1 and name != "mask":
            held = ", ".join(archive.files) or "nothing"
            raise ValueError(f"It holds {held}; expected one array, or one called mask.")
        return archive[name]
