"""Settings of how jobs run."""

from pydantic import Field

from dfml.settings import Section


class RuntimeSettings(Section):
    """How jobs run."""

    checkpoint_every: int = Field(
        20,
        ge=1,
        description="Iterations between resume points of a long job, or a minute if that is less; changes no result.",
    )
    tf32: bool = Field(
        True,
        description="On a GPU, round the inputs of convolutions and matrix products to 10 bits of mantissa (TF32): "
        "faster, with other results than in float32. A change makes no finished job run again.",
    )
    models_per_job: int | None = Field(
        None,
        ge=1,
        description="Models of a zoo that one job trains: a larger zoo is trained by several jobs, which a cluster "
        "runs side by side, and put together by another (docs/running.md). null: one job trains it. The zoo is the "
        "same to the bit; after a change of this key it is made again.",
    )
