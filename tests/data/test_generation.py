from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.data import generate

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and the workers it spawns import generation_tasks."""
    monkeypatch.syspath_prepend(str(HERE))


def tasks():
    import generation_tasks

    return generation_tasks


def contents(path: Path) -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf") as ds:
        return ds.load()


def test_a_sample_depends_on_seed_and_number_alone(tmp_path):
    task = tasks().Fields(failing=0.0)
    few = contents(generate(task, 3, tmp_path / "few.nc", seed=7, progress=False))
    many = contents(generate(task, 8, tmp_path / "many.nc", seed=7, progress=False))
    other = contents(generate(task, 3, tmp_path / "other.nc", seed=8, progress=False))
    xr.testing.assert_identical(few.drop_attrs(), many.isel(sample=slice(3)).drop_attrs())
    assert not (few.velocity == other.velocity).any()
    alone = task(5, np.random.default_rng(np.random.SeedSequence([7, 5])))
    np.testing.assert_array_equal(many.velocity[5], alone.velocity)


def test_contents_do_not_depend_on_workers(tmp_path):
    task = tasks().Fields()
    one = generate(task, 20, tmp_path / "one.nc", seed=3, workers=1, progress=False)
    two = generate(task, 20, tmp_path / "two.nc", seed=3, workers=2, progress=False)
    xr.testing.assert_identical(contents(one), contents(two))


def test_file_keeps_what_the_task_said(tmp_path):
    path = generate(
        tasks().Fields(), 20, tmp_path / "a.nc", seed=3, attributes={"title": "t"}, progress=False
    )
    ds = contents(path)
    assert ds.velocity.dims == ("sample", "component", "y", "x")
    assert ds.velocity.units == "m s-1" and ds.x.dims == ("x",) and ds.x.units == "m"
    assert ds.pressure.dtype == np.float32 and ds.steady.dtype == bool
    assert set(ds.family.values) == {"circle", "rectangle"}
    assert ds.title == "t" and '"seed": 3' in ds.generation
    assert not (tmp_path / "a.nc.parts").exists()


def test_failures_are_counted_with_their_reasons(tmp_path):
    ds = contents(generate(tasks().Fields(), 20, tmp_path / "a.nc", seed=3, progress=False))
    assert 0 < ds.sizes["failure"] < 20
    assert ds.sizes["failure"] + ds.sizes["sample"] == 20
    assert {*ds.failure_index.values, *ds.sample_index.values} == set(range(20))
    for index, reason in zip(ds.failure_index.values, ds.failure_reason.values, strict=True):
        assert reason == f"sample {index} is unsteady"


def test_all_failing_names_the_first_reason(tmp_path):
    with pytest.raises(ValueError, match=r"all 3 samples failed.*the flow is unsteady"):
        generate(tasks().always_fails, 3, tmp_path / "a.nc", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_samples_with_other_variables_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="'drag' of sample 2 is missing"):
        generate(tasks().changing, 4, tmp_path / "a.nc", progress=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_in_the_task_stops_but_keeps_what_is_done(tmp_path, workers):
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        generate(tasks().fails_to_run, 6, tmp_path / "a.nc", workers=workers, progress=False)
    assert (tmp_path / "a.nc.parts" / "00000000.npz").exists()
    assert not (tmp_path / "a.nc").exists()


def test_a_killed_worker_is_reported(tmp_path):
    with pytest.raises(ChildProcessError, match="resume"):
        generate(tasks().dies, 6, tmp_path / "a.nc", workers=2, progress=False)


def test_existing_work_is_not_overwritten(tmp_path):
    task, path = tasks().Fields(), tmp_path / "a.nc"
    generate(task, 4, path, progress=False)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="--resume"):
        generate(task, 4, path, progress=False)
    assert generate(task, 4, path, resume=True, progress=False) == path
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"count": 9}, {"task": "other"}, {"attributes": {"title": "b"}}]
)
def test_parts_of_another_run_are_refused(tmp_path, change):
    path = tmp_path / "a.nc"
    with pytest.raises(ZeroDivisionError):
        generate(tasks().fails_to_run, 6, path, progress=False)
    with pytest.raises(FileExistsError, match="interrupted"):
        generate(tasks().fails_to_run, 6, path, progress=False)
    task = tasks().Fields() if "task" in change else tasks().fails_to_run
    count = change.get("count", 6)
    with pytest.raises(ValueError, match=f"{next(iter(change))} = "):
        generate(
            task,
            count,
            path,
            seed=change.get("seed", 0),
            attributes=change.get("attributes"),
            resume=True,
            progress=False,
        )


def test_options_of_the_task_must_agree(tmp_path):
    path = tmp_path / "a.nc"
    generate(tasks().Fields(failing=0.1), 4, path, progress=False)
    with pytest.raises(ValueError, match=r"options = .*failing=0\.1"):
        generate(tasks().Fields(failing=0.2), 4, path, resume=True, progress=False)


@pytest.mark.parametrize(("count", "workers"), [(0, 1), (1, 0)])
def test_nothing_to_do_is_refused(tmp_path, count, workers):
    with pytest.raises(ValueError, match="at least 1"):
        generate(tasks().Fields(), count, tmp_path / "a.nc", workers=workers)


def start(path: Path, seen: Path, count: int) -> subprocess.Popen:
    """Generate in a process group of its own, with two workers."""
    seen.mkdir(exist_ok=True)
    code = (
        "from generation_tasks import SlowFields; from sciml.data import generate\n"
        "if __name__ == '__main__':\n"
        f"    generate(SlowFields(seen={str(seen)!r}), {count}, {str(path)!r}, seed=5, workers=2)\n"
    )
    script = path.with_suffix(".py")
    script.write_text(code)
    places = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    return subprocess.Popen(
        [sys.executable, script], env=os.environ | {"PYTHONPATH": places}, start_new_session=True
    )


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
@pytest.mark.parametrize("victim", ["group", "parent"])
def test_killed_in_the_middle_resumes_to_the_same_contents(tmp_path, victim):
    count, path, seen = 40, tmp_path / "killed.nc", tmp_path / "seen"
    parts = tmp_path / "killed.nc.parts"
    run = start(path, seen, count)
    wait_for(lambda: len(list(parts.glob("0*"))) >= 8)
    if victim == "group":
        os.killpg(run.pid, signal.SIGKILL)
    else:
        run.kill()
    assert run.wait() == -signal.SIGKILL
    workers = {int(file.name.split("-")[0]) for file in seen.iterdir()}
    wait_for(lambda: not any(alive(worker) for worker in workers), seconds=10)
    kept = {int(file.stem) for file in parts.glob("0*")}
    assert 8 <= len(kept) < count and not path.exists()

    generate(tasks().SlowFields(seen=str(seen)), count, path, seed=5, resume=True, progress=False)
    made = {int(file.name.split("-")[1]) for file in seen.glob(f"{os.getpid()}-*")}
    assert made == set(range(count)) - kept

    task = tasks().SlowFields(seen=str(seen), seconds=0.0)
    resumed = contents(path)
    straight = contents(generate(task, count, tmp_path / "whole.nc", seed=5, progress=False))
    xr.testing.assert_identical(resumed.drop_attrs(), straight.drop_attrs())
    for name in resumed.variables:
        if resumed[name].dtype.kind != "O":
            assert resumed[name].values.tobytes() == straight[name].values.tobytes()
