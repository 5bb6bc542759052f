"""Configuration of cross-task replay."""

from typing import Literal

from pydantic import Field

from dfml.settings import Section


class ReplaySettings(Section):
    """Cross-task replay on the bank. ProtoNet has no inner loop and takes the mean over episodes."""

    mode: Literal["patience", "fixed"] = Field(
        "patience",
        description="`fixed`: `max_outer` steps; `patience`: until no improvement for `patience` steps.",
    )
    patience: int = Field(10, ge=1, description="Outer steps without improvement before replay stops (F26).")
    max_outer: int = Field(40, ge=0, description="Largest number of outer steps per iteration; 0: no replay.")
    episodes: int = Field(10, ge=1, description="Episodes per outer step.")
    recolour: bool = Field(False, description="Vary the colours of replayed images at random (ours, not FREE's).")
    domains: Literal["one", "mixed"] = Field(
        "one",
        description="In a pool of several data sets: the classes of a replay episode are all of one, as in meta-test "
        "episodes, or of any, as published (F19).",
    )
    side: Literal["native", "canvas"] = Field(
        "native",
        description="In a pool of several image sides: every image at the side of its own data set, all of a step "
        "alike, or all as large as they were recovered (F19).",
    )
    queries: int = Field(15, ge=1, description="Query images per class of a replay episode.")
    inner_steps: int = Field(5, ge=1, description="Inner steps.")
    inner_learning_rate: float = Field(0.01, gt=0, description="Inner learning rate.")
    first_order: bool = Field(False, description="Drop second derivatives (F43).")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the outer Adam.")
    reduce: Literal["sum", "mean"] = Field("mean", description="How the episodes' losses are combined (F27).")
