"""Parts of a file that most files do not have: their models are imported when a file has them.

Each model that is made costs start-up time, whether a file uses it or not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler, create_model
from pydantic_core import core_schema

from bptrace.spec.base import Strict, refuse_all
from bptrace.spec.translate import Refused, validate

__all__ = ["OnDemand"]


@dataclass(frozen=True, eq=False)
class OnDemand:
    """Annotation of a field whose type is at "module:name": `Annotated[Clip, OnDemand("bptrace.x:Clip")] | None`.

    For pydantic the type is written as `Any` where types are not checked.
    """

    place: str

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        from pydantic import TypeAdapter

        _holder(self.place).model_rebuild()
        # a handler looks at the inner schemas of what it is given with all that they say of themselves
        return handler(core_schema.union_schema([TypeAdapter(_type_at(self.place)).core_schema]))

    def _checked(self, value: object) -> Any:
        """The value as its type makes it, refused in the same words as if it stood in the model itself."""
        try:
            return vars(validate(_holder(self.place), {"part": value}))["part"]
        except Refused as error:
            raise refuse_all([replace(complaint, path=complaint.path[1:]) for complaint in error.complaints]) from None


def _type_at(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


@cache
def _holder(place: str) -> type[BaseModel]:
    """A model that has nothing but this part."""
    return create_model("Holder", __base__=Strict, part=(_type_at(place), ...))
