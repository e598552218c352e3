"""What all requests share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

MAX_INTEGER: Final = 2**31 - 1

Count = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
Amount = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
# Nothing but the place of the label: format() knows widths that fill a machine's memory.
Template = Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$", max_length=1024, description="{} stands for the label.")]
Text = Annotated[str, Field(description="A text.")]


class Strict(BaseModel):
    """No value is turned into another type, and no unknown name is passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Parameters(Strict):
    """Options of a task; those left out are the bundle's own."""

    def options(self) -> dict[str, Any]:
        """What was given, by the names the runtime has for them."""
        return self.model_dump(exclude_unset=True)


class Request(Strict):
    """What every task's request has beside its inputs.

    Attributes:
        model: Name of the bundle; it can be left out where only one answers this route.
    """

    model: Annotated[
        str | None,
        Field(max_length=128, description="Name of the bundle, where several of them answer this route."),
    ] = None

    def listed(self) -> tuple[list[Any], bool]:
        """The inputs as a list, and whether there was a list."""
        inputs = self.__dict__["inputs"]
        return (inputs, True) if isinstance(inputs, list) else ([inputs], False)

    def options(self) -> Mapping[str, Any]:
        """The options that were given."""
        parameters: Parameters | None = self.__dict__.get("parameters")
        return parameters.options() if parameters is not None and parameters.model_fields_set else {}
