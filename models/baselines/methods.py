"""The rivals of the LMN, and the LMN by gradient, by name: how each is fitted, and what is taken for the covariance of
its residuals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from models.baselines import attention, convolution, dynamic_pca, external_memory, k_means, pca, recurrent
from models.contract import Bools, Floats
from models.fit import Shape, shrunk_covariance
from models.network import Network, Remembered, residuals, without_torch

Fit = Callable[[list[Floats], list[Bools] | None, Shape, int], Network]
Covariance = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, slots=True)
class Method:
    """`fit` makes a network of separate runs (n, d) without gaps, the cells that were measured (None: all), the shape
    and a seed, with `torch` or without; `covariance` takes the second moments of residuals, as `shrunk_covariance`
    does."""

    network: type[Network]
    fit: Fit
    covariance: Covariance = shrunk_covariance
    torch: bool = False
    draws: bool = False  # at random, in its fit


@dataclass(frozen=True, slots=True)
class FittedRival:
    """A network that has been fitted, for calibration."""

    network: Network

    def residuals(self, z: Floats) -> Floats:
        return residuals(self.network, z)


def _fit_recurrent(
    kind: type[recurrent.Recurrent], runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int
) -> Network:
    from models.baselines import recurrent_training

    return recurrent_training.fit(kind, runs, seen, shape, seed)


def _fit_gradient(runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int) -> Network:
    try:
        from models import gradient_fit
    except ImportError:
        raise without_torch(GRADIENT) from None
    return gradient_fit.fit(runs, seen, shape, seed)


def _fit_sequences(
    how: str, kind: type[Network], runs: list[Floats], seen: list[Bools] | None, shape: Shape, seed: int
) -> Network:
    try:
        from models.baselines import sequence_training
    except ImportError:
        raise without_torch(kind.KIND) from None
    fit: Fit = getattr(sequence_training, how)
    return fit(runs, seen, shape, seed)


SEQUENCES: tuple[tuple[type[Network], str], ...] = (
    (convolution.ConvolutionalAutoencoder, "fit_autoencoder"),
    (attention.CausalAttention, "fit_attention"),
    (external_memory.ExternalMemory, "fit_external_memory"),
)
GRADIENT = "lmn-gradient"  # the LMN itself, trained another way: saved and served as the closed form is
RECURRENT = (recurrent.SimpleRecurrent, recurrent.GatedRecurrent, recurrent.LongShortTerm)
METHODS: dict[str, Method] = {
    "pca": Method(pca.PrincipalComponents, pca.fit, pca.index_covariance),
    "dynamic-pca": Method(dynamic_pca.DynamicPrincipalComponents, dynamic_pca.fit),
    "k-means": Method(k_means.NearestCluster, k_means.fit, draws=True),
    **{kind.KIND: Method(kind, partial(_fit_recurrent, kind), torch=True, draws=True) for kind in RECURRENT},
    **{kind.KIND: Method(kind, partial(_fit_sequences, how, kind), torch=True, draws=True) for kind, how in SEQUENCES},
    GRADIENT: Method(Remembered, _fit_gradient, torch=True, draws=True),
}
RIVAL_KINDS = tuple(name for name, method in METHODS.items() if method.network is not Remembered)
