"""Autoencoders of snapshots: linear, dense, convolutional, mode-decomposing and variational."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import xarray as xr

from sciml.modes.frames import Body, Frame, image_frame, span_frame, structured
from sciml.modes.layout import TIME, Layout, Scaling
from sciml.modes.method import bring, keep
from sciml.modes.networks import Compression, CompressionOptions, Kind, seen
from sciml.nn.activation import Activation
from sciml.surrogate.folder import replacing
from sciml.train import History, TrainOptions

if TYPE_CHECKING:
    from sciml.surrogate.base import Outside

__all__ = ["Autoencoder", "AutoencoderOptions"]

MODE = "mode"
MARKER, NETWORK = "method.json", "network"

WIDTHS: dict[Body, tuple[int, ...]] = {"dense": (64,), "convolutional": (16, 32, 32)}

LINEAR = TrainOptions(epochs=30, optimiser="lbfgs")
OTHERS = TrainOptions(epochs=200, batch_size=16, learning_rate=2e-3, weight_decay=1e-5)


@dataclass(frozen=True, kw_only=True)
class AutoencoderOptions:
    """How an :class:`Autoencoder` is made.

    Attributes:
        kind: "linear" has no activations and finds the subspace of POD; "dense" is a multilayer
            perceptron, "convolutional" needs a grid; "mode-decomposing" has a decoder for each
            latent, whose fields add up; "variational" has latents with a variance (beta-VAE).
        variables: which of the data's; by default all over `time`.
        rank: latents.
        scaling: "deviation" divides each variable by its root-mean-square deviation from its mean.
        body: layers of the last two kinds; by default convolutions on a grid of one to three axes,
            and dense layers on a list of cells.
        widths: of the dense layers of the encoder, or channels of its convolutions, from the
            fields to the latents; none takes `WIDTHS`.
        activation: between layers.
        beta: weight of the divergence of the latents from the normal distribution, in which one
            is all the energy of the snapshots; for "variational".
        span: directions at most in which dense layers see snapshots, see
            :func:`sciml.modes.frames.span_frame`.

    Raises:
        ValueError: a number out of its range.
    """

    kind: Kind = "convolutional"
    variables: tuple[str, ...] | None = None
    rank: int = 10
    scaling: Scaling = "none"
    body: Body | None = None
    widths: tuple[int, ...] | None = None
    activation: Activation = "gelu"
    beta: float = 1e-3
    span: int = 256

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.rank < 1 or self.span < 1 or self.beta < 0:
            raise ValueError(
                f"rank={self.rank}, span={self.span}, beta={self.beta}: rank and span must be at "
                "least 1, beta at least 0"
            )


@final
class Autoencoder:
    """Latents of snapshots by an encoder, and snapshots of latents by a decoder.

    Both see deviations from the mean of the training snapshots. The loss is the energy lost in the
    inner product of the :class:`Layout`: cells count by their volume, and the solid not at all.

    - The linear one finds the subspace of POD, though not its modes: Baldi and Hornik, Neural
      Netw. 2 (1989), doi:10.1016/0893-6080(89)90014-2. It is trained by L-BFGS in float64.
    - Mode-decomposing: Murata, Fukami, Fukagata, J. Fluid Mech. 882 (2020) A13,
      doi:10.1017/jfm.2019.822.
    - Variational: Higgins et al., ICLR 2017; for flows Solera-Rico et al., Nat. Commun. 15 (2024)
      1361, doi:10.1038/s41467-024-45578-4.

    Args:
        options: see above.
        training: how it is trained; by default `LINEAR` or `OTHERS`.

    Attributes:
        layout: rows of the snapshots, after `fit`.
        history: losses of the training.

    Example:
        >>> t, x = np.arange(0, 8, 0.1), np.linspace(0, 2 * np.pi, 64, endpoint=False)
        >>> field = (("time", "x"), np.cos(x - t[:, None]))
        >>> ds = xr.Dataset({"velocity": field}, {"time": t, "x": x})
        >>> model = Autoencoder(AutoencoderOptions(kind="linear", rank=2))
        >>> _ = model.fit(ds)
        >>> float(abs(model.reconstruct(ds) - ds).velocity.max()) < 1e-6
        True
    """

    layout: Layout
    history: History

    def __init__(
        self, options: AutoencoderOptions | None = None, *, training: TrainOptions | None = None
    ) -> None:
        self.options = options or AutoencoderOptions()
        default = LINEAR if self.options.kind == "linear" else OTHERS
        self.training = training or default

    @property
    def rank(self) -> int:
        """Latents."""
        return self.options.rank

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> History:
        """Train the network; losses are parts of the training snapshots' mean energy.

        Args:
            train: snapshots, see :class:`Layout`.
            valid: others, of which the best epoch is taken.
            folder: where checkpoints go.
            resume: continue from `folder`.

        Raises:
            ValueError: data that is not finite in the fluid or does not change, convolutions
                without a grid, or more latents than there are directions.
        """
        options = self.options
        layout = Layout.of(train, options.variables, scaling=options.scaling)
        body = _body(options, layout)
        rows = _finite(np.asarray(layout.rows(train)))
        frame = self._frame_of(layout, rows, body)
        network = self._network_for(frame, body, len(rows))
        others = None if valid is None else seen(frame.inputs(layout.rows(valid)), frame.weight)
        data = seen(frame.inputs(rows), frame.weight)
        self.history = network.fit(data, others, folder=folder, resume=resume)
        self.layout, self._frame, self._network = layout, frame, network
        return self.history

    def encode(self, ds: xr.Dataset) -> xr.DataArray:
        """Latents (time, mode) of snapshots; of a variational one their means."""
        return self._latents(self.network.encode(self._inputs(ds)), ds)

    def spread(self, ds: xr.Dataset) -> xr.DataArray:
        """Standard deviations (time, mode) of the latents of a variational autoencoder."""
        _, log_variance = self.network.posterior(self._inputs(ds))
        return self._latents(np.exp(0.5 * log_variance), ds)

    def decode(self, coefficients: xr.DataArray) -> xr.Dataset:
        """Fields of latents (time, mode)."""
        found = self.network.decode(_values(coefficients))
        return self.layout.fields(self._frame.rows(found), TIME, coefficients.coords.get(TIME))

    def mode_fields(self, coefficients: xr.DataArray) -> xr.Dataset:
        """What each latent adds to the mean: fields over (time, mode, mesh).

        Their sum over `mode` and the mean of the training snapshots are what `decode` gives.

        Raises:
            ValueError: the latents' fields do not add up, as a linear or mode-decomposing
                autoencoder's do.
        """
        if self.options.kind not in ("linear", "mode-decomposing"):
            raise ValueError(
                f"the fields of a {self.options.kind} autoencoder are no sum over its latents: "
                'take kind="mode-decomposing" or "linear"'
            )
        parts = self.network.parts(_values(coefficients))
        time = coefficients.coords.get(TIME)
        fields = [
            self.layout.fields(self._frame.rows(parts[:, n], mean=False), TIME, time)
            for n in range(self.rank)
        ]
        index = xr.DataArray(np.arange(self.rank), dims=MODE, name=MODE)
        return xr.concat(fields, dim=index).transpose(TIME, MODE, ...)

    def reconstruct(self, ds: xr.Dataset) -> xr.Dataset:
        """What is left of snapshots after `encode` and `decode`."""
        return self.decode(self.encode(ds))

    def predict(self, ds: xr.Dataset, *, outside: Outside = "warn") -> xr.Dataset:
        """The same as `reconstruct`, with a word about snapshots beyond the training's energy."""
        found = self.network.predict(seen(self._inputs(ds)), outside=outside)
        return self.layout.fields(
            self._frame.rows(found["field"].values), TIME, ds.coords.get(TIME)
        )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write options, layout and frame, and the network as a surrogate in `network`.

        Raises:
            FileExistsError: the folder holds something other than a method.
        """
        network = self.network
        with replacing(Path(folder), marker=MARKER) as part:
            parts = {"layout": self.layout.labelled(), "frame": self._frame.labelled()}
            keep(part, self, self.options, **parts)
            network.save(part / NETWORK)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Autoencoder:
        """Bring back what `save` wrote.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: it is no autoencoder.
        """
        options, parts = bring(folder, cls, AutoencoderOptions)
        network = Compression.load(Path(folder) / NETWORK)
        model = cls(options, training=network.training)
        model.layout = Layout.from_labelled(parts["layout"])
        model._frame, model._network = Frame.from_labelled(parts["frame"]), network
        model.history = network.history
        return model

    @property
    def network(self) -> Compression:
        """The fitted network, a surrogate of what the frame shows of snapshots.

        Raises:
            ValueError: the autoencoder is not fitted.
        """
        if not hasattr(self, "_network"):
            raise ValueError(
                "the autoencoder is not fitted: call fit(ds) or Autoencoder.load(folder) first"
            )
        return self._network

    def _inputs(self, ds: xr.Dataset) -> np.ndarray:
        return self._frame.inputs(np.asarray(self.layout.rows(ds)))

    def _frame_of(self, layout: Layout, rows: np.ndarray, body: Body) -> Frame:
        if body == "convolutional":
            return image_frame(layout, rows)
        frame = span_frame(layout, rows, span=self.options.span, seed=self.training.seed)
        if self.rank > frame.shape[0]:
            raise ValueError(
                f"{self.rank} latents were asked for, and {len(rows)} snapshots differ in "
                f"{frame.shape[0]} directions: give more snapshots, or a lower rank"
            )
        return frame

    def _network_for(self, frame: Frame, body: Body, snapshots: int) -> Compression:
        options, training = self.options, self.training
        if training.optimiser != "adamw":
            training = replace(training, batch_size=max(training.batch_size, snapshots))
        made = CompressionOptions(
            kind=options.kind,
            body=body,
            shape=frame.shape,
            latents=options.rank,
            widths=WIDTHS[body] if options.widths is None else options.widths,
            activation=options.activation,
            beta=options.beta,
        )
        return Compression(made, training=training)

    def _latents(self, values: np.ndarray, ds: xr.Dataset) -> xr.DataArray:
        coords: dict[str, Any] = {MODE: np.arange(values.shape[1])}
        if TIME in ds.coords:
            coords[TIME] = ds[TIME]
        return xr.DataArray(
            values, dims=(TIME, MODE), coords=coords, name="amplitudes", attrs={"units": "1"}
        )


def _values(coefficients: xr.DataArray) -> np.ndarray:
    return coefficients.transpose(TIME, MODE).values.astype(np.float64)


def _finite(rows: np.ndarray) -> np.ndarray:
    if not np.isfinite(rows).all():
        raise ValueError(
            f"{int((~np.isfinite(rows)).any(0).sum())} numbers of a snapshot are not finite at "
            "some time: mark points without flow by a variable `mask`, true in the fluid"
        )
    return rows


def _body(options: AutoencoderOptions, layout: Layout) -> Body:
    """The layers that kind and mesh ask for.

    Raises:
        ValueError: convolutions where there is no grid.
    """
    if options.kind in ("linear", "dense"):
        return "dense"
    grid = structured(layout)
    wanted = "convolutional" if options.kind == "convolutional" else options.body
    if wanted == "convolutional" and not grid:
        dims = {name: one.dims for name, one in layout.template.data_vars.items()}
        raise ValueError(
            f"convolutions need a grid of one to three axes that all variables share, and the mesh "
            f'is {dims}: take kind="dense", or leave body out'
        )
    return wanted or ("convolutional" if grid else "dense")
