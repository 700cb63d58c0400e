"""docs/facts.md, made of the schema."""

from __future__ import annotations

from typing import Any

from taprail.schemas.avro import schema_of
from taprail.schemas.facts import PolicyFacts

_HEAD = """# Facts

What a policy's condition may name, made of `schemas/policy_facts.avsc` by `taprail policy facts`. A name that isn't
here is an error when the policy is loaded. Lists are asked with CEL's macros: `"DELETE" in statement.kinds`,
`statement.relations.exists(r, r.verb == "drop" && r.schema == "hr")`, `size(statement.classes) > 0`.

"""


def document() -> str:
    parts = [_HEAD]
    for field in schema_of(PolicyFacts)["fields"]:
        parts.append(_section(field["name"], field["type"]))
    return "\n".join(parts).rstrip() + "\n"


def _section(name: str, record: dict[str, Any]) -> str:
    lines = [f"## {name}", "", record["doc"], "", "| fact | type | what it says |", "|---|---|---|"]
    below = []
    for field in record["fields"]:
        kind, inner = _kind(field["type"])
        lines.append(f"| `{name}.{field['name']}` | {kind} | {field.get('doc', '')} |")
        if inner is not None:
            below.append(_section(f"{name}.{field['name']}[]", inner))
    return "\n".join([*lines, "", *below])


def _kind(kind: Any) -> tuple[str, dict[str, Any] | None]:
    if isinstance(kind, dict) and kind["type"] == "array":
        name, inner = _kind(kind["items"])
        return (f"list of {name}", inner) if inner is None else ("list", inner)
    if isinstance(kind, dict):
        return "record", kind
    return {"string": "string", "long": "int", "boolean": "bool"}[kind], None
