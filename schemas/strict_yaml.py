"""YAML without its traps, for the files that people write: base of the loaders of fleets, scenarios and rules."""

from typing import Any

import yaml

Resolvers = dict[str, list[tuple[str, Any]]]


class StrictLoader(yaml.SafeLoader):
    """Safe YAML in which a key said twice is an error, not a silent choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As PyYAML's, with an error where a key is said twice."""
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key_node.value} is said twice", key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def resolvers_without(*kinds: str) -> Resolvers:
    """PyYAML's own rules for what a plain word is, but for some kinds, as float; a copy, for all loaders share the table."""
    endings = tuple(f":{kind}" for kind in kinds)
    return {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(endings)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
