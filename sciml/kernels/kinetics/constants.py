"""Rate constants in rows of cells for one CPU core, with their derivatives.

Each function fills rows for one reaction. Slopes are by the temperature T, by [M] and by the total
concentration C, each with the other two fixed.
"""

from __future__ import annotations

import math

from sciml.kernels.kinetics.vector import compiled, exp, log

__all__ = [
    "arrhenius",
    "arrhenius_slope",
    "between_pressures",
    "broadening",
    "centre",
    "chebyshev",
    "falloff_slopes",
    "lindemann",
]

_TINY = 1e-300
_LN10 = math.log(10.0)
_BY_LN10 = 1.0 / _LN10


@compiled
def arrhenius(log_factor, sign, b, theta, by_T, log_T, k):  # type: ignore[no-untyped-def]
    """k = A Tᵇ exp(-θ / T)."""
    for i in range(len(k)):
        k[i] = sign * exp(log_factor + b * log_T[i] - theta * by_T[i])


@compiled
def arrhenius_slope(b, theta, by_T, k, k_T):  # type: ignore[no-untyped-def]
    """By the temperature."""
    for i in range(len(k)):
        k_T[i] = k[i] * (b + theta * by_T[i]) * by_T[i]


@compiled
def lindemann(low, third, k):  # type: ignore[no-untyped-def]
    """From k0 and k∞, in `k`, to k∞ Pr / (1 + Pr)."""
    for i in range(len(k)):
        k[i] = low[i] * third[i] / (1.0 + low[i] * third[i] / k[i])


@compiled
def centre(troe, T, by_T, found):  # type: ignore[no-untyped-def]
    """log Fc, base ten."""
    a, by_t3, by_t1, t2, terms = troe
    last = 1.0 if terms == 4.0 else 0.0
    for i in range(len(T)):
        first, second = (1.0 - a) * exp(-T[i] * by_t3), a * exp(-T[i] * by_t1)
        found[i] = first + second + last * exp(-t2 * by_T[i])
    for i in range(len(T)):
        found[i] = _BY_LN10 * log(max(found[i], _TINY))


@compiled
def broadening(log_centre, low, third, high, f):  # type: ignore[no-untyped-def]
    """Troe's F."""
    for i in range(len(f)):
        f[i] = log(max(low[i] * third[i] / high[i], _TINY))
    for i in range(len(f)):
        x = _BY_LN10 * f[i] - 0.4 - 0.67 * log_centre[i]
        y = x / (0.75 - 1.27 * log_centre[i] - 0.14 * x)
        f[i] = _LN10 * log_centre[i] / (1.0 + y * y)
    for i in range(len(f)):
        f[i] = exp(f[i])


@compiled
def falloff_slopes(troe, T, third, log_centre, low, low_T, high, high_T, k, k_T, k_M):  # type: ignore[no-untyped-def]
    """By the temperature and by [M]; ln k = ln k∞ + ln(Pr / (1 + Pr)) + ln F."""
    a, by_t3, by_t1, t2, terms = troe
    for i in range(len(T)):
        t, log_c = T[i], log_centre[i]
        reduced = low[i] * third[i] / high[i]
        by_log_reduced, by_log_centre, centre_T = 1.0 / (1.0 + reduced), 0.0, 0.0
        if terms > 0.0:
            first, second = (1.0 - a) * math.exp(-t * by_t3), a * math.exp(-t * by_t1)
            last = math.exp(-t2 / t) if terms == 4.0 else 0.0
            slope = t2 / (t * t) * last - by_t3 * first - by_t1 * second
            centre_T = slope / max(first + second + last, _TINY)
            x = _BY_LN10 * math.log(max(reduced, _TINY)) - 0.4 - 0.67 * log_c
            n = 0.75 - 1.27 * log_c
            by = 1.0 / (n - 0.14 * x)
            share = 1.0 / (1.0 + (x * by) ** 2)
            # ln F = ln Fc / (1 + y²) with y = x / (n - 0.14 x)
            bend = -2.0 * x * by * share * share * log_c * by * by
            by_log_reduced += bend * n
            by_log_centre = share + bend * (1.27 * x - 0.67 * n)
        reduced_T = low_T[i] / low[i] - high_T[i] / high[i]
        k_T[i] = k[i] * (
            high_T[i] / high[i] + by_log_reduced * reduced_T + by_log_centre * centre_T
        )
        k_M[i] = k[i] / max(third[i], _TINY) * by_log_reduced


@compiled
def between_pressures(grids, place, T, log_T, log_p, total, k, k_T, k_C, derivatives):  # type: ignore[no-untyped-def]
    """Between the logarithms of k at two pressures."""
    start, pressures, term_start, terms = grids
    begin, end = start[place], start[place + 1]
    for i in range(len(T)):
        left = begin
        while left + 2 < end and log_p[i] > pressures[left + 1]:
            left += 1
        right = min(left + 1, end - 1)
        if log_p[i] <= pressures[begin]:
            right = left
        elif log_p[i] > pressures[end - 1]:
            left = right
        log_left, left_T = _terms(term_start, terms, left, T[i], log_T[i])
        log_k, slope_T, slope_p = log_left, left_T, 0.0
        if right > left:
            log_right, right_T = _terms(term_start, terms, right, T[i], log_T[i])
            width = pressures[right] - pressures[left]
            part = (log_p[i] - pressures[left]) / width
            slope_p = (log_right - log_left) / width
            log_k += (log_right - log_left) * part
            slope_T += (right_T - left_T) * part
        k[i] = log_k
        if derivatives:  # ln p = ln(R T C)
            k_T[i] = slope_T + slope_p / T[i]
            k_C[i] = slope_p / total[i]
    for i in range(len(T)):
        k[i] = exp(k[i])
    if derivatives:
        for i in range(len(T)):
            k_T[i] *= k[i]
            k_C[i] *= k[i]


@compiled
def _terms(start, terms, pressure, T, log_T):  # type: ignore[no-untyped-def]
    """ln k at one pressure, and its slope."""
    first, last = start[pressure], start[pressure + 1]
    if last == first + 1:
        log_factor, _, b, theta = terms[first]
        return log_factor + b * log_T - theta / T, (b + theta / T) / T
    k = k_T = 0.0
    for term in range(first, last):
        log_factor, sign, b, theta = terms[term]
        one = sign * math.exp(log_factor + b * log_T - theta / T)
        k += one
        k_T += one * (b + theta / T) / T
    return math.log(k), k_T / k


@compiled
def chebyshev(polynomials, place, T, log_p, total, k, k_T, k_C, derivatives):  # type: ignore[no-untyped-def]
    """Both series by the recurrences of the polynomials and of their derivatives."""
    starts, shapes, ranges, coefficients = polynomials
    rows, columns = shapes[place]
    cold, hot, least, most = ranges[place]
    start = starts[place]
    for i in range(len(T)):
        x = (2.0 / T[i] - cold - hot) / (hot - cold)
        y = (2.0 * log_p[i] - least - most) / (most - least)
        value = value_x = value_y = 0.0
        t, t_x, t_last, t_x_last = 1.0, 0.0, x, 1.0  # T_{-1} = T_1
        for m in range(rows):
            s, s_y, s_last, s_y_last = 1.0, 0.0, y, 1.0
            for n in range(columns):
                one = coefficients[start + m * columns + n]
                value += one * t * s
                value_x += one * t_x * s
                value_y += one * t * s_y
                s, s_y, s_last, s_y_last = (
                    2.0 * y * s - s_last, 2.0 * (s + y * s_y) - s_y_last, s, s_y,
                )  # fmt: skip
            t, t_x, t_last, t_x_last = (
                2.0 * x * t - t_last, 2.0 * (t + x * t_x) - t_x_last, t, t_x,
            )  # fmt: skip
        k[i] = math.exp(_LN10 * value)
        if derivatives:
            x_T = -2.0 / (T[i] * T[i] * (hot - cold))
            y_log_p = 2.0 / (most - least)
            k_T[i] = k[i] * _LN10 * (value_x * x_T + value_y * y_log_p / T[i])
            k_C[i] = k[i] * _LN10 * value_y * y_log_p / total[i]
