"""The published JSON Schema of ``cluster.yaml``: for editors' completion and checks, made from the models.

It describes Ansible's structure with ``qnext`` wherever variables may stand. As ``qnext`` is merged over groups and
hosts, no key of it is required in any one place; that the merged whole is complete is for ``load`` to judge.
"""

from __future__ import annotations

from typing import Any

from provision.inventory import ansible_vars
from provision.inventory.model import Settings

_DEFINITIONS = "#/$defs/"


def inventory_schema() -> dict[str, Any]:
    """The schema, draft 2020-12, as plain data."""
    settings = Settings.model_json_schema(ref_template=_DEFINITIONS + "{model}")
    definitions = settings.pop("$defs", {}) | {"Qnext": settings}
    for definition in definitions.values():
        _merge_in_parts(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cluster.yaml of qnext-provision: an Ansible inventory with one more variable, qnext",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"$ref": _DEFINITIONS + "Group"},
        "$defs": definitions | _structure(),
    }


def _merge_in_parts(definition: dict[str, Any]) -> None:
    """A mapping that other levels complete, and whose texts may be templates until they are evaluated."""
    definition.pop("required", None)
    properties = definition.get("properties", {})
    for name, schema in properties.items():
        properties[name] = _or_template(schema)


def _or_template(schema: dict[str, Any]) -> dict[str, Any]:
    about = {key: schema[key] for key in ("description", "default") if key in schema}
    bare = {key: value for key, value in schema.items() if key not in (*about, "title")}
    branches = bare["anyOf"] if bare.keys() == {"anyOf"} else [bare]
    return about | {"anyOf": [*branches, {"$ref": _DEFINITIONS + "Template"}]}


def _structure() -> dict[str, Any]:
    nothing = {"type": "null"}
    variables = {"$ref": _DEFINITIONS + "Variables"}
    group = {"anyOf": [{"$ref": _DEFINITIONS + "Group"}, nothing]}
    return {
        "Template": {
            "type": "string",
            "pattern": r"\{[{%]",
            "description": "evaluated with the variables of each host",
        },
        "Secret": _secret(),
        "Variables": {"type": "object", "properties": _variables()},
        "Group": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {
                "hosts": _section(
                    {"anyOf": [variables, nothing]},
                    "hosts by name, or by range: node[01:16]; each with its own variables",
                ),
                "children": _section(group, "groups below this one"),
                "vars": {"anyOf": [variables, nothing], "description": "variables of all hosts of the group"},
            },
        },
    }


def _section(of: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": ["object", "string", "null"], "additionalProperties": of, "description": description}


def _variables() -> dict[str, Any]:
    text: dict[str, Any] = {"type": ["string", "null"]}
    boolean: dict[str, Any] = {"type": ["boolean", "string", "null"]}
    port: dict[str, Any] = {"type": ["integer", "string", "null"]}
    secret: dict[str, Any] = {"anyOf": [{"$ref": _DEFINITIONS + "Secret"}, {"type": ["integer", "null"]}]}
    kinds = dict.fromkeys(ansible_vars.KNOWN, text)
    kinds |= dict.fromkeys(ansible_vars.BOOLEANS, boolean)
    kinds |= dict.fromkeys(ansible_vars.SECRET_VARIABLES, secret)
    kinds |= dict.fromkeys(ansible_vars.PORT, port) | dict.fromkeys(ansible_vars.TIMEOUT, port)
    qnext = {"anyOf": [{"$ref": _DEFINITIONS + "Qnext"}, {"type": "null"}]}
    return {"qnext": qnext} | {name: kinds[name] for name in sorted(kinds)}


def _secret() -> dict[str, Any]:
    """As ``Secret`` describes itself."""
    return dict(Settings.model_json_schema()["$defs"]["Serve"]["properties"]["api_key"]["anyOf"][0])
