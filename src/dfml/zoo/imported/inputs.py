"""How a photo becomes what a model from elsewhere takes, as its card says. Imports no torch."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from dfml.settings import DisagreementError, Problem, Section

# What `mean` and `std` are told in, with the defaults.
_SCALES = {"channels": "rgb", "largest": 1}


def _one_for_all(value: Any) -> Any:
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


class InputCard(Section):
    """How a photo becomes what a model takes: the pixels it sees, and how they are scaled."""

    side: int = Field(ge=16, le=1024, description="Height and width of what the model sees, in pixels.")
    channels: Literal["rgb", "bgr", "grey"] = Field("rgb", description="Channels, in their order.")
    largest: Literal[1, 255] = Field(1, description="What a white pixel is before `mean` and `std`: 1 or 255.")
    mean: Annotated[tuple[float, ...], BeforeValidator(_one_for_all)] = Field(
        (0.0,), strict=False, description="Subtracted from each channel; one value for all."
    )
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(_one_for_all)] = Field(
        (1.0,), strict=False, description="What each channel is divided by then; one value for all."
    )

    @model_validator(mode="after")
    def _a_value_for_each_channel(self) -> "InputCard":
        wanted = 1 if self.channels == "grey" else 3
        for key in ("mean", "std"):
            if len(getattr(self, key)) not in (1, wanted):
                raise DisagreementError(
                    [Problem(key, f"give one value, or {wanted} for {self.channels}", ("channels",))]
                )
        if self.largest == 1 and any(abs(value) > 1 for value in self.mean):
            raise DisagreementError(
                [Problem("mean", "white is 1 and no mean is more; say `largest: 255`", ("largest",))]
            )
        if self.largest == 255 and 0 < max(map(abs, self.mean)) <= 1:
            raise DisagreementError(
                [Problem("mean", "white is 255 and these are of white as 1; say `largest: 1`", ("largest",))]
            )
        return self

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of red, green and blue, three values each, in units of [0, 1]."""
        both = []
        for values in (self.mean, self.std):
            three = [value / self.largest for value in (values * 3 if len(values) == 1 else values)]
            both.append(three[::-1] if self.channels == "bgr" else three)
        return both[0], both[1]


def with_inputs(values: Any) -> Any:
    """A card's values with each model's ``input`` laid over the zoo's, key by key.

    Raises:
        DisagreementError: a model has other channels than the zoo's, or another white, and not its own ``mean`` and
            ``std`` where the zoo has these: they would be wrong.
    """
    models = values.get("models") if isinstance(values, Mapping) else None
    common = values.get("input") if isinstance(values, Mapping) else None
    if not (isinstance(common, Mapping) and isinstance(models, list | tuple)):
        return values
    whole, problems = [], []
    for place, model in enumerate(models):
        own = model.get("input") if isinstance(model, Mapping) else None
        if not isinstance(own, Mapping):
            whole.append(model)
            continue
        other = [key for key in _SCALES if key in own and own[key] != common.get(key, _SCALES[key])]
        lacking = [key for key in ("mean", "std") if key in common and key not in own]
        if other and lacking:
            message = f"missing; with other `{other[0]}` than the zoo's it needs its own"
            problems += [Problem(f"models.{place}.input.{key}", message, ("input",)) for key in lacking]
        whole.append({**model, "input": {**common, **own}})
    if problems:
        raise DisagreementError(problems)
    return {**values, "models": whole}
