"""The Triton window against its definition, in Triton's interpreter and compiled for sm_90."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sciml.kernels.rk_window import RK4, BilinearField, Field, MLPField, rk_window

triton = pytest.importorskip("triton", reason="triton is not installed")
triton_kernel = pytest.importorskip("sciml.kernels.rk_window.triton")

HEUN = (((0.0, 0.0), (1.0, 0.0)), (0.5, 0.5))
KUTTA_3 = (((0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (-1.0, 2.0, 0.0)), (1 / 6, 2 / 3, 1 / 6))
WINDOWS = {
    "one hidden layer": ((3, 9, 3), RK4),
    "two hidden layers": ((3, 16, 16, 3), RK4),
    "three hidden layers": ((2, 17, 5, 12, 2), HEUN),
    "bilinear": (3, RK4),
    "bilinear, five components": (5, KUTTA_3),
}


def random_field(widths: tuple[int, ...] | int) -> Field:
    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape) / shape[-1] ** 0.5

    if isinstance(widths, int):
        n, m = widths, widths + 1
        return BilinearField(
            linear=random(n, n), constant=random(n), mixing=random(n, m),
            left=random(m, n), right=random(m, n),
        )  # fmt: skip
    pairs = list(zip(widths[1:], widths[:-1], strict=True))
    return MLPField(
        weights=tuple(random(*p) for p in pairs), biases=tuple(random(after) for after, _ in pairs)
    )


def largest_error(name: str, device: str = "cpu") -> float:
    """Of the states and all gradients of a window, relative, against float64."""
    torch.manual_seed(20)
    widths, tableau = WINDOWS[name]
    field = random_field(widths)
    state = torch.randn(19, field.components)  # two programs, the second not full
    weights = torch.randn(19, 3, field.components)

    def derivatives(dtype: torch.dtype, backend: str, device: str) -> list[torch.Tensor]:
        def leaf(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.detach().to(device, dtype).requires_grad_()

        live = field.like(tuple(leaf(p) for p in field.parameters))
        begin, a, b = leaf(state), *(leaf(torch.tensor(x)) for x in tableau)
        states = rk_window(begin, live, step=0.1, steps=4, every=2, tableau=(a, b), backend=backend)
        loss = (states * weights.to(states)).sum()
        return [states.detach(), *torch.autograd.grad(loss, [begin, a, b, *live.parameters])]

    found = derivatives(torch.float32, "triton", device)
    expected = derivatives(torch.float64, "reference", "cpu")
    return max(
        float((f.cpu().double() - e).norm() / e.norm())
        for f, e in zip(found, expected, strict=True)
    )


def test_states_and_gradients_in_the_interpreter_are_those_of_the_reference() -> None:
    """In a process of its own, since Triton asks for the interpreter when it is imported."""
    command = [sys.executable, __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    errors = dict(re.findall(r"^(.*): (\S+)$", done.stdout, re.MULTILINE))
    assert errors.keys() == WINDOWS.keys()
    assert max(map(float, errors.values())) < 2e-5


def test_what_the_kernels_cannot_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(RuntimeError, match="move them to a CUDA device"):
        rk_window(torch.zeros(2, 3), random_field(3), step=0.1, steps=1, backend="triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    given = {"step": 0.1, "steps": 1, "backend": "triton"}
    with pytest.raises(RuntimeError, match="it takes float16 or float32"):
        field = random_field(3)
        double = field.like(tuple(p.double() for p in field.parameters))
        rk_window(torch.zeros(2, 3).double(), double, **given)
    with pytest.raises(RuntimeError, match="there are 200 hidden; it takes 128"):
        rk_window(torch.zeros(2, 3), random_field((3, 200, 3)), **given)
    with pytest.raises(RuntimeError, match="no hidden layer"):
        rk_window(torch.zeros(2, 3), random_field((3, 3)), **given)


POINTERS = {
    "_march": ("states", "theta", "a", "b"),
    "_march_back": (
        "states", "bar", "begin_bar", "gradient", "a_bar", "b_bar", "theta", "a", "b"
    ),
}  # fmt: skip
COUNTS = {"_march": ("batch", "steps"), "_march_back": ("batch", "steps", "every", "size")}
PERCEPTRON = {"BILINEAR": False, "LAYERS": 1, "W": 64}
BILINEAR = {"BILINEAR": True, "LAYERS": 0, "W": 4}
SPILLED = {("_march", 64): 0, ("_march", 4): 0, ("_march_back", 64): 128, ("_march_back", 4): 32}
"""Bytes of a thread at most; with IEEE products the perceptron's would be kilobytes."""
CONSTANTS = {"COMPONENTS": 3, "C": 4, "S": 4, "STAGES": 4, "SAMPLES": triton_kernel.SAMPLES}


def compiled(name: str, field: dict[str, int]) -> bytes:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel, constants = getattr(triton_kernel, name), {**CONSTANTS, **field}
    signature = {
        **dict.fromkeys(POINTERS[name], "*fp32"),
        **dict.fromkeys(COUNTS[name], "i32"),
        **dict.fromkeys(constants, "constexpr"),
    }
    places = {(kernel.arg_names.index(k),): v for k, v in constants.items()}
    source = ASTSource(kernel, signature, constexprs=places)
    options = {"num_warps": triton_kernel.WARPS}
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
@pytest.mark.parametrize("field", [PERCEPTRON, BILINEAR], ids=["3-64-64-3", "bilinear"])
@pytest.mark.parametrize("name", POINTERS)
def test_the_kernels_compile_for_sm_90_nearly_without_spills(
    name: str,
    field: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property,
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    used = resources(compiled(name, field), tmp_path)
    for resource, amount in used.items():
        record_property(resource, amount)
    assert used["LOCAL"] == 0
    assert used["STACK"] <= SPILLED[name, field["W"]]
    assert used["REG"] <= 255


@pytest.mark.gpu
@pytest.mark.parametrize("name", WINDOWS)
def test_a_gpu_gives_the_reference(name: str) -> None:
    assert largest_error(name, "cuda") < 2e-5


if __name__ == "__main__":
    for window in WINDOWS:
        print(f"{window}: {largest_error(window)}")
