"""The model card of a saved surrogate, written for a stranger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def model_card(record: Mapping[str, Any], *, summary: str) -> str:
    """Markdown that says what a surrogate predicts, from what, within which range, and how.

    Args:
        record: what `surrogate.json` holds.
        summary: first sentence of the class's documentation.
    """
    module, _, name = record["class"].partition(":")
    sections = [
        f"# {name}\n\n{summary}",
        "## Inputs\n\n" + _variables(record["inputs"]),
        "## Outputs\n\n" + _variables(record["outputs"]),
        "## Range of the training data\n\n" + _ranges(record["ranges"]),
        "## Training\n\n" + _training(record),
    ]
    if record["figures"]:
        sections.append("## Measured\n\n" + _items(record["figures"]))
    sections.append("## Use\n\n" + _use(module, name, record["inputs"]))
    return "\n\n".join(sections) + "\n"


def _variables(variables: Mapping[str, str]) -> str:
    return _table(("variable", "units"), [(f"`{k}`", v) for k, v in variables.items()])


def _ranges(ranges: Mapping[str, Mapping[str, Any]]) -> str:
    if not ranges:
        return "None is recorded."
    rows = [
        (f"`{name}`", f"{limits['low']:.6g}", f"{limits['high']:.6g}", limits["units"])
        for name, limits in ranges.items()
    ]
    table = _table(("number per sample", "smallest", "largest", "units"), rows)
    return table + "\n\nBeyond these the surrogate extrapolates; `predict` says so."


def _training(record: Mapping[str, Any]) -> str:
    facts: dict[str, Any] = {
        "samples": record["data"]["samples"],
        "SHA-256 of the training data": record["data"]["sha256"],
        "parameters": record["weights"]["parameters"],
        **{key.replace("_", " "): value for key, value in record["history"].items()},
        "seed": record["training"]["seed"],
        **record["versions"],
    }
    return _items(facts)


def _use(module: str, name: str, inputs: Mapping[str, str]) -> str:
    return (
        f"```python\nimport xarray as xr\nfrom {module} import {name}\n\n"
        f'surrogate = {name}.load("path/to/this/folder")\n'
        f'inputs = xr.open_dataset("inputs.nc")  # with {", ".join(inputs)}\n'
        'prediction = surrogate.predict(inputs, outside="warn")\n```\n\n'
        "`outside` says what happens beyond the range: `raise` refuses, `warn` warns, `mask` "
        "gives NaN. On the command line: `sciml predict FOLDER inputs.nc -o prediction.nc`.\n\n"
        "`surrogate.json` holds the configuration, `weights.safetensors` the weights and the "
        "scalings. Nothing is pickled."
    )


def _items(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {_text(value)}" for name, value in facts.items())


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
