"""The methods that are compared, by the names they bear on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from sciml.modes.layout import Scaling
from sciml.modes.method import Method

if TYPE_CHECKING:
    from sciml.modes.networks import Kind
    from sciml.modes.variants import Kind as Variant

__all__ = ["CONTENDERS", "DEFAULT", "Contender", "Setting", "contender"]


CONSTANT = 1
"""A DMD has one mode more, for the mean that others subtract: subtracted, it would move the
eigenvalues wherever the snapshots do not span whole periods."""


SHIFT = 1
"""An aligned POD has one number more, the shift."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all methods are made with.

    Attributes:
        rank: modes or latents.
        variables: which of the data's; by default all over time.
        scaling: of the variables, see :class:`sciml.modes.Layout`.
        seed: of a network's first weights and shuffles.
        epochs: passes of a network over the training snapshots; its own number by default.
    """

    rank: int = 10
    variables: tuple[str, ...] | None = None
    scaling: Scaling = "none"
    seed: int = 0
    epochs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method that is compared.

    Attributes:
        title: as the report calls it.
        make: gives one that is not fitted.
        network: whether it is trained, from a seed and for some time.
        constant: whether it has one mode more, for the mean.
    """

    title: str
    make: Callable[[Setting], Method]
    network: bool = False
    constant: bool = False


def _pod(setting: Setting) -> Method:
    from sciml.modes.pod import Pod, PodOptions

    return Pod(PodOptions(rank=setting.rank, variables=setting.variables, scaling=setting.scaling))


def _dmd(setting: Setting) -> Method:
    from sciml.modes.dmd import Dmd, DmdOptions

    return Dmd(
        DmdOptions(
            rank=setting.rank + CONSTANT, variables=setting.variables, scaling=setting.scaling
        )
    )


def _spectral(setting: Setting) -> Method:
    from sciml.modes.spectral import SpectralPod, SpectralPodOptions

    return SpectralPod(
        SpectralPodOptions(rank=setting.rank, variables=setting.variables, scaling=setting.scaling)
    )


def _aligned(setting: Setting) -> Method:
    from sciml.modes.aligned import AlignedPod, AlignedPodOptions

    return AlignedPod(
        AlignedPodOptions(
            rank=setting.rank + SHIFT, variables=setting.variables, scaling=setting.scaling
        )
    )


def _variant(kind: Variant) -> Callable[[Setting], Method]:
    def make(setting: Setting) -> Method:
        from sciml.modes.variants import DmdVariant, DmdVariantOptions

        return DmdVariant(
            DmdVariantOptions(
                kind=kind,
                rank=setting.rank + CONSTANT,
                variables=setting.variables,
                scaling=setting.scaling,
                seed=setting.seed,
            )
        )

    return make


def _autoencoder(kind: Kind) -> Callable[[Setting], Method]:
    def make(setting: Setting) -> Method:
        from sciml.modes.autoencoder import LINEAR, OTHERS, Autoencoder, AutoencoderOptions

        training = replace(LINEAR if kind == "linear" else OTHERS, seed=setting.seed, device="auto")
        if setting.epochs is not None:
            training = replace(training, epochs=setting.epochs)
        options = AutoencoderOptions(
            kind=kind, rank=setting.rank, variables=setting.variables, scaling=setting.scaling
        )
        return Autoencoder(options, training=training)

    return make


CONTENDERS: Mapping[str, Contender] = MappingProxyType(
    {
        "pod": Contender(title="POD", make=_pod),
        "aligned-pod": Contender(title="aligned POD", make=_aligned),
        "spectral-pod": Contender(title="spectral POD", make=_spectral),
        "dmd": Contender(title="DMD", make=_dmd, constant=True),
        "optimised-dmd": Contender(
            title="optimised DMD", make=_variant("optimised"), constant=True
        ),
        "higher-order-dmd": Contender(
            title="higher-order DMD", make=_variant("higher order"), constant=True
        ),
        "multi-resolution-dmd": Contender(
            title="multi-resolution DMD", make=_variant("multi-resolution"), constant=True
        ),
        "linear-autoencoder": Contender(
            title="linear autoencoder", make=_autoencoder("linear"), network=True
        ),
        "dense-autoencoder": Contender(
            title="dense autoencoder", make=_autoencoder("dense"), network=True
        ),
        "convolutional-autoencoder": Contender(
            title="convolutional autoencoder", make=_autoencoder("convolutional"), network=True
        ),
        "mode-decomposing-autoencoder": Contender(
            title="mode-decomposing autoencoder",
            make=_autoencoder("mode-decomposing"),
            network=True,
        ),
        "variational-autoencoder": Contender(
            title="β-VAE", make=_autoencoder("variational"), network=True
        ),
    }
)
"""Every method that can be compared."""

DEFAULT: Sequence[str] = ("pod", "dmd", "linear-autoencoder", "dense-autoencoder")
"""Those that run on every mesh."""


def contender(name: str) -> Contender:
    """A method by its name.

    Raises:
        ValueError: there is no such method; the sentence lists them.
    """
    if name in CONTENDERS:
        return CONTENDERS[name]
    near = difflib.get_close_matches(name, CONTENDERS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ValueError(f"there is no method {name!r}; {hint}the methods are: {', '.join(CONTENDERS)}")
