"""Settings of what several methods do with episodes: their form, the inner loop, cross-task replay."""

from typing import Literal, TypeVar

from pydantic import Field

from dfml.settings import Section

SomeSection = TypeVar("SomeSection", bound=Section)


class EpisodeSettings(Section):
    """What an episode of recovered images is."""

    queries: int = Field(15, ge=1, description="Query images per class of an episode.")
    recolour: bool = Field(
        False,
        description="Vary the colours of an episode's images at random (ours), if `recolour` of all data sets and "
        "imported zoos of the pool lets it.",
    )
    domains: Literal["one", "mixed"] = Field(
        "one",
        description="In a pool of several data sets: the classes of an episode are all of one, as in meta-test "
        "episodes, or of any, as published (F19).",
    )
    side: Literal["native", "canvas"] = Field(
        "native",
        description="In a pool of several image sides: every image at the side of its own data set, all of a step "
        "alike, or all as large as they were recovered (F19).",
    )


def in_their_colours(section: SomeSection) -> SomeSection:
    """The section, and those below it, with `recolour` of episodes switched off."""
    changes: dict[str, object] = {key: in_their_colours(value) for key, value in section if isinstance(value, Section)}
    if isinstance(section, EpisodeSettings):
        changes["recolour"] = False
    return section.model_copy(update=changes)


class InnerLoopSettings(Section):
    """How a learner adapts to an episode in training. ProtoNet has no inner loop."""

    inner_steps: int = Field(5, ge=1, description="Inner steps.")
    inner_learning_rate: float = Field(0.01, gt=0, description="Inner learning rate.")
    first_order: bool = Field(False, description="Drop second derivatives (F43).")


class AveragingSettings(Section):
    """What of a learner's weights is kept."""

    averaging: float | None = Field(
        None,
        ge=0,
        description="Keep, in place of the learner's weights, their running average over the steps of Adam, in which a "
        "step counts as its number to this power. Null: the weights themselves, as published.",
    )


class OuterAdamSettings(AveragingSettings):
    """How a learner's weights move in its outer steps."""

    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the outer Adam.")


class OuterStepSettings(InnerLoopSettings, OuterAdamSettings):
    """A step of the learner on a batch of episodes. ProtoNet takes the mean over episodes."""

    episodes: int = Field(10, ge=1, description="Episodes per outer step.")
    reduce: Literal["sum", "mean"] = Field("mean", description="How the episodes' losses are combined (F27).")


class BankReplaySettings(InnerLoopSettings, EpisodeSettings):
    """Episodes drawn from the bank, and the adaptation to them."""

    @property
    def replays(self) -> bool:
        """Whether any episode is drawn at all."""
        return True


class ReplaySettings(BankReplaySettings, OuterStepSettings):
    """Cross-task replay on the bank. ProtoNet has no inner loop and takes the mean over episodes."""

    mode: Literal["patience", "fixed"] = Field(
        "patience",
        description="`fixed`: `max_outer` steps; `patience`: until no improvement for `patience` steps.",
    )
    patience: int = Field(10, ge=1, description="Outer steps without improvement before replay stops (F26).")
    max_outer: int = Field(40, ge=0, description="Largest number of outer steps per iteration; 0: no replay.")

    @property
    def replays(self) -> bool:
        """Whether any episode is drawn at all."""
        return self.max_outer > 0


Start = Literal["random", "zero_head", "best_model"]
"""The meta-learner at first: random weights, the same with a head of zeros, or the pool's best model with one."""
