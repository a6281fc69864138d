"""How long the gradient of a window of a neural ODE takes on one CPU core, beside its peers.

    python benchmarks/neural_ode.py [--repeats 9] [--seconds 0.3] [--clock cpu] [--out FILE.json]

The field is a perceptron 3-64-64-3 with tanh, the window 32 steps of RK4 of length 0.01, the loss
the mean squared distance from given states, all in float32. Every contestant computes the loss and
its gradient by the state and all weights, from the same numbers, in one process with one thread;
they take turns, and the median of the turns counts. torchdiffeq's `dopri5` takes adaptive steps
(rtol 1e-6, atol 1e-8) to the same states; torchode and diffrax are given the tableau of RK4.
diffrax comes with the extra [bench]; torchode asks for an old typeguard that tyro does not go
with, so it is installed by hand. One that is absent is reported by name.

Beside time: the largest relative error of a gradient against float64, and the bytes that the
backward pass was found to keep (of torch's contestants).

Where there is a GPU, one line more: a field that no kernel takes, with two residual blocks of width
64, in float32 as well, by the plain loop and in CUDA graphs.

The exit status is 1 if a bound fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

WIDTHS = (3, 64, 64, 3)
STEP, STEPS = 0.01, 32
BATCHES = (256, 16)
BOUNDS = {
    256: {"torchdiffeq rk4": 3.0, "diffrax checkpointed": 1.0},
    16: {"torchdiffeq rk4": 10.0, "diffrax checkpointed": 2.0},
}
LARGEST_ERROR, MOST_BYTES = 1e-3, 2**20

Gradient = Callable[[], list[np.ndarray]]


def problem(batch: int) -> dict[str, list[np.ndarray]]:
    """Weights, biases, first states and the states to compare with, all in float64."""
    rng = np.random.default_rng(20)
    pairs = list(zip(WIDTHS[1:], WIDTHS[:-1], strict=True))
    return {
        "weights": [rng.normal(size=pair) / pair[1] ** 0.5 for pair in pairs],
        "biases": [rng.normal(size=after) / 4 for after, _ in pairs],
        "state": [rng.normal(size=(batch, 3))],
        "target": [rng.normal(size=(batch, STEPS + 1, 3))],
    }


# The contestants: each gives a function that computes the gradient by weights, biases and state.


def ours(batch: int) -> Gradient:
    return _ours(batch, "cpu", "float32")


def reference(batch: int) -> Gradient:
    return _ours(batch, "reference", "float32")


def exact(batch: int) -> Gradient:
    return _ours(batch, "reference", "float64")


def _ours(batch: int, backend: str, dtype: str) -> Gradient:
    from sciml.kernels.rk_window import MLPField, rk_window

    weights, biases, state, target = _tensors(batch, dtype)
    field = MLPField(weights=tuple(weights), biases=tuple(biases))

    def solve():
        return rk_window(state, field, step=STEP, steps=STEPS, backend=backend)

    return _torch_gradient(solve, target, [*weights, *biases, state])


def torchdiffeq_rk4(batch: int) -> Gradient:
    return _torchdiffeq(batch, adjoint=False, method="rk4")


def torchdiffeq_rk4_adjoint(batch: int) -> Gradient:
    return _torchdiffeq(batch, adjoint=True, method="rk4")


def torchdiffeq_dopri5_adjoint(batch: int) -> Gradient:
    return _torchdiffeq(batch, adjoint=True, method="dopri5", rtol=1e-6, atol=1e-8)


def _torchdiffeq(batch: int, *, adjoint: bool, **options) -> Gradient:
    import torch
    import torchdiffeq

    weights, biases, state, target = _tensors(batch)
    field = _Perceptron(weights, biases)
    times = STEP * torch.arange(STEPS + 1)
    integrate = torchdiffeq.odeint_adjoint if adjoint else torchdiffeq.odeint
    if adjoint:
        options["adjoint_params"] = (*weights, *biases)
    field = _module(field)
    return _torch_gradient(
        lambda: integrate(field, state, times, **options).transpose(0, 1),
        target,
        [*weights, *biases, state],
    )


def torchode_rk4(batch: int) -> Gradient:
    import torch
    import torchode
    from torchode.interpolation import ThirdOrderPolynomialInterpolation
    from torchode.single_step_methods.runge_kutta import ButcherTableau, ExplicitRungeKutta

    class RK4(ExplicitRungeKutta):
        def convergence_order(self) -> int:
            return 4

        def build_interpolation(self, data):
            return ThirdOrderPolynomialInterpolation.from_k(
                data.t0, data.dt, data.y0, data.y1, data.k
            )

    weights, biases, state, target = _tensors(batch)
    tableau = ButcherTableau.from_lists(
        c=[0, 0.5, 0.5, 1],
        a=[[], [0.5], [0, 0.5], [0, 0, 1]],
        b=[1 / 6, 1 / 3, 1 / 3, 1 / 6],
        b_err=[0, 0, 0, 0],
    )
    method = RK4(torchode.ODETerm(_Perceptron(weights, biases)), tableau)
    adjoint = torchode.AutoDiffAdjoint(method, torchode.FixedStepController())
    times = (STEP * torch.arange(STEPS + 1)).expand(batch, -1)
    steps = torch.full((batch,), STEP)

    def solve():
        problem = torchode.InitialValueProblem(y0=state, t_eval=times)
        return adjoint.solve(problem, dt0=steps).ys

    return _torch_gradient(solve, target, [*weights, *biases, state])


class _Perceptron:
    def __init__(self, weights, biases) -> None:
        self.layers = list(zip(weights, biases, strict=True))

    def __call__(self, _, state):
        import torch

        *hidden, last = self.layers
        for weight, bias in hidden:
            state = torch.tanh(torch.nn.functional.linear(state, weight, bias))
        return torch.nn.functional.linear(state, *last)


def _module(function):
    """torchdiffeq's adjoint takes modules alone."""
    import torch

    class Module(torch.nn.Module):
        def forward(self, t, state):
            return function(t, state)

    return Module()


def _tensors(batch: int, dtype: str = "float32"):
    import torch

    torch.set_num_threads(1)
    given = problem(batch)
    weights, biases, (state,), (target,) = (
        [torch.from_numpy(x).to(getattr(torch, dtype)) for x in given[name]]
        for name in ("weights", "biases", "state", "target")
    )
    for tensor in (*weights, *biases, state):
        tensor.requires_grad_()
    return weights, biases, state, target


def _torch_gradient(solve, target, leaves) -> Gradient:
    import torch

    def run() -> list[np.ndarray]:
        loss = (solve() - target).square().mean()
        return [g.numpy() for g in torch.autograd.grad(loss, leaves)]

    def kept() -> int:
        """Bytes of all that the backward pass keeps, each storage once."""
        storages: dict[int, object] = {}

        def keep(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            solve()
        return sum(storage.nbytes() for storage in storages.values())

    run.kept = kept  # type: ignore[attr-defined]
    return run


def diffrax_checkpointed(batch: int) -> Gradient:
    import jax
    import jax.numpy as jnp

    given = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), problem(batch))
    solve = _diffrax_solve()

    def loss(weights, biases, state):
        return jnp.square(solve(weights, biases, state) - given["target"][0]).mean()

    differentiated = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))

    def run() -> list[np.ndarray]:
        found = differentiated(given["weights"], given["biases"], given["state"][0])
        return [np.asarray(leaf) for leaf in jax.tree.leaves(found)]

    return run


def _diffrax_solve():
    """The batch as one state, which is faster here than a map over samples."""
    import diffrax
    import jax.numpy as jnp

    class RK4(diffrax.AbstractERK):
        tableau = diffrax.ButcherTableau(
            a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
            b_sol=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
            b_error=np.zeros(4),
            c=np.array([0.5, 0.5, 1.0]),
        )
        interpolation_cls = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

        def order(self, terms) -> int:
            return 4

    def rate(_, state, parameters):
        *hidden, (weight, bias) = zip(*parameters, strict=True)
        for w, b in hidden:
            state = jnp.tanh(state @ w.T + b)
        return state @ weight.T + bias

    def solve(weights, biases, state):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(rate),
            RK4(),
            t0=0.0,
            t1=STEP * STEPS,
            dt0=None,
            y0=state,
            args=(weights, biases),
            saveat=diffrax.SaveAt(t0=True, steps=True),
            stepsize_controller=diffrax.StepTo(STEP * jnp.arange(STEPS + 1)),
            adjoint=diffrax.RecursiveCheckpointAdjoint(),
            max_steps=STEPS,
        ).ys.swapaxes(0, 1)

    return solve


CONTESTANTS = {
    "ours": (ours, ("numba", "torch")),
    "reference": (reference, ("torch",)),
    "torchdiffeq rk4": (torchdiffeq_rk4, ("torchdiffeq",)),
    "torchdiffeq rk4 adjoint": (torchdiffeq_rk4_adjoint, ("torchdiffeq",)),
    "torchdiffeq dopri5 adjoint": (torchdiffeq_dopri5_adjoint, ("torchdiffeq",)),
    "torchode rk4": (torchode_rk4, ("torchode",)),
    "diffrax checkpointed": (diffrax_checkpointed, ("diffrax", "jax")),
}


# A worker holds one contestant and answers one request a line with one line of JSON.


def work(name: str) -> None:
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints is not an answer
    if name.startswith("diffrax"):  # the one that starts threads whatever it is told
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for line in sys.stdin:
        request = json.loads(line)
        if "batch" in request:
            run = CONTESTANTS[name][0](request["batch"])
            found = run()
            answer: object = {
                "error": _error(found, exact(request["batch"])()),
                "kept": run.kept() if hasattr(run, "kept") else None,
                "calls": _calls(run, request["seconds"]),
            }
        else:
            clock = time.process_time if request["clock"] == "cpu" else time.perf_counter
            start = clock()
            for _ in range(request["calls"]):
                run()
            answer = (clock() - start) / request["calls"]
        print(json.dumps(answer), file=reply, flush=True)


def _error(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(float(np.linalg.norm(f - e) / np.linalg.norm(e)) for f, e in pairs)


def _calls(run: Gradient, seconds: float) -> int:
    """As many as take about the seconds asked for."""
    run()
    start = time.process_time()
    for _ in range(3):
        run()
    return max(1, round(3 * seconds / (time.process_time() - start)))


class Worker:
    """A contestant in a process of its own, with one thread."""

    def __init__(self, name: str) -> None:
        threads = dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
        )
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads, "XLA_FLAGS": flags},
        )

    def ask(self, **request: object):
        assert self.process.stdin and self.process.stdout and self.process.stderr
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            said = self.process.stderr.read()[-500:]
            raise RuntimeError(f"a worker ended with status {self.process.wait()}: {said}")
        return json.loads(answer)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def versions() -> dict[str, dict[str, str] | None]:
    """The versions of each contestant's packages, or None if one is absent."""
    found: dict[str, dict[str, str] | None] = {}
    for name, (_, packages) in CONTESTANTS.items():
        try:
            found[name] = {package: version(package) for package in packages}
        except PackageNotFoundError:
            found[name] = None
    return found


def compare(batch: int, workers: dict[str, Worker], options: argparse.Namespace) -> dict:
    """Of each contestant: the median milliseconds of its turns, its error, what it keeps."""
    plan = {n: w.ask(batch=batch, seconds=options.seconds) for n, w in workers.items()}
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(options.repeats):
        for name, worker in workers.items():
            seconds = worker.ask(calls=plan[name]["calls"], clock=options.clock)
            times[name].append(1e3 * seconds)
    return {
        name: {
            "median": statistics.median(t),
            "least": min(t),
            "most": max(t),
            "error": plan[name]["error"],
            "kept": plan[name]["kept"],
        }
        for name, t in times.items()
    }


def graphs(repeats: int, calls: int = 10) -> dict[str, float] | None:
    """Milliseconds of the plain loop and of CUDA graphs, and how far gradients lie apart."""
    import torch

    if not torch.cuda.is_available():
        return None
    from sciml.dynamics.fields import ResidualMLP
    from sciml.dynamics.integrators import RungeKutta
    from sciml.dynamics.network import FlowMap

    torch.manual_seed(20)
    batch = BATCHES[0]
    net = FlowMap(ResidualMLP(3, width=64, blocks=2), 3, scheme=RungeKutta()).cuda()
    state = torch.randn(batch, 3, device="cuda", requires_grad=True)
    target = torch.randn(batch, STEPS + 1, 3, device="cuda")
    instants = (STEP * torch.arange(STEPS + 1, device="cuda")).expand(batch, -1)
    leaves = [state, *net.parameters()]

    def gradient(graphed: bool):
        loss = (net(state, instants, kernel=graphed) - target).square().mean()
        return torch.autograd.grad(loss, leaves)

    def turn(graphed: bool) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            gradient(graphed)
        torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start) / calls

    for graphed in (False, True):  # the second call with the same shapes captures
        turn(graphed)
    turns = [(turn(False), turn(True)) for _ in range(repeats)]
    plain, graph = map(statistics.median, zip(*turns, strict=True))
    pairs = zip(gradient(True), gradient(False), strict=True)
    apart = max(float((g - p).norm() / p.norm()) for g, p in pairs)
    return {"batch": batch, "plain": plain, "graph": graph, "apart": apart}


def failures(batches: dict[int, dict]) -> list[str]:
    found = []
    for batch, rows in batches.items():
        mine = rows["ours"]
        for name, bound in BOUNDS[batch].items():
            if name in rows and rows[name]["median"] / mine["median"] < bound:
                found.append(f"batch {batch}: less than {bound} times as fast as {name}")
        if mine["error"] > LARGEST_ERROR:
            found.append(f"batch {batch}: a gradient is wrong by {mine['error']:.1e}")
        if mine["kept"] > MOST_BYTES:
            found.append(f"batch {batch}: {mine['kept']} bytes are kept")
    return found


def report(result: dict) -> None:
    print(f"MLP {'-'.join(map(str, WIDTHS))}, {STEPS} steps of RK4, forward and backward, float32")
    print(f"one thread, {result['clock']} clock, {result['machine']}")
    for name, packages in result["versions"].items():
        listed = ", ".join(f"{k} {v}" for k, v in packages.items()) if packages else "absent"
        print(f"  {name}: {listed}")
    for batch, rows in result["batches"].items():
        title = f"batch {batch}"
        print(f"\n{title:<30}{'ms':>8}{'it / ours':>11}{'bound':>7}{'error':>10}{'kept, kB':>10}")
        for name, row in sorted(rows.items(), key=lambda item: item[1]["median"]):
            ratio = row["median"] / rows["ours"]["median"]
            bound = BOUNDS[batch].get(name)
            bound_text = "" if bound is None else f"{bound:.1f}"
            kept = "" if row["kept"] is None else f"{row['kept'] / 1e3:.0f}"
            print(
                f"  {name:<28}{row['median']:8.2f}{ratio:11.2f}{bound_text:>7}"
                f"{row['error']:10.1e}{kept:>10}"
            )
    if on_gpu := result["gpu"]:
        print(
            f"\nGPU, residual field, batch {on_gpu['batch']}: plain loop {on_gpu['plain']:.2f} ms, "
            f"CUDA graphs {on_gpu['graph']:.2f} ms, plain / graphs "
            f"{on_gpu['plain'] / on_gpu['graph']:.2f}, gradients apart {on_gpu['apart']:.1e}"
        )
    for failure in result["failures"]:
        print(f"short: {failure}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="turns of each contestant")
    parser.add_argument("--seconds", type=float, default=0.3, help="of one turn, about")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                        help="cpu leaves out the time that other programs take")  # fmt: skip
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return 0
    found = versions()
    workers = {name: Worker(name) for name, packages in found.items() if packages}
    try:
        batches = {batch: compare(batch, workers, options) for batch in BATCHES}
    finally:
        for worker in workers.values():
            worker.close()
    result = {
        "clock": options.clock,
        "machine": f"{platform.machine()} with {os.cpu_count()} cores",
        "versions": found,
        "batches": batches,
        "gpu": graphs(options.repeats),
        "failures": failures(batches),
    }
    report(result)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
