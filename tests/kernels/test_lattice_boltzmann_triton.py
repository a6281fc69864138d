"""The Triton step against its definition, in Triton's interpreter and compiled for sm_90."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sciml.kernels.lattice_boltzmann import (
    Boundary,
    ConvectiveOutlet,
    Periodic,
    PressureOutlet,
    Sides,
    Slip,
    Velocity,
    advance,
    at_equilibrium,
    boundary_of,
    reference,
    relaxation_rates,
)

triton = pytest.importorskip("triton", reason="triton is not installed")
triton_kernel = pytest.importorskip("sciml.kernels.lattice_boltzmann.triton")

INLET = Velocity(x=0.05, y=0.01)
CHANNEL = {"left": INLET, "bottom": Slip(), "top": Velocity(x=0.02)}
SIDES = {
    "cavity": Sides(top=Velocity(x=0.1)),
    "periodic": Sides(left=Periodic(), right=Periodic(), bottom=Periodic(), top=Periodic()),
    "pressure": Sides(right=PressureOutlet(density=0.01), **CHANNEL),
    "convective": Sides(right=ConvectiveOutlet(speed=0.3), **CHANNEL),
    "pressure, periodic": Sides(
        left=INLET, right=PressureOutlet(), bottom=Periodic(), top=Periodic()
    ),
    "convective, slip": Sides(
        left=INLET, right=ConvectiveOutlet(speed=0.5), bottom=Slip(), top=Slip()
    ),
}
EPSILON = {torch.float32: 2**-23, torch.float16: 2**-10}
EXTENT = (11, 29)  # 319 cells: neither a multiple of a block nor less than one


def problem(sides: Sides) -> tuple[torch.Tensor, Boundary, torch.Tensor]:
    """Two grids, one with a body of interpolated walls, in a random state off equilibrium."""
    torch.manual_seed(20)
    y, x = np.mgrid[: EXTENT[0], : EXTENT[1]]
    body = np.hypot(y - 5.3, x - 11.2) - 2.6
    boundary = boundary_of(np.stack([body, np.full(EXTENT, 9.0)]), sides)
    state = at_equilibrium(
        0.01 * torch.randn(2, *EXTENT), 0.05 * torch.randn(2, 2, *EXTENT), boundary
    )
    return state + 1e-3 * torch.randn(state.shape), boundary, relaxation_rates([0.02, 0.1])


def largest(tensor: torch.Tensor) -> float:
    return tensor.abs().max().item()


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("dtype", EPSILON, ids=str)
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_steps_are_those_of_the_reference(sides: Sides, dtype: torch.dtype) -> None:
    state, boundary, rates = problem(sides)
    state = state.to(dtype)
    before = state.clone()
    expected = advance(state.float(), boundary, rates, steps=3, backend="reference")
    found = advance(state, boundary, rates, steps=3, backend="triton")
    assert found.dtype == dtype
    assert torch.equal(state, before)
    assert largest(found.float() - expected) < 8 * EPSILON[dtype] * largest(expected)


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_a_step_writes_every_cell_and_every_incoming_slot(sides: Sides) -> None:
    state, boundary, rates = problem(sides)
    expected = advance(state, boundary, rates, steps=1, backend="reference")
    poisoned = state.clone()
    poisoned[..., 1:-1, 1:-1] = torch.nan
    poisoned.view(-1)[boundary.target] = torch.nan
    if boundary.outlet != "none":
        poisoned[:, [3, 6, 7], 2:-2, -1] = torch.nan
    links = triton_kernel._links_on(boundary, torch.int32)
    outlet = (triton_kernel._OUTLET_CODES[boundary.outlet], boundary.outlet_value)
    triton_kernel.step(state, poisoned, rates.float(), *links, *outlet)
    assert largest(poisoned - expected) < 8 * EPSILON[torch.float32] * largest(expected)


@pytest.mark.usefixtures("interpreter")
def test_links_may_be_counted_in_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    state, boundary, rates = problem(SIDES["pressure"])
    narrow = advance(state, boundary, rates, steps=1, backend="triton")
    monkeypatch.setattr(triton_kernel, "_index_type", lambda _: torch.int64)
    assert torch.equal(narrow, advance(state, boundary, rates, steps=1, backend="triton"))


def test_a_gradient_and_a_precision_it_cannot_give_are_refused(
    interpreter: None,
) -> None:
    state, boundary, rates = problem(SIDES["cavity"])
    with pytest.raises(RuntimeError, match="it gives no gradient"):
        advance(state.requires_grad_(), boundary, rates, steps=1, backend="triton")
    with pytest.raises(RuntimeError, match="the data are float64; it takes float16 or float32"):
        advance(state.detach().double(), boundary, rates, steps=1, backend="triton")


def test_the_cpu_is_refused_without_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(RuntimeError, match="move them to a CUDA device"):
        advance(*problem(SIDES["cavity"]), steps=1, backend="triton")


STEP_ARGUMENTS = {"height": "i32", "width": "i32", "outlet_value": "fp32"}
LINK_ARGUMENTS = dict.fromkeys(("near_weight", "far_weight", "source"), "*fp32")


def compiled(function, signature: dict[str, str], constants: dict[str, int]) -> bytes:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = triton_kernel._compiled(function, False)
    signature = {**signature, **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(
        kernel,
        signature,
        constexprs={(kernel.arg_names.index(k),): v for k, v in constants.items()},
    )
    return triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]


def resources(cubin: bytes, folder: Path) -> dict[str, int]:
    """What the compiled kernel uses of registers, stack and local memory, in bytes."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    command = [str(tool), "--dump-resource-usage", str(file)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {k: int(v) for k, v in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", listing)}


needs_ptxas = pytest.mark.skipif(
    sys.platform != "linux", reason="triton ships its assembler for Linux alone"
)


@needs_ptxas
@pytest.mark.parametrize("storage", ["fp32", "fp16"])
@pytest.mark.parametrize("outlet", [0, 1, 2])
def test_the_step_compiles_for_sm_90_without_spills(
    outlet: int, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    signature = {"now": f"*{storage}", "then": f"*{storage}", "rates": "*fp32", **STEP_ARGUMENTS}
    constants = {"OUTLET": outlet, "BLOCK": triton_kernel._BLOCK}
    cubin = compiled(triton_kernel._stream_and_collide, signature, constants)
    used = resources(cubin, tmp_path)
    assert used["STACK"] == used["LOCAL"] == 0
    assert used["REG"] <= 64  # 1024 threads a multiprocessor at least


@needs_ptxas
@pytest.mark.parametrize("storage", ["fp32", "fp16"])
@pytest.mark.parametrize("index", ["i32", "i64"])
def test_the_links_compile_for_sm_90_without_spills(
    index: str, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    places = dict.fromkeys(("target", "near", "far"), f"*{index}")
    signature = {"populations": f"*{storage}", **places, **LINK_ARGUMENTS, "links": "i32"}
    cubin = compiled(triton_kernel._fill_links, signature, {"BLOCK": triton_kernel._BLOCK})
    used = resources(cubin, tmp_path)
    assert used["STACK"] == used["LOCAL"] == 0
    assert used["REG"] <= 64


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", EPSILON, ids=str)
def test_a_gpu_gives_the_reference_with_and_without_a_graph(dtype: torch.dtype) -> None:
    for sides in SIDES.values():
        state, boundary, rates = problem(sides)
        state, exact = state.to(dtype), boundary.to("cpu", torch.float64)
        for steps in (1, 31, 32, 67):
            expected = reference.advance(state.double(), exact, rates, steps)
            found = advance(state.cuda(), boundary, rates, steps=steps, backend="triton")
            error = largest(found.cpu().double() - expected)
            assert error < 8 * (1 + steps) * EPSILON[dtype] * largest(expected)
