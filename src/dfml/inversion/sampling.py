"""Which models an iteration of an inversion asks."""

import numpy as np

from dfml.compute.seeds import numpy_rng
from dfml.inversion.settings import FiveSettings
from dfml.zoo.model import PoolModel
from dfml.zoo.pool import Pool


class ModelSampler:
    """Draws the models of each iteration; ``without`` replacement it walks through shuffled pools (F25)."""

    def __init__(
        self, pool: Pool, settings: FiveSettings, seed: int, *, hetero: str = "per_model", stream: str = "five"
    ) -> None:
        self.pool, self.settings, self.seed = pool, settings, seed
        self.hetero, self.stream = hetero, stream
        # One walk is kept: drawing it takes time in proportion to the pool.
        self._turn, self._places = -1, np.empty(0, dtype=np.int64)

    def draw(self, iteration: int) -> list[PoolModel]:
        """The models of an iteration; depends on the seed and the iteration alone."""
        count = self.settings.models_per_iteration
        if self.settings.sample == "with_replacement" or self.hetero == "shared_last":
            return self.pool.sample(count, numpy_rng(self.seed, self.stream, "models", iteration), hetero=self.hetero)
        first = iteration * count
        return [self.pool[self._walk(position)] for position in range(first, first + count)]

    def _walk(self, position: int) -> int:
        turn, place = divmod(position, len(self.pool.invertible))
        if turn != self._turn:
            self._turn, self._places = turn, self.pool.walk(numpy_rng(self.seed, self.stream, "walk", turn))
        return int(self._places[place])
