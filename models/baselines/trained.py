"""What rivals with weights under names have in common."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from models.contract import Floats32, ModelError


class Weighted:
    """Weights are attributes, named in NAMES."""

    NAMES: ClassVar[tuple[str, ...]]

    def weights(self) -> dict[str, Floats32]:
        return {name: getattr(self, name) for name in self.NAMES}

    def check(self) -> None:
        """ModelError where one holds what is no number."""
        for name in self.NAMES:
            if not np.isfinite(getattr(self, name)).all():
                raise ModelError(f"weight {name} holds values that are not finite; train the model again")
