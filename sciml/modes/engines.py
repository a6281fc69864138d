"""PyDMD on POD amplitudes: eigenvalues and modes of the kinds of DMD it does well."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from jaxtyping import Complex128, Float64

from sciml.modes.expansion import conjugate_pairs
from sciml.modes.fitting import fitted_modes

__all__ = ["Found", "controlled", "higher_order", "multi_resolution", "optimised"]

States = Float64[np.ndarray, "time state"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an engine says: the real eigenvalues of one step, and one of each pair.

    Attributes:
        eigenvalues: of one step.
        vectors: modes in POD amplitudes, with amplitude and phase where they begin.
        begin: snapshot at which each begins.
        count: snapshots it lives.
        deviation: of the eigenvalue's rate between trials, in parts of a step; NaN without trials.
    """

    eigenvalues: Complex128[np.ndarray, " head"]
    vectors: Complex128[np.ndarray, "head state"]
    begin: np.ndarray | None = None
    count: np.ndarray | None = None
    deviation: Float64[np.ndarray, " head"] | None = None


def optimised(
    states: States,
    steps: Float64[np.ndarray, " time"],
    rank: int,
    *,
    trials: int = 0,
    share: float = 0.6,
    stable: bool = False,
    iterations: int = 30,
    seed: int = 0,
) -> Found:
    r"""Exponentials that fit all snapshots best: eigenvalues that noise does not bias.

    Minimises $\sum_n|x_n - \sum_k \lambda_k^{n}\phi_k|^2$ over $\lambda$ and $\phi$, by variable
    projection; with trials, the mean over as many random parts of the snapshots.

    Askham and Kutz, SIAM J. Appl. Dyn. Syst. 17, 380 (2018), https://doi.org/10.1137/M1124176;
    Sashidhar and Kutz, Phil. Trans. R. Soc. A 380, 20210199 (2022),
    https://doi.org/10.1098/rsta.2021.0199.

    Args:
        states: snapshots, one a row.
        steps: how many steps after the first each is; they need not be whole.
        rank: exponentials.
        trials: fits to random parts of the snapshots; none fits all of them once.
        share: of the snapshots in each.
        stable: no exponential may grow.
        iterations: of the variable projection, at most.
        seed: of the parts.
    """
    engine = _pydmd().BOPDMD(
        svd_rank=rank,
        num_trials=trials,
        trial_size=share,
        eig_constraints={"stable"} if stable else None,
        eig_sort="imag",
        varpro_opts_dict={"tol": 1e-12, "maxiter": iterations},
    )
    with _quiet(), _seeded(seed):
        engine.fit(states[:, :rank].T, steps)
    rates = np.asarray(engine.eigs, dtype=complex)
    eigenvalues = conjugate_pairs(np.exp(rates))
    deviation = None
    if trials:
        nearest = np.abs(np.log(eigenvalues)[:, None] - rates).argmin(1)
        deviation = np.asarray(engine.eigenvalues_std)[nearest].astype(np.float64)
    vectors = fitted_modes(states, eigenvalues, steps)
    return Found(eigenvalues=eigenvalues, vectors=vectors, deviation=deviation)


def higher_order(states: States, rank: int, *, delays: int) -> Found:
    """Eigenvalues of the map between snapshots stacked with those that follow them.

    It finds more frequencies than a snapshot has independent numbers. The modes are those that fit
    all snapshots best.

    Le Clainche and Vega, SIAM J. Appl. Dyn. Syst. 16, 882 (2017),
    https://doi.org/10.1137/15M1054924.

    Args:
        states: snapshots at equal steps, one a row.
        rank: modes.
        delays: snapshots in a stack.
    """
    engine = _pydmd().HODMD(svd_rank=rank, d=delays, svd_rank_extra=-1)
    with _quiet():
        engine.fit(states.T)
    eigenvalues = conjugate_pairs(np.asarray(engine.eigs, dtype=complex))
    return Found(eigenvalues=eigenvalues, vectors=fitted_modes(states, eigenvalues))


def multi_resolution(states: States, rank: int, *, levels: int, cycles: int) -> Found:
    """Slow modes of the whole, then of its halves without them, then of quarters, and so on.

    Kutz, Fu and Brunton, SIAM J. Appl. Dyn. Syst. 15, 713 (2016),
    https://doi.org/10.1137/15M1023543.

    Args:
        states: snapshots at equal steps, one a row.
        rank: modes looked for in each window, of which the slow ones are kept.
        levels: times that windows are halved.
        cycles: a mode is slow that makes at most so many in its window.

    Raises:
        ValueError: no mode is slow.
    """
    pydmd = _pydmd()
    engine = pydmd.MrDMD(
        pydmd.DMD(svd_rank=rank, exact=True, opt=True), max_level=levels, max_cycles=cycles
    )
    with _quiet():
        engine.fit(states.T)
    values, vectors, begin, count = [], [], [], []
    for level, leaf, one in engine.enumerate():
        pieces = np.array_split(np.arange(len(states)), 2**level)
        upper = np.flatnonzero(one.eigs.imag >= 0)
        values.append(one.eigs[upper])
        vectors.append((one.modes * one.amplitudes).T[upper])
        begin.append(np.full(len(upper), pieces[leaf][0]))
        count.append(np.full(len(upper), len(pieces[leaf])))
    if not sum(map(len, values)):
        raise ValueError(
            f"no mode makes at most {cycles} periods in its window: raise levels or cycles"
        )
    return Found(
        eigenvalues=np.concatenate(values).astype(complex),
        vectors=np.concatenate(vectors).astype(complex),
        begin=np.concatenate(begin),
        count=np.concatenate(count),
    )


def controlled(
    states: States, control: Float64[np.ndarray, "time control"]
) -> tuple[Found, Float64[np.ndarray, "control state"]]:
    r"""Eigenvalues of A, and B, in $x_{n+1} = Ax_n + Bu_n$.

    Proctor, Brunton and Kutz, SIAM J. Appl. Dyn. Syst. 15, 142 (2016),
    https://doi.org/10.1137/15M1013857.

    Args:
        states: snapshots at equal steps, one a row; as many columns as there shall be modes.
        control: u at each of them; the last is not used.
    """
    engine = _pydmd().DMDc(svd_rank=-1, svd_rank_omega=-1)
    with _quiet():
        engine.fit(states.T, control[:-1].T)
    upper = np.flatnonzero(engine.eigs.imag >= 0)
    modes = np.asarray(engine.modes, dtype=complex)
    start = np.linalg.lstsq(modes, states[0].astype(complex), rcond=None)[0]
    found = Found(
        eigenvalues=np.asarray(engine.eigs, dtype=complex)[upper],
        vectors=(modes * start).T[upper],
    )
    return found, np.ascontiguousarray(np.real(engine.B).T)


def _pydmd() -> ModuleType:
    try:
        import pydmd
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "this kind of DMD runs on PyDMD, which is not installed: pip install 'sciml-cfd[modes]'"
        ) from error
    return pydmd


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without remarks: with noise no fit reaches the tolerance, and that is said each time."""
    hushed = contextlib.redirect_stdout(io.StringIO())
    with warnings.catch_warnings(), hushed, np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        yield


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator, which PyDMD draws from, seeded and afterwards as it was."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
