"""Small matrices by their components, and the transposes of what is done with them.

Only sums and products of whatever is given: tensors of torch, symbols, and, compiled from this
very text, the numbers of numba and Triton; neither reads annotations. A symmetric matrix is a tuple
(xx, xy, xz, yy, yz, zz), and a vector w stands for the antisymmetric matrix r with r x = w × x.
What ends in `_back` takes a derivative by the result, in the form of the result, to one by an
argument; an entry off the diagonal is one component, so that its derivative is that by both places
together. Doubles are sums, since an integer would turn numbers of float32 into float64 in numba.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

__all__ = [
    "adjugate",
    "adjugate_back",
    "applied",
    "cross",
    "deviator",
    "dot",
    "dyad",
    "inner",
    "negative",
    "paired",
    "plus",
    "scaled",
    "squared",
    "squared_back",
    "sum_of",
    "symmetric",
    "symmetric_back",
    "times",
    "turned",
    "turned_back",
    "turned_vector_back",
]


def plus(a, b):
    """a + b."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5]


def times(factor, a):
    """A multiple of a."""
    return (
        factor * a[0], factor * a[1], factor * a[2], factor * a[3], factor * a[4], factor * a[5]
    )  # fmt: skip


def negative(a):
    """-a."""
    return -a[0], -a[1], -a[2], -a[3], -a[4], -a[5]


def inner(a, b):
    """Σ of the products of the six components, an entry off the diagonal once."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3] + a[4] * b[4] + a[5] * b[5]


def sum_of(u, v):
    """u + v."""
    return u[0] + v[0], u[1] + v[1], u[2] + v[2]


def scaled(factor, u):
    """A multiple of u."""
    return factor * u[0], factor * u[1], factor * u[2]


def dot(u, v):
    """u · v."""
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def cross(u, v):
    """u × v."""
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]


def applied(a, v):
    """a v."""
    xx, xy, xz, yy, yz, zz = a
    x, y, z = v
    return xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z


def paired(u, v):
    """The derivative of u · (a v) by the components of a."""
    return (
        u[0] * v[0], u[0] * v[1] + u[1] * v[0], u[0] * v[2] + u[2] * v[0],
        u[1] * v[1], u[1] * v[2] + u[2] * v[1], u[2] * v[2],
    )  # fmt: skip


def dyad(u):
    """u uᵀ."""
    return u[0] * u[0], u[0] * u[1], u[0] * u[2], u[1] * u[1], u[1] * u[2], u[2] * u[2]


def symmetric(u, v):
    """u vᵀ + v uᵀ."""
    xx, xy, xz, yy, yz, zz = paired(u, v)
    return xx + xx, xy, xz, yy + yy, yz, zz + zz


def symmetric_back(bar, v):
    """By u, the other of the two."""
    xx, xy, xz, yy, yz, zz = bar
    return applied((xx + xx, xy, xz, yy + yy, yz, zz + zz), v)


def deviator(a, third):
    """a - tr(a) I / 3, its own transpose."""
    xx, xy, xz, yy, yz, zz = a
    mean = third * (xx + yy + zz)
    return xx - mean, xy, xz, yy - mean, yz, zz - mean


def squared(a):
    """a²."""
    xx, xy, xz, yy, yz, zz = a
    return (
        xx * xx + xy * xy + xz * xz, xy * (xx + yy) + xz * yz, xz * (xx + zz) + xy * yz,
        xy * xy + yy * yy + yz * yz, yz * (yy + zz) + xy * xz, xz * xz + yz * yz + zz * zz,
    )  # fmt: skip


def squared_back(bar, a):
    """By a."""
    xx, xy, xz, yy, yz, zz = a
    bxx, bxy, bxz, byy, byz, bzz = bar
    dxx, dyy, dzz = bxx + bxx, byy + byy, bzz + bzz
    return (
        xx * dxx + xy * bxy + xz * bxz,
        xy * (dxx + dyy) + (xx + yy) * bxy + yz * bxz + xz * byz,
        xz * (dxx + dzz) + (xx + zz) * bxz + yz * bxy + xy * byz,
        yy * dyy + xy * bxy + yz * byz,
        yz * (dyy + dzz) + (yy + zz) * byz + xz * bxy + xy * bxz,
        zz * dzz + xz * bxz + yz * byz,
    )


def adjugate(a):
    """The matrix whose product with a is det(a) I."""
    xx, xy, xz, yy, yz, zz = a
    return (
        yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy,
        xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy,
    )  # fmt: skip


def adjugate_back(bar, a):
    """By a."""
    xx, xy, xz, yy, yz, zz = a
    bxx, bxy, bxz, byy, byz, bzz = bar
    return (
        zz * byy + yy * bzz - yz * byz,
        yz * bxz + xz * byz - zz * bxy - xy * (bzz + bzz),
        yz * bxy + xy * byz - yy * bxz - xz * (byy + byy),
        zz * bxx + xx * bzz - xz * bxz,
        xz * bxy + xy * bxz - xx * byz - yz * (bxx + bxx),
        yy * bxx + xx * byy - xy * bxy,
    )


def turned(a, w):
    """a r - r a."""
    xx, xy, xz, yy, yz, zz = a
    x, y, z = w
    p, q, s = yz * x, xz * y, xy * z
    return (
        (s - q) + (s - q), (yy - xx) * z + xz * x - yz * y, (xx - zz) * y + yz * z - xy * x,
        (p - s) + (p - s), (zz - yy) * x + xy * y - xz * z, (q - p) + (q - p),
    )  # fmt: skip


def turned_back(bar, w):
    """By a."""
    xx, xy, xz, yy, yz, zz = bar
    x, y, z = w
    return (
        xz * y - xy * z,
        z * ((xx - yy) + (xx - yy)) - x * xz + y * yz,
        y * ((zz - xx) + (zz - xx)) + x * xy - z * yz,
        xy * z - yz * x,
        x * ((yy - zz) + (yy - zz)) - y * xy + z * xz,
        yz * x - xz * y,
    )


def turned_vector_back(bar, a):
    """By w."""
    xx, xy, xz, yy, yz, zz = a
    bxx, bxy, bxz, byy, byz, bzz = bar
    dx, dy, dz = byy - bzz, bzz - bxx, bxx - byy
    return (
        yz * (dx + dx) + xz * bxy - xy * bxz + (zz - yy) * byz,
        xz * (dy + dy) - yz * bxy + (xx - zz) * bxz + xy * byz,
        xy * (dz + dz) + (yy - xx) * bxy + yz * bxz - xz * byz,
    )
