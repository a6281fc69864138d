"""Pope's invariants and tensors by components, their contraction, and the transposes of all three.

Like :mod:`sciml.kernels.tensor_basis.matrices` only sums and products: torch runs it as it stands,
numba and Triton compile it. With w for r (r x = w × x), r² = w wᵀ - |w|² I, and

    T2 = s r - r s                      T5  = -(s² r - r s²)
    T7 = w pᵀ + p wᵀ + |w|² T2          T10 = w qᵀ + q wᵀ - |w|² T5
    T8 = -(s y - y s)

with p = w × s w and q = w × s² w, where y = s r s belongs to the vector adj(s) w.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from sciml.kernels.tensor_basis.matrices import (
    adjugate,
    adjugate_back,
    applied,
    cross,
    deviator,
    dot,
    dyad,
    inner,
    negative,
    paired,
    plus,
    scaled,
    squared,
    squared_back,
    sum_of,
    symmetric,
    symmetric_back,
    times,
    turned,
    turned_back,
    turned_vector_back,
)

__all__ = [
    "contraction",
    "contraction_back",
    "invariants",
    "invariants_back",
    "parts",
    "parts_back",
    "size",
    "tensors",
    "tensors_back",
]


def size(g):
    """|S|² + |R|², which is the sum of the squares of the gradient's entries."""
    return (
        (g[0] * g[0] + g[1] * g[1] + g[2] * g[2])
        + (g[3] * g[3] + g[4] * g[4] + g[5] * g[5])
        + (g[6] * g[6] + g[7] * g[7] + g[8] * g[8])
    )


def parts(g, time, half):
    """s = τ S, and w of r = τ R, of a gradient row by row."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = g
    h = half * time
    s = (time * xx, h * (xy + yx), h * (xz + zx), time * yy, h * (yz + zy), time * zz)
    return s, (h * (zy - yz), h * (xz - zx), h * (yx - xy))


def parts_back(s, w, time, half):
    """By the gradient, from the derivatives by s and w."""
    xx, xy, xz, yy, yz, zz = s
    x, y, z = w
    h = half * time
    return (
        time * xx, h * (xy - z), h * (xz + y),
        h * (xy + z), time * yy, h * (yz - x),
        h * (xz - y), h * (yz + x), time * zz,
    )  # fmt: skip


def invariants(s, w):
    """tr s², tr r², tr s³, tr r² s, tr r² s²."""
    ss, ww, u = squared(s), dot(w, w), applied(s, w)
    trace = ss[0] + ss[3] + ss[5]
    off = s[1] * ss[1] + s[2] * ss[2] + s[4] * ss[4]
    cubed = (s[0] * ss[0] + s[3] * ss[3] + s[5] * ss[5]) + (off + off)
    return trace, -ww - ww, cubed, dot(w, u) - ww * (s[0] + s[3] + s[5]), dot(u, u) - ww * trace


def invariants_back(bar, s, w):
    """By s and w."""
    b1, b2, b3, b4, b5 = bar
    ss, ww, u = squared(s), dot(w, w), applied(s, w)
    a, b, c = (b1 - ww * b5) + (b1 - ww * b5), b3 + b3 + b3, ww * b4
    xx, xy, xz, yy, yz, zz = plus(times(a, s), times(b, ss))
    by_s = (xx - c, xy + xy, xz + xz, yy - c, yz + yz, zz - c)
    by_u = sum_of(scaled(b5 + b5, u), scaled(b4, w))
    by_ww = -(b2 + b2) - b4 * (s[0] + s[3] + s[5]) - b5 * (ss[0] + ss[3] + ss[5])
    by_w = sum_of(scaled(b4, u), scaled(by_ww + by_ww, w))
    return plus(by_s, paired(by_u, w)), sum_of(by_w, applied(s, by_u))


def tensors(s, w, third):
    """T1 to T10."""
    ss, ww = squared(s), dot(w, w)
    u, v = applied(s, w), applied(ss, w)
    t2, z, minus = turned(s, w), turned(ss, w), -ww - ww
    return (
        s,
        t2,
        deviator(ss, third),
        deviator(dyad(w), third),
        negative(z),
        deviator(plus(symmetric(w, u), times(minus, s)), third),
        plus(symmetric(w, cross(w, u)), times(ww, t2)),
        negative(turned(s, applied(adjugate(s), w))),
        deviator(plus(symmetric(w, v), times(minus, ss)), third),
        plus(symmetric(w, cross(w, v)), times(ww, z)),
    )


def tensors_back(bars, s, w, third):
    """By s and w, from the derivatives by each of the ten."""
    b1, b2, b3, b4, b5, b6, b7, b8, b9, b10 = bars
    d3, d4 = deviator(b3, third), deviator(b4, third)
    d6, d9 = deviator(b6, third), deviator(b9, third)
    ss, ww, adj = squared(s), dot(w, w), adjugate(s)
    u, v, h = applied(s, w), applied(ss, w), applied(adj, w)
    minus, by_y = -ww - ww, negative(b8)
    by_t2, by_z = plus(b2, times(ww, b7)), plus(times(ww, b10), negative(b5))
    by_p, by_q = symmetric_back(b7, w), symmetric_back(b10, w)
    by_u = sum_of(symmetric_back(d6, w), cross(by_p, w))
    by_v = sum_of(symmetric_back(d9, w), cross(by_q, w))
    twice_by_ww = inner(b7, turned(s, w)) + inner(b10, turned(ss, w))
    twice_by_ww = twice_by_ww - (inner(d6, s) + inner(d6, s)) - (inner(d9, ss) + inner(d9, ss))
    twice_by_ww = twice_by_ww + twice_by_ww
    by_w = sum_of(turned_vector_back(by_t2, s), turned_vector_back(by_z, ss))
    by_w = sum_of(by_w, sum_of(symmetric_back(d4, w), scaled(twice_by_ww, w)))
    by_w = sum_of(by_w, sum_of(symmetric_back(d6, u), symmetric_back(d9, v)))
    by_w = sum_of(by_w, sum_of(symmetric_back(b7, cross(w, u)), cross(u, by_p)))
    by_w = sum_of(by_w, sum_of(symmetric_back(b10, cross(w, v)), cross(v, by_q)))
    by_s = plus(plus(b1, times(minus, d6)), plus(turned_back(by_t2, w), turned_back(by_y, h)))
    by_ss = plus(plus(d3, times(minus, d9)), turned_back(by_z, w))
    return gathered(by_s, by_ss, by_w, by_u, by_v, turned_vector_back(by_y, s), s, w)


def gathered(by_s, by_ss, by_w, by_u, by_v, by_h, s, w):
    """By s and w, with what comes by way of s², u = s w, v = s² w and h = adj(s) w."""
    ss, adj = squared(s), adjugate(s)
    by_s = plus(by_s, plus(paired(by_u, w), adjugate_back(paired(by_h, w), s)))
    by_s = plus(by_s, squared_back(plus(by_ss, paired(by_v, w)), s))
    by_w = sum_of(by_w, sum_of(applied(s, by_u), sum_of(applied(ss, by_v), applied(adj, by_h))))
    return by_s, by_w


def contraction(g, s, w, third, half):
    """Σ g_n T_n, what the tensors have in common taken together."""
    g1, g2, g3, _, g5, g6, g7, g8, g9, g10 = g
    ss, ww = squared(s), dot(w, w)
    u, v, h = applied(s, w), applied(ss, w), applied(adjugate(s), w)
    m, _ = along(g, u, v, w, half)
    rest = plus(times(-ww * (g6 + g6), s), times(g3 - ww * (g9 + g9), ss))
    rest = deviator(plus(rest, symmetric(w, m)), third)
    rest = plus(rest, turned(s, sum_of(scaled(g2 + ww * g7, w), scaled(-g8, h))))
    return plus(times(g1, s), plus(rest, turned(ss, scaled(ww * g10 - g5, w))))


def along(g, u, v, w, half):
    """m of the terms w mᵀ + m wᵀ of the contraction, and n of its part w × n."""
    n = sum_of(scaled(g[6], u), scaled(g[9], v))
    straight = sum_of(scaled(g[5], u), scaled(g[8], v))
    return sum_of(scaled(half * g[3], w), sum_of(straight, cross(w, n))), n


def contraction_back(bar, g, s, w, third, half):
    """By the coefficients, s and w."""
    g1, g2, g3, g4, g5, g6, g7, g8, g9, g10 = g
    ss, ww = squared(s), dot(w, w)
    u, v, h = applied(s, w), applied(ss, w), applied(adjugate(s), w)
    m, n = along(g, u, v, w, half)
    d = deviator(bar, third)
    e, t, z = symmetric_back(d, w), turned_vector_back(d, s), turned_vector_back(d, ss)
    c, ds, dss, dt, dz = cross(e, w), inner(d, s), inner(d, ss), dot(t, w), dot(z, w)
    by_g = (
        inner(bar, s), dt, dss, half * dot(e, w), -dz,
        dot(e, u) - ww * (ds + ds), dot(c, u) + ww * dt, -dot(t, h),
        dot(e, v) - ww * (dss + dss), dot(c, v) + ww * dz,
    )  # fmt: skip
    by_ww = g7 * dt + g10 * dz - g6 * (ds + ds) - g9 * (dss + dss)
    through_s, through_ss = g2 + ww * g7, ww * g10 - g5
    by_w = sum_of(sum_of(scaled(half * g4, e), symmetric_back(d, m)), cross(n, e))
    by_w = sum_of(by_w, sum_of(scaled(through_s, t), scaled(through_ss, z)))
    by_w = sum_of(by_w, scaled(by_ww + by_ww, w))
    by_u, by_v = (
        sum_of(scaled(g6, e), scaled(g7, c)), sum_of(scaled(g9, e), scaled(g10, c))
    )  # fmt: skip
    by_s = plus(times(g1, bar), times(-ww * (g6 + g6), d))
    by_s = plus(by_s, turned_back(d, sum_of(scaled(through_s, w), scaled(-g8, h))))
    by_ss = plus(times(g3 - ww * (g9 + g9), d), turned_back(d, scaled(through_ss, w)))
    by_s, by_w = gathered(by_s, by_ss, by_w, by_u, by_v, scaled(-g8, t), s, w)
    return by_g, by_s, by_w
