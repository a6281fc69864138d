"""Pope's basis in Triton against its definition, interpreted and compiled for sm_90."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.kernels.tensor_basis import (
    CoefficientNetwork,
    anisotropy,
    closure_step,
    invariants,
    tensor_basis,
)
from sciml.kernels.tensor_basis.network import ACTIVATIONS

triton = pytest.importorskip("triton", reason="triton is not installed")
triton_kernel = pytest.importorskip("sciml.kernels.tensor_basis.triton")

CELLS = triton_kernel.BLOCK + 9  # the last program is not full
WIDTHS = {"gelu": (20,), "silu": (16, 24), "relu": (9, 17, 5), "tanh": (40, 40)}
ACCURACY = {torch.float64: 1e-12, torch.float32: 2e-6}
THROUGH_NETWORK = 5e-5
"""The same in float32 for a closure: tanh is made of a sigmoid here, which costs it digits."""

ADJOINT = 1e-6
"""Of a product of a gradient with a change, over what is added up."""


def network(rng: np.random.Generator, activation: str) -> CoefficientNetwork:
    widths = WIDTHS[activation]
    pairs = list(zip((*widths, 10), (5, *widths), strict=True))
    scales = [0.1 if before == 5 else 1.0 for _, before in pairs]  # invariants reach hundreds
    return CoefficientNetwork(
        weights=tuple(
            torch.tensor(scale * rng.standard_normal(p) / p[1] ** 0.5)
            for p, scale in zip(pairs, scales, strict=True)
        ),
        biases=tuple(torch.tensor(rng.standard_normal(after)) for after, _ in pairs),
        activation=activation,
    )


def derivatives(
    seed: int, limit: float | None, dtype: torch.dtype, backend: str, device: str
) -> Iterator[tuple[str, Tensor]]:
    """Every function's result and gradients, by name; numbers are those of float32."""
    rng = np.random.default_rng(seed)

    def random(*shape: int) -> Tensor:
        return torch.tensor(rng.standard_normal(shape)).float().to(device, dtype)

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.float().to(device, dtype).requires_grad_()

    k, epsilon = (leaf(torch.tensor(x)) for x in rng.uniform(0.5, 2.0, (2, CELLS)))
    state = leaf(random(CELLS, 3, 3)), k, epsilon
    how = {"limit": limit, "backend": backend}
    g = leaf(random(10, CELLS))
    found, tensors = tensor_basis(*state, **how)
    loss = (found * random(5, CELLS)).sum() + (tensors * random(10, 6, CELLS)).sum()
    yield from told("tensor_basis", (found, *tensors), loss, state)
    found = invariants(*state, **how)
    yield from told("invariants", (found,), (found * random(5, CELLS)).sum(), state)
    b = anisotropy(*state, g, **how)
    yield from told("anisotropy", (b,), (b * random(6, CELLS)).sum(), (*state, g))
    for activation in ACTIVATIONS:
        net = network(rng, activation)
        live, weights = net.like(tuple(map(leaf, net.parameters))), random(6, CELLS)
        if dtype == torch.float32 or backend == "reference":
            b = closure_step(*state, live, **how)
            given = (*state, *live.parameters)
            yield from told(f"closure_step_{activation}", (b,), (b * weights).sum(), given)


def told(
    name: str, results: tuple[Tensor, ...], loss: Tensor, given: tuple[Tensor, ...]
) -> Iterator[tuple[str, Tensor]]:
    found = (*results, *torch.autograd.grad(loss, given))
    yield from ((f"{name}_{n}", x.detach().cpu().double()) for n, x in enumerate(found))


def errors(seed: int, dtype: torch.dtype, device: str) -> dict[str, float]:
    """The largest of each result, relative to its largest number."""
    worst: dict[str, float] = {}
    for limit in (None, 1.3):
        exact = dict(derivatives(seed, limit, torch.float64, "reference", "cpu"))
        for name, found in derivatives(seed, limit, dtype, "triton", device):
            expected = exact[name]
            error = float((found - expected).abs().max() / expected.abs().max())
            worst[name] = max(worst.get(name, 0.0), error if error == error else float("inf"))
    return worst


def asymmetry(seed: int, device: str) -> float:
    """How far <w, J v> is from <Jᵀ w, v> for the contraction, linear in the coefficients."""
    rng = np.random.default_rng(seed)

    def random(*shape: int) -> Tensor:
        return torch.tensor(rng.standard_normal(shape), dtype=torch.float32, device=device)

    k, epsilon = (x.exp() for x in random(2, CELLS))
    state, w, v = (random(CELLS, 3, 3), k, epsilon), random(6, CELLS), random(10, CELLS)
    g = random(10, CELLS).requires_grad_()
    how = {"limit": 1.3, "backend": "triton"}
    (gradient,) = torch.autograd.grad((anisotropy(*state, g, **how) * w).sum(), g)
    one, other = anisotropy(*state, v, **how) * w, gradient * v
    return float((one.double().sum() - other.double().sum()).abs() / one.double().abs().sum())


def bound(name: str, dtype: torch.dtype) -> float:
    if name == "asymmetry_":
        return ADJOINT
    return THROUGH_NETWORK if name.startswith("closure") else ACCURACY[dtype]


def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty memory is full of NaN, so that what a kernel does not write is seen."""

    def full(like: Tensor, *shape: int, device: torch.device | str | None = None) -> Tensor:
        return torch.full(shape, torch.nan, dtype=like.dtype, device=device or like.device)

    monkeypatch.setattr(Tensor, "new_empty", full)
    monkeypatch.setattr(torch, "empty_like", lambda x: torch.full_like(x, torch.nan))


def test_all_results_and_gradients_in_the_interpreter_are_those_of_the_definition(
    rng: np.random.Generator,
) -> None:
    """In a process of its own, since Triton asks for the interpreter when it is imported."""
    command = [sys.executable, __file__, str(rng.integers(2**32))]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^(\w+) (\w+): (\S+)$", done.stdout, re.MULTILINE)
    names = {name.rpartition("_")[0] for _, name, _ in lines}
    assert {"tensor_basis", "anisotropy", "closure_step_tanh", "asymmetry"} <= names
    for dtype, name, largest in lines:
        assert float(largest) < bound(name, getattr(torch, dtype)), (dtype, name, largest)


def test_what_the_kernels_cannot_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.zeros(2, 3, 3), torch.ones(2), torch.ones(2)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(RuntimeError, match="move them to a CUDA device"):
        tensor_basis(*state, backend="triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(RuntimeError, match="it takes float32 or float64"):
        tensor_basis(*(x.half() for x in state), backend="triton")
    wide = CoefficientNetwork(
        weights=(torch.zeros(200, 5), torch.zeros(10, 200)),
        biases=(torch.zeros(200), torch.zeros(10)),
    )
    with pytest.raises(RuntimeError, match="200 wide; it takes 128"):
        closure_step(*state, wide, backend="triton")
    narrow = CoefficientNetwork(weights=(torch.zeros(10, 5),), biases=(torch.zeros(10),))
    with pytest.raises(RuntimeError, match="no hidden layer"):
        closure_step(*state, narrow, backend="triton")
    double = narrow.like(tuple(x.double() for x in narrow.parameters))
    with pytest.raises(RuntimeError, match="takes float32"):
        closure_step(*(x.double() for x in state), double, backend="triton")


STATE = ("gradient", "energy", "dissipation", "inverse_square")
CLOSURES = {f"_closure_kernel {n} x {w}": (n - 1, w) for n, w in ((1, 16), (3, 64), (3, 128))}
REGISTERS = {
    "_invariants_kernel": 48,
    "_basis_kernel": 80,
    "_contraction_kernel": 64,
    "_invariants_back_kernel": 64,
    "_basis_back_kernel": 168,
    "_contraction_back_kernel": 128,
    **dict.fromkeys(CLOSURES, 255),
}
"""Of a thread at most."""
STACK = {"_closure_kernel 3 x 128": 512}
"""Bytes of a thread at most, where it is not zero."""


def compiled(name: str) -> bytes:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(triton_kernel, name.split()[0])
    constants = {"BLOCK": triton_kernel.BLOCK}
    if name in CLOSURES:
        layers, width = CLOSURES[name]
        constants = {"BLOCK": triton_kernel.SAMPLES, "LAYERS": layers, "W": width, "ACTIVATION": 0}
    signature = dict.fromkeys(kernel.arg_names, "*fp32")
    signature |= {"cells": "i32", **dict.fromkeys(constants, "constexpr")}
    places = {(kernel.arg_names.index(k),): v for k, v in constants.items()}
    source = ASTSource(kernel, signature, constexprs=places)
    wide = triton_kernel.WIDE if constants.get("W", 0) > 64 else {}
    options = {**triton_kernel.OPTIONS, **wide}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["cubin"]


def resources(cubin: bytes, folder: Path) -> dict[str, int]:
    """What the compiled kernel uses of registers, stack and local memory, in bytes."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    command = [str(tool), "--dump-resource-usage", str(file)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {k: int(v) for k, v in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", listing)}


@pytest.mark.skipif(sys.platform != "linux", reason="triton ships its assembler for Linux alone")
@pytest.mark.parametrize("name", REGISTERS)
def test_the_kernels_compile_for_sm_90_without_spills(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    used = resources(compiled(name), tmp_path)
    for resource, amount in used.items():
        record_property(resource, amount)
    assert used["LOCAL"] == 0
    assert used["STACK"] <= STACK.get(name, 0), used
    assert used["REG"] <= REGISTERS[name], used


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ACCURACY, ids=str)
def test_a_gpu_gives_the_definition(
    dtype: torch.dtype, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch)
    found = errors(int(rng.integers(2**32)), dtype, "cuda")
    assert all(largest < bound(name, dtype) for name, largest in found.items()), found
    assert asymmetry(int(rng.integers(2**32)), "cuda") < ADJOINT


if __name__ == "__main__":
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        poisoned(patch)
        for precision in ACCURACY:
            for name, largest in errors(int(sys.argv[1]), precision, "cpu").items():
                print(f"{str(precision).removeprefix('torch.')} {name}: {largest}")
        print(f"float32 asymmetry_: {asymmetry(int(sys.argv[1]), 'cpu')}")
