"""JSON Schemas of the files that users write, for editors that complete and check YAML while it is typed."""

import copy
import math
from typing import Any

from producers.devices.catalogue import load_catalogue
from producers.devices.fleet_spec import FleetSpec
from producers.devices.model import DeviceType

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CHANGED = "Change"
"""What the name of a definition ends in whose keys are all optional: it is laid over a complete one."""


def type_schema() -> Schema:
    """The JSON Schema of a file with device types."""
    kind = _plain(DeviceType.model_json_schema())
    definitions = kind.pop("$defs")
    del kind["properties"]["name"]
    kind["properties"]["extends"] = {
        "type": "string",
        "description": "Another type, of which this one has all that it does not say itself.",
    }
    definitions |= {f"{name}{_CHANGED}": _without_required(one) for name, one in definitions.items()}
    change = _without_required(kind)
    change["required"] = ["extends"]
    whole = {"$ref": f"#/$defs/Fault{_CHANGED}"}
    _take_vocabulary(kind["properties"], whole)
    _take_vocabulary(change["properties"], {"anyOf": [whole, {"type": "null"}]})
    kind["required"] = ["metrics"]
    del kind["properties"]["extends"]
    names = {"pattern": "^[a-z][a-z0-9_]*$"}
    types = {
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/DeviceTypeChange"},
        "else": {"$ref": "#/$defs/DeviceType"},
    }
    return {
        "$schema": _DIALECT,
        "title": "Sigmawatch device types",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "types": {"type": "object", "propertyNames": names, "additionalProperties": types},
            "faults": {
                "description": "Faults that the types of this file share.",
                "type": "object",
                "propertyNames": names,
                "additionalProperties": {"$ref": "#/$defs/Fault"},
            },
        },
        "$defs": {**definitions, "DeviceType": kind, "DeviceTypeChange": change},
    }


def fleet_schema() -> Schema:
    """The JSON Schema of a fleet file."""
    fleet = _plain(FleetSpec.model_json_schema())
    kinds = type_schema()["$defs"]
    definitions = fleet.pop("$defs")
    group, chances = definitions["Group"]["properties"], definitions["FaultChances"]["properties"]
    group["type"]["examples"] = sorted(load_catalogue().types)
    group["metrics"]["additionalProperties"] = {"$ref": f"#/$defs/Metric{_CHANGED}"}
    chances["kinds"]["additionalProperties"] = {"$ref": f"#/$defs/Fault{_CHANGED}"}
    needed = {name: one for name, one in kinds.items() if not name.startswith("DeviceType")}
    return {"$schema": _DIALECT, **fleet, "title": "Sigmawatch fleet", "$defs": {**needed, **definitions}}


def _take_vocabulary(properties: Schema, entry: Schema) -> None:
    """A type's faults: each is laid over the vocabulary's or the file's own, so none needs all of its keys."""
    faults = properties["faults"]
    faults["additionalProperties"] = entry
    faults["properties"] = {
        name: {**entry, "description": fault.get("title", "")}
        for name, fault in load_catalogue().vocabulary.items()
    }


def _without_required(schema: Schema) -> Schema:
    """A definition whose keys are all optional, down to those that it refers to, and where null takes one away."""
    changed = copy.deepcopy(schema)
    changed.pop("required", None)
    for key in ("metrics", "parameters", "states", "faults"):
        entries = changed.get("properties", {}).get(key, {}).get("additionalProperties")
        if isinstance(entries, dict) and "$ref" in entries:
            changed["properties"][key]["additionalProperties"] = {
                "anyOf": [{"$ref": f"{entries['$ref']}{_CHANGED}"}, {"type": "null"}]
            }
    return changed


def _plain(schema: Any) -> Any:
    """The schema without defaults that JSON cannot say, and with mappings in a form that can be built upon."""
    if isinstance(schema, list):
        return [_plain(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _plain(value) for key, value in schema.items()}
    default = kept.get("default")
    if isinstance(default, float) and not math.isfinite(default):
        del kept["default"]
    if isinstance(patterns := kept.get("patternProperties"), dict) and kept.get("type") == "object":
        ((pattern, entries),) = patterns.items()
        del kept["patternProperties"]
        kept |= {"propertyNames": {"pattern": pattern}, "additionalProperties": entries}
    return kept
