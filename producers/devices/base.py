"""What all files about devices have in common: strict models, names, lists of one."""

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    WithJsonSchema,
)

NAME_PATTERN = r"^[a-z][a-z0-9_]*$"


def _check_name(name: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name) or len(name) > 100:
        raise ValueError("expected a name: small letters, digits and underscores")
    return name


def one_or_many(value: Any) -> Any:
    """A text alone counts as a list of one."""
    return (value,) if isinstance(value, str) else value


Name = Annotated[
    str, AfterValidator(_check_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})
]
Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Model(BaseModel):
    """Strict and frozen: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
