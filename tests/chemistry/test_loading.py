"""Mechanisms and their rates of production against Cantera."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import jvp

from sciml.chemistry import load_mechanism
from sciml.kernels.kinetics import Arrhenius, Mechanism, production_rates
from sciml.train.records import from_record, to_record

cantera = pytest.importorskip("cantera", reason="Cantera is not installed")

SHIPPED = ("h2o2.yaml", "gri30.yaml", "ohn.yaml", "gri30_highT.yaml")
CATALOGUE = (
    "hong", "sandiego", "uconn32", "uiuc", "bfer", "arf_h2", "arf_ch4_lu", "hashemi2016",
)  # fmt: skip

EVERY_FORM = """
units: {length: cm, quantity: mol, activation-energy: cal/mol}
phases:
- name: gas
  thermo: ideal-gas
  kinetics: gas
  elements: [H, O, N, Ar]
  species:
  - {h2o2.yaml/species: [H2, H, O, O2, OH, H2O, HO2, H2O2, AR, N2]}
reactions:
- equation: O + H2 <=> H + OH
  rate-constant: {A: 3.87e+04, b: 2.7, Ea: 6260.0}
- equation: H2O2 + OH <=> HO2 + H2O
  rate-constant: {A: 2.0e+14, b: 0.1, Ea: 427.0}
  duplicate: true
- equation: H2O2 + OH <=> HO2 + H2O
  rate-constant: {A: -1.7e+13, b: 0.2, Ea: 290.0}
  duplicate: true
  negative-A: true
- equation: H + O2 + AR <=> HO2 + AR
  rate-constant: {A: 7.0e+17, b: -0.8, Ea: 0.0}
- equation: O + H + M <=> OH + M
  rate-constant: {A: 5.0e+17, b: -1.0, Ea: 0.0}
  efficiencies: {H2: 2.0, H2O: 6.0, AR: 0.7}
- equation: H + HO2 (+M) <=> H2O2 (+M)
  type: falloff
  low-P-rate-constant: {A: 2.3e+18, b: -0.9, Ea: -1700.0}
  high-P-rate-constant: {A: 7.4e+13, b: -0.37, Ea: 0.0}
- equation: 2 OH (+M) <=> H2O2 (+M)
  type: falloff
  low-P-rate-constant: {A: 2.3e+18, b: -0.9, Ea: -1700.0}
  high-P-rate-constant: {A: 7.4e+13, b: -0.37, Ea: 0.0}
  Troe: {A: 0.7346, T3: 94.0, T1: 1756.0, T2: 5182.0}
  efficiencies: {H2: 2.0, H2O: 6.0, AR: 0.7}
- equation: H + OH (+M) <=> H2O (+M)
  type: falloff
  low-P-rate-constant: {A: 2.2e+22, b: -2.0, Ea: 0.0}
  high-P-rate-constant: {A: 2.0e+14, b: 0.0, Ea: 0.0}
  Troe: {A: 0.5, T3: 1.0e-30, T1: 1.0e+30}
- equation: H2O2 <=> 2 OH
  type: pressure-dependent-Arrhenius
  rate-constants:
  - {P: 0.1 atm, A: 7.2e+24, b: -5.0, Ea: 3.0e+04}
  - {P: 1.0 atm, A: 1.2e+26, b: -5.3, Ea: 3.1e+04}
  - {P: 10.0 atm, A: 5.0e+20, b: -3.0, Ea: 3.0e+04}
  - {P: 10.0 atm, A: 5.0e+16, b: -2.0, Ea: 2.0e+04}
- equation: HO2 + H2 <=> H2O2 + H
  type: Chebyshev
  temperature-range: [290.0, 3000.0]
  pressure-range: [0.01 atm, 100.0 atm]
  data: [[8.2883, -1.1397, -0.12059], [1.9764, 1.0037, 0.0072865], [0.3177, 0.26889, 0.094806]]
- equation: H2 + 0.5 O2 => H2O
  rate-constant: {A: 2.0e+09, b: 0.3, Ea: 1.2e+04}
  orders: {H2: 0.7, O2: 0.4}
"""

CHEMICALLY_ACTIVATED = """
reactions:
- equation: H + HO2 (+M) <=> H2O + O (+M)
  type: chemically-activated
  low-P-rate-constant: {A: 280.0, b: -0.86, Ea: 8500.0}
  high-P-rate-constant: {A: 1.0e-05, b: 2.2, Ea: 8000.0}
"""


@pytest.fixture(scope="session")
def every_form(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mechanisms") / "every_form.yaml"
    path.write_text(EVERY_FORM)
    return path


@pytest.fixture
def gas(
    request: pytest.FixtureRequest, every_form: Path, reference: Callable[[str], Path]
) -> tuple[str, Mechanism]:
    """A mechanism and the file that Cantera reads it from."""
    name = request.param
    if name == "every form":
        source = str(every_form)
    else:
        shipped = name.endswith(".yaml")
        source = name if shipped else str(reference(f"chemistry/mechanisms/{name}"))
    return source, load_mechanism(source)


def states(
    mechanism: Mechanism, count: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """600-3000 K, 0.1-100 bar, mole fractions that are each small in many states."""
    T, p = rng.uniform(600, 3000, count), 10 ** rng.uniform(4, 7, count)
    X = rng.dirichlet(np.full(len(mechanism.species), 0.3), count)
    c = X * (p / (cantera.gas_constant * T))[:, None]
    return torch.from_numpy(T), torch.from_numpy(c)


every_mechanism = pytest.mark.parametrize(
    "gas", ["every form", *SHIPPED, *CATALOGUE], indirect=True
)
some_mechanisms = pytest.mark.parametrize("gas", ["every form", "h2o2.yaml"], indirect=True)


@every_mechanism
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_rates_are_those_of_cantera(
    gas: tuple[str, Mechanism], backend: str, rng: np.random.Generator
) -> None:
    source, mechanism = gas
    count = 10_000 if source in ("h2o2.yaml", "gri30.yaml") else 500
    T, c = states(mechanism, count, rng)
    rates, heat = production_rates(mechanism, T, c, backend=backend)
    phase = cantera.Solution(source, transport_model=None)
    solved = cantera.SolutionArray(phase, count)
    density = c.numpy() @ phase.molecular_weights
    solved.TDX = T.numpy(), density, c.numpy()
    gross = solved.creation_rates + solved.destruction_rates
    error = np.abs(rates.numpy() - solved.net_production_rates)
    assert np.all(error <= 1e-11 * gross)
    # Single species may be all but in equilibrium; the largest rate of a state is not.
    largest = np.abs(solved.net_production_rates).max(1, keepdims=True)
    assert np.all(error <= 1e-9 * largest)
    released = np.abs(solved.net_production_rates * solved.partial_molar_enthalpies).sum(1)
    np.testing.assert_array_less(np.abs(heat.numpy() - solved.heat_release_rate), 1e-11 * released)


@every_mechanism
def test_elements_are_neither_made_nor_lost(
    gas: tuple[str, Mechanism], rng: np.random.Generator
) -> None:
    mechanism = gas[1]
    T, c = states(mechanism, 200, rng)
    rates, _ = production_rates(mechanism, T, c)
    atoms = torch.from_numpy(mechanism.composition)
    made, moved = rates @ atoms.T, rates.abs() @ atoms.T
    if "uiuc" in gas[0] or "bfer" in gas[0]:
        moved = moved + 1e-6 * moved.amax(1, keepdim=True)
    assert bool((made.abs() <= 1e-10 * moved + 1e-300).all())


def test_nothing_happens_in_equilibrium(rng: np.random.Generator) -> None:
    mechanism = load_mechanism("h2o2.yaml")
    phase = cantera.Solution("h2o2.yaml", transport_model=None)
    phase.TPX = rng.uniform(1500, 2500), rng.uniform(0.5, 5) * cantera.one_atm, "H2:2, O2:1, N2:3"
    phase.equilibrate("TP", rtol=1e-13)
    T = torch.tensor([phase.T])
    c = torch.from_numpy(phase.concentrations[None])
    rates, _ = production_rates(mechanism, T.double(), c)
    gross = phase.creation_rates + phase.destruction_rates
    assert np.all(np.abs(rates.numpy()[0]) <= 1e-6 * gross + 1e-300)


@some_mechanisms
def test_tangents_and_adjoints_are_those_of_the_definition(
    gas: tuple[str, Mechanism], rng: np.random.Generator
) -> None:
    mechanism = gas[1]
    T, c = states(mechanism, 150, rng)
    by = (
        T * torch.from_numpy(rng.standard_normal(T.shape)),
        c * torch.from_numpy(rng.standard_normal(c.shape)),
    )

    def rates(backend: str) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
        return lambda T, c: production_rates(mechanism, T, c, backend=backend)

    # A derivative may be the small difference of large terms, which rounding is relative to.
    _, expected = jvp(rates("reference"), (T, c), by)
    _, found = jvp(rates("cpu"), (T, c), by)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one / size(other), other / size(other), rtol=0, atol=1e-8)

    weights = [torch.from_numpy(rng.standard_normal(x.shape)) / size(x) for x in expected]
    leaves = [T.clone().requires_grad_(), c.clone().requires_grad_()]
    gradients = {}
    for backend in ("reference", "cpu"):
        outputs = rates(backend)(*leaves)
        gradients[backend] = torch.autograd.grad(outputs, leaves, weights)
    for one, other, leaf in zip(gradients["cpu"], gradients["reference"], (T, c), strict=True):
        one, other = one * leaf, other * leaf
        torch.testing.assert_close(one / size(other), other / size(other), rtol=0, atol=1e-8)

    # ⟨w, M v⟩ = ⟨Mᵀ w, v⟩ cell by cell
    def terms(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> torch.Tensor:
        products = [(x * y).reshape(150, -1) for x, y in zip(one, other, strict=True)]
        return torch.cat(products, dim=1)

    forward, backward = terms(weights, found), terms(gradients["cpu"], by)
    scale = forward.abs().sum(1) + backward.abs().sum(1)
    assert bool(((forward.sum(1) - backward.sum(1)).abs() <= 1e-12 * scale).all())


def size(x: torch.Tensor) -> torch.Tensor:
    """The largest entry of each cell."""
    return x.abs() if x.ndim == 1 else x.abs().amax(1, keepdim=True)


def test_single_precision_is_computed_in_double(rng: np.random.Generator) -> None:
    mechanism = load_mechanism("h2o2.yaml")
    T, c = (x.float() for x in states(mechanism, 50, rng))
    rates, heat = production_rates(mechanism, T, c, backend="cpu")
    expected = production_rates(mechanism, T.double(), c.double(), backend="cpu")
    assert rates.dtype == heat.dtype == torch.float32
    torch.testing.assert_close(rates.double(), expected[0], rtol=1e-6, atol=0)


def test_what_is_not_covered_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "activated.yaml"
    path.write_text(EVERY_FORM.split("reactions:")[0] + CHEMICALLY_ACTIVATED)
    with pytest.raises(ValueError, match=r"not covered: chemically-activated-Lindemann \(1\)"):
        load_mechanism(path)
    with pytest.raises(ValueError, match=r"of the model 'plasma'.*ideal gas"):
        load_mechanism("example_data/methane-plasma-pavan-2023.yaml")
    with pytest.raises(ValueError, match=r"Redlich-Kwong.*ideal gas"):
        load_mechanism("nDodecane_Reitz.yaml", phase="nDodecane_RK")
    with pytest.raises(ValueError, match="NASA's seven coefficients"):
        load_mechanism("airNASA9.yaml")
    with pytest.raises(FileNotFoundError, match=r"no mechanism 'none\.yaml' was found"):
        load_mechanism("none.yaml")
    with pytest.raises(ValueError, match=r"'h2o2\.yaml'"):
        load_mechanism("h2o2.yaml", phase="none")


def test_a_mechanism_is_stored_with_a_surrogate(every_form: Path) -> None:
    mechanism = load_mechanism(every_form)
    found = from_record(json.loads(json.dumps(to_record(mechanism))))
    assert found.checksum == mechanism.checksum
    assert [type(one.rate) for one in found.reactions] == [
        type(one.rate) for one in mechanism.reactions
    ]


def test_checksum_tells_rates_apart_and_not_names() -> None:
    mechanism = load_mechanism("h2o2.yaml")
    assert load_mechanism("h2o2.yaml").checksum == mechanism.checksum
    assert replace(mechanism, name="other").checksum == mechanism.checksum
    first, *rest = mechanism.reactions
    assert isinstance(first.rate, Arrhenius)
    faster = replace(first, rate=replace(first.rate, factor=1.01 * first.rate.factor))
    assert replace(mechanism, reactions=(faster, *rest)).checksum != mechanism.checksum


def test_shapes_and_precisions_that_do_not_fit_are_refused() -> None:
    mechanism = load_mechanism("h2o2.yaml")
    T, c = torch.full((2,), 1000.0), torch.ones(2, 9)
    with pytest.raises(ValueError, match=r"9 species were given to h2o2\.yaml, which has 10"):
        production_rates(mechanism, T, c)
    with pytest.raises(ValueError, match="convert one to the other"):
        production_rates(mechanism, T, torch.ones(2, 10).double())
