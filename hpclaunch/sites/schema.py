"""The JSON schema of a profile: the model's, with the docstring under each field.

pydantic could take the docstrings itself (``use_attribute_docstrings``), and would read the source
of every table whenever the model is imported: a fifth of what the model costs each command.
"""

from __future__ import annotations

import ast
import inspect
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hpclaunch.sites import environment, model, queues, scheduler_table
from hpclaunch.units import Memory, Walltime

__all__ = ["profile_schema"]


def profile_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a site profile; every key is described."""
    document = model.Site.model_json_schema(mode="validation")
    written = _docstrings()
    for name, table in {"Site": document, **document["$defs"]}.items():
        kind = getattr(model, name)
        families = [one.__name__ for one in kind.__mro__]
        for key, entry in table["properties"].items():
            if "default" in entry:
                entry["default"] = _as_written(kind.model_fields[key])
            entry["description"] = next(
                written[family, key] for family in families if (family, key) in written
            )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}


def _as_written(field: FieldInfo) -> Any:
    """The default of a key as a profile would have it."""
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return default.model_dump(mode="json")
    return str(default) if isinstance(default, (Memory, Walltime)) else default


def _docstrings() -> dict[tuple[str, str], str]:
    """The text below each field of the model, by class and field."""
    found = {}
    trees = [
        ast.parse(inspect.getsource(module))
        for module in (scheduler_table, environment, queues, model)
    ]
    for table in (one for tree in trees for one in tree.body):
        if not isinstance(table, ast.ClassDef):
            continue
        for field, text in zip(table.body, table.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[table.name, field.target.id] = inspect.cleandoc(str(text.value.value))
    return found
