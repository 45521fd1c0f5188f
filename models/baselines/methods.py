"""The rivals of the LMN by name: how each is fitted, and what is taken for the covariance of its residuals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.baselines import dynamic_pca, k_means, pca
from models.contract import Bools, Floats
from models.fit import Shape, shrunk_covariance
from models.network import Network, residuals

Fit = Callable[[list[Floats], list[Bools] | None, Shape, int], Network]
Covariance = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, slots=True)
class Method:
    """`fit` makes a network of separate runs (n, d) without gaps, the cells that were measured (None: all), the shape
    and a seed; `covariance` takes the second moments of residuals, as `shrunk_covariance` does."""

    network: type[Network]
    fit: Fit
    covariance: Covariance = shrunk_covariance


@dataclass(frozen=True, slots=True)
class FittedRival:
    """A network that has been fitted, for calibration."""

    network: Network

    def residuals(self, z: Floats) -> Floats:
        return residuals(self.network, z)


METHODS: dict[str, Method] = {
    "pca": Method(pca.PrincipalComponents, pca.fit, pca.index_covariance),
    "dynamic-pca": Method(dynamic_pca.DynamicPrincipalComponents, dynamic_pca.fit),
    "k-means": Method(k_means.NearestCluster, k_means.fit),
}
