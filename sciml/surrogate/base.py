"""The one abstract base of all surrogates."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, final

import torch
import xarray as xr
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sciml.data.files import read_json, sha256, write_json
from sciml.surrogate.card import model_card
from sciml.surrogate.folder import replacing
from sciml.surrogate.labels import (
    OutsideRangeWarning,
    Range,
    checksum,
    require_variables,
    training_ranges,
)
from sciml.surrogate.labels import (
    outside as outside_of,
)
from sciml.train import Batch, Dataset, History, TrainOptions
from sciml.train.records import class_name, find_class, from_record, to_record

Options = TypeVar("Options")
S = TypeVar("S", bound="Surrogate[Any]")
Outside = Literal["raise", "warn", "mask"]

JSON, WEIGHTS, CARD = "surrogate.json", "weights.safetensors", "README.md"


class Surrogate(ABC, Generic[Options]):
    """A network with names and units: fitted on labelled data, called from a solver.

    A domain writes a final subclass: `inputs` and `outputs` (variable to units), the abstract
    methods below, and a frozen dataclass of options. Fitting, checks of the input, saving and
    loading stand here, once. The constructor of a subclass takes what this one takes.

    Args:
        options: configuration of the surrogate, a frozen dataclass.
        training: how it is fitted, unless `fit` is told otherwise.
    """

    inputs: ClassVar[Mapping[str, str]]
    outputs: ClassVar[Mapping[str, str]]

    def __init__(self, options: Options, *, training: TrainOptions | None = None) -> None:
        self.options = options
        self.training = training if training is not None else TrainOptions()
        self.history = History()
        self.ranges: dict[str, Range] = {}
        self._data: dict[str, Any] = {}
        self._history: dict[str, Any] = {}
        self._network: nn.Module | None = None

    @abstractmethod
    def build(self) -> nn.Module:
        """A new network, from `self.options` alone."""

    @abstractmethod
    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        """Fit the scalings in the new network's buffers on the training data, if it has any."""

    @abstractmethod
    def samples(self, ds: xr.Dataset) -> Dataset:
        """The training samples in a data set: inputs and targets by index."""

    @abstractmethod
    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Mean loss over the samples of a batch; it calls `net(...)` itself."""

    @abstractmethod
    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        """Numbers over the one dimension of samples whose training range is recorded.

        `sciml.surrogate.extremes` gives the usual ones.
        """

    @abstractmethod
    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        """The solver's path: input tensors to output tensors, batched, without checks."""

    @abstractmethod
    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Outputs for inputs that have been checked; wraps `evaluate`."""

    @final
    @property
    def network(self) -> nn.Module:
        """The fitted network.

        Raises:
            ValueError: the surrogate is not fitted.
        """
        if self._network is None:
            name = type(self).__name__
            raise ValueError(f"this {name} is not fitted: call fit, or {name}.load a saved one")
        return self._network

    @final
    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        training: TrainOptions | None = None,
        folder: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: bool = True,
    ) -> History:
        """Fit a new network on labelled data; see `sciml.train.fit`.

        Args:
            train: training data with all inputs and outputs.
            valid: validation data, likewise.
            training: replaces the options given at construction.
            folder: where checkpoints and the history go.
            resume: continue an interrupted fit from `folder`.
            progress: draw a progress bar on a terminal.

        Raises:
            ValueError: variables or units are wrong, or the fit fails.
        """
        from sciml.train.loop import fit

        for ds in (train, valid) if valid is not None else (train,):
            require_variables(ds, {**self.inputs, **self.outputs})
        self.training = training if training is not None else self.training
        net = self._new(train)
        history = fit(
            net,
            self.loss,
            self.samples(train),
            None if valid is None else self.samples(valid),
            options=self.training,
            folder=folder,
            resume=resume,
            progress=progress,
        )
        self.ranges = training_ranges(self.summaries(train))
        self._data = self._describe(train)
        self._history = _brief(history)
        self.history, self._network = history, net.eval()
        return history

    def _new(self, train: xr.Dataset) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            net = self.build()
        self.calibrate(net, train)
        return net

    def _describe(self, train: xr.Dataset) -> dict[str, Any]:
        plain = {str(k): v for k, v in train.attrs.items() if isinstance(v, str | int | float)}
        samples = len(self.samples(train))
        names = [*self.inputs, *self.outputs]
        return {"samples": samples, "sha256": checksum(train, names), "attributes": plain}

    @final
    def predict(self, ds: xr.Dataset, *, outside: Outside = "warn") -> xr.Dataset:
        """Predict the outputs for labelled inputs.

        Args:
            ds: the inputs, with their units.
            outside: what to do where an input lies outside the range of the training data:
                "raise" refuses, "warn" predicts and warns, "mask" predicts NaN there.

        Returns:
            The outputs, with their units.

        Raises:
            ValueError: not fitted; a variable or its units are missing or wrong; outside the
                range with outside="raise".
        """
        network = self.network
        require_variables(ds, self.inputs)
        beyond, sentence = outside_of(self.summaries(ds), self.ranges)
        if sentence and outside == "raise":
            raise ValueError(f"outside the training data: {sentence}")
        if sentence and outside == "warn":
            message = f"outside the training data: {sentence}"
            warnings.warn(message, OutsideRangeWarning, stacklevel=2)
        network.eval()
        with torch.no_grad():
            prediction = self._predict(ds)
        require_variables(prediction, self.outputs)
        if sentence and outside == "mask":
            kept = {name: prediction[name].where(~beyond) for name in self.outputs}
            prediction = prediction.assign(kept)
        return prediction

    @final
    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        figures: Mapping[str, float | str] | None = None,
    ) -> None:
        """Write `surrogate.json`, `weights.safetensors` and a model card `README.md`.

        The folder is replaced as a whole; one that holds something else is left alone.

        Args:
            folder: the folder to write.
            figures: measured figures for the card, by name.

        Raises:
            ValueError: the surrogate is not fitted, or its options cannot be stored.
            FileExistsError: the folder holds something other than a surrogate.
        """
        weights = {
            name: tensor.detach().cpu().clone().contiguous()
            for name, tensor in self.network.state_dict().items()
        }
        record = self._record(dict(figures or {}))
        with replacing(Path(folder), marker=JSON) as part:
            save_file(weights, part / WEIGHTS)
            record["weights"]["sha256"] = sha256(part / WEIGHTS)
            write_json(part / JSON, record)
            summary = (type(self).__doc__ or "").strip().split("\n\n")[0]
            (part / CARD).write_text(model_card(record, summary=summary), encoding="utf-8")

    def _record(self, figures: dict[str, float | str]) -> dict[str, Any]:
        parameters = sum(p.numel() for p in self.network.parameters())
        return {
            "class": class_name(type(self)),
            "options": to_record(self.options),
            "training": to_record(self.training),
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "ranges": {name: _plain(limits) for name, limits in self.ranges.items()},
            "data": self._data,
            "history": self._history,
            "weights": {"parameters": parameters},
            "figures": figures,
            "versions": {name: metadata.version(name) for name in ("sciml-cfd", "torch")},
        }

    @final
    @classmethod
    def load(cls: type[S], folder: str | os.PathLike[str]) -> S:
        """Read what `save` wrote. `Surrogate.load` finds the class by itself.

        Raises:
            FileNotFoundError: there is no surrogate.
            ValueError: it is of another class, or its files do not belong together.
        """
        folder = Path(folder)
        record = _read(folder)
        found = find_class(record["class"])
        if not issubclass(found, cls):
            raise ValueError(
                f"{folder} holds a {found.__name__}, expected {cls.__name__}: "
                f"call {found.__name__}.load, or Surrogate.load"
            )
        training = from_record(record["training"])
        surrogate = found(from_record(record["options"]), training=training)
        surrogate._network = _with_weights(surrogate.build(), folder, record)
        surrogate.ranges = {name: Range(**limits) for name, limits in record["ranges"].items()}
        surrogate._data, surrogate._history = record["data"], record["history"]
        return surrogate


def _brief(history: History) -> dict[str, Any]:
    at = -1 if history.best_epoch is None else history.best_epoch
    valid = {"validation_loss": history.valid_loss[at]} if history.valid_loss else {}
    return {
        "epochs": history.epochs,
        "training_loss": history.train_loss[at],
        **valid,
        "seconds": sum(history.seconds),
    }


def _plain(limits: Range) -> dict[str, Any]:
    return {"low": limits.low, "high": limits.high, "units": limits.units}


def _read(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: give the folder of a surrogate")
    if not (folder / JSON).is_file():
        raise FileNotFoundError(f"{folder} has no {JSON}: it is not the folder of a surrogate")
    record = read_json(folder / JSON)
    if not isinstance(record, dict) or not isinstance(record.get("class"), str):
        raise ValueError(f"{folder / JSON} does not describe a surrogate: save it anew")
    return record


def _with_weights(net: nn.Module, folder: Path, record: Mapping[str, Any]) -> nn.Module:
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {WEIGHTS}: copy the folder as a whole")
    if sha256(path) != record["weights"]["sha256"]:
        raise ValueError(f"{path} is not what {JSON} describes: copy the folder as a whole")
    try:
        net.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{path} does not fit the network of {JSON}: {error}") from error
    return net.eval()
