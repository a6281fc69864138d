"""NACA airfoils of four and five digits, by formula.

E. N. Jacobs, K. E. Ward, R. M. Pinkerton, NACA Report 460 (1933); E. N. Jacobs, R. M. Pinkerton,
H. Greenberg, NACA Report 610 (1937); I. H. Abbott, A. E. von Doenhoff, Theory of Wing Sections
(1959), chapter 6.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from sciml.flow.shapes.outlines import polygon
from sciml.flow.shapes.shape import Shape

__all__ = ["naca"]

Line = Float64[np.ndarray, " x"]

# Five digits: where the mean line's curvature ends m, k₁ and k₂/k₁ at a design lift of 0.3.
PLAIN = {
    1: (0.0580, 361.400, 0.0),
    2: (0.1260, 51.640, 0.0),
    3: (0.2025, 15.957, 0.0),
    4: (0.2900, 6.643, 0.0),
    5: (0.3910, 3.230, 0.0),
}
REFLEXED = {
    2: (0.1300, 51.990, 0.000764),
    3: (0.2170, 15.793, 0.00677),
    4: (0.3180, 6.520, 0.0303),
    5: (0.4410, 3.191, 0.1355),
}


def naca(code: str, *, closed: bool = True, points: int = 80) -> Shape:
    r"""A NACA airfoil of unit chord, from the leading edge at the origin along +x.

    The half thickness :math:`y_t` is laid off at right angles to the mean line :math:`y_c`:

    .. math:: y_t = 5 \tau (0.2969\sqrt{x} - 0.1260 x - 0.3516 x^2 + 0.2843 x^3 - 0.1015 x^4)

    Args:
        code: four digits (camber %, its position in tenths, thickness %) or five (design lift
            over 0.15, position of the camber in twentieths, 1 for a reflexed mean line,
            thickness %).
        closed: whether the trailing edge is sharp, by the coefficient 0.1036 in place of 0.1015;
            otherwise a straight edge closes it.
        points: points on each side, cosine-spaced.

    Raises:
        ValueError: for a code that is not one of these.

    Example:
        >>> thick = naca("0012")
        >>> round(thick.bounds[3] - thick.bounds[1], 3)
        0.12
    """
    thickness = _thickness_of(code)
    x = 0.5 * (1.0 - np.cos(np.linspace(0.0, np.pi, points + 1)))
    half = half_thickness(x, thickness, closed=closed)
    camber, slope = _mean_line(code, x)
    along = 1.0 / np.hypot(1.0, slope)
    normal = np.stack([-slope * along, along], axis=1) * half[:, None]
    mean = np.stack([x, camber], axis=1)
    outline = np.concatenate([(mean + normal)[::-1], (mean - normal)[1:]])
    numbers = {"code": float(code), "thickness": thickness, "camber": float(np.abs(camber).max())}
    return polygon(outline, family="naca", parameters=numbers)


def half_thickness(x: Line, thickness: float, *, closed: bool = True) -> Line:
    """Half the thickness of the four- and five-digit airfoils, all in chords.

    Example:
        >>> half_thickness(np.array([0.0, 0.3, 1.0]), 0.12).round(4)
        array([0.  , 0.06, 0.  ])
    """
    last = -0.1036 if closed else -0.1015
    series = x * (-0.1260 + x * (-0.3516 + x * (0.2843 + x * last)))
    half = 5.0 * thickness * (0.2969 * np.sqrt(x) + series)
    return np.where(x >= 1.0, 0.0, half) if closed else half


def _thickness_of(code: str) -> float:
    if not (code.isascii() and code.isdigit() and len(code) in (4, 5)):
        raise ValueError(f"A NACA airfoil is named by four or five digits, not {code!r}.")
    if code[-2:] == "00":
        raise ValueError(f"NACA {code} has no thickness; its last two digits are at least 01.")
    return int(code[-2:]) / 100.0


def _mean_line(code: str, x: Line) -> tuple[Line, Line]:
    """Height and slope of the mean line."""
    if len(code) == 4:
        return _four_digit_line(code, x)
    return _five_digit_line(code, x)


def _four_digit_line(code: str, x: Line) -> tuple[Line, Line]:
    """Two parabolas that meet at the highest camber m, at p."""
    m, p = int(code[0]) / 100.0, int(code[1]) / 10.0
    if m == 0.0:
        return np.zeros_like(x), np.zeros_like(x)
    if p == 0.0:
        raise ValueError(f"NACA {code} has camber at no position; its second digit is 1 to 9.")
    reach = np.where(x < p, p, 1.0 - p)
    height = m * (1.0 - ((x - p) / reach) ** 2)
    return height, 2.0 * m * (p - x) / reach**2


def _five_digit_line(code: str, x: Line) -> tuple[Line, Line]:
    """A cubic up to m, then a line, or for a reflexed one a second cubic."""
    lift, position, reflex = int(code[0]), int(code[1]), int(code[2])
    table = REFLEXED if reflex else PLAIN
    if lift == 0 or reflex > 1 or position not in table:
        raise ValueError(
            f"NACA {code} is not in the five-digit tables: the first three digits are a lift of "
            "1 to 9, then 10, 20, 30, 40, 50 or, reflexed, 21, 31, 41, 51."
        )
    m, k, ratio = table[position]
    common = ratio * (1.0 - m) ** 3 + m**3
    ahead = np.where(x < m, 1.0, ratio) * (x - m) ** 3
    tilt = np.where(x < m, 1.0, ratio) * (x - m) ** 2
    factor = k * lift / 2.0 / 6.0
    return factor * (ahead - common * x + m**3), factor * (3.0 * tilt - common)
