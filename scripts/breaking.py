"""Tells what breaks callers between two OpenAPI documents: `python scripts/breaking.py OLD NEW`, 1 when anything does.

What old callers send has to be valid still, and what they are sent has to be what they know: the first is a question of
old values in new schemas, the second of new values in old ones. docs/decisions/0007-breaking-changes.md
"""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Node = dict[str, Any]
# What a schema says besides which values are valid.
REMARKS = frozenset({"title", "description", "examples", "example", "default"})
AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems")
AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
SAME = ("pattern", "format")
KNOWN = REMARKS | {*AT_LEAST, *AT_MOST, *SAME} | {"$ref", "type", "enum", "const", "anyOf"}
KNOWN |= {"items", "properties", "required", "additionalProperties"}
TYPES: Mapping[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}


class UnknownKeyword(ValueError):
    """A schema uses a keyword that this checker does not judge; teach it."""


@dataclass(frozen=True)
class Side:
    """A schema, and the document that its references lead into."""

    document: Node
    node: Node

    def at(self, node: Node) -> "Side":
        """Another schema of the same document, its reference followed."""
        while "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        if surplus := set(node) - KNOWN:
            raise UnknownKeyword(f"the checker does not judge {sorted(surplus)}")
        return Side(self.document, node)

    def options(self) -> list["Side"]:
        """The alternatives of a union, or the schema alone."""
        if "anyOf" not in self.node:
            return [self]
        if surplus := set(self.node) - REMARKS - {"anyOf"}:
            raise UnknownKeyword(f"the checker does not judge anyOf together with {sorted(surplus)}")
        return [option for each in self.node["anyOf"] for option in self.at(each).options()]

    @property
    def values(self) -> set[Any] | None:
        """The values that are listed; None where any of the type will do."""
        listed = self.node.get("enum", [self.node["const"]] if "const" in self.node else None)
        return None if listed is None else set(listed)


class Schemas:
    """Compares schemas of an old and a new document.

    Args:
        is_request: Whether callers send the values; otherwise they are sent them.
    """

    def __init__(self, *, is_request: bool) -> None:
        self._is_request = is_request
        # Under way, for a schema may refer to itself.
        self._under_way: set[tuple[int, int]] = set()

    def compare(self, old: Side, new: Side, where: str) -> Iterator[str]:
        """Say what breaks."""
        yield from self._fit(*((old, new) if self._is_request else (new, old)), where)

    def _told(self, inner: Any, outer: Any) -> str:
        old, new = (inner, outer) if self._is_request else (outer, inner)
        return f"was {_shown(old)}, is {_shown(new)}"

    def _fit(self, inner: Side, outer: Side, where: str) -> Iterator[str]:
        """Say which values of the inner schema are not valid for the outer one."""
        inner, outer = inner.at(inner.node), outer.at(outer.node)
        pair = (id(inner.node), id(outer.node))
        if pair in self._under_way:
            return
        self._under_way.add(pair)
        for option in inner.options():
            found = [list(self._fit_one(option, each, where)) for each in outer.options()]
            if all(found):
                yield from min(found, key=len)
        self._under_way.discard(pair)

    def _fit_one(self, inner: Side, outer: Side, where: str) -> Iterator[str]:
        if outer.values is not None or inner.values is not None:
            yield from self._fit_values(inner, outer, where)
            return
        mine, theirs = inner.node.get("type"), outer.node.get("type")
        if theirs not in (None, mine) and (mine, theirs) != ("integer", "number"):
            yield f"{where}: type {self._told(mine, theirs)}"
            return
        for keywords, sign in ((AT_LEAST, 1), (AT_MOST, -1)):
            for keyword in keywords:
                limits = [side.node.get(keyword, -sign * math.inf) * sign for side in (inner, outer)]
                if limits[0] < limits[1]:
                    yield f"{where}: {keyword} {self._told(inner.node.get(keyword), outer.node.get(keyword))}"
        for keyword in SAME:
            if outer.node.get(keyword) not in (None, inner.node.get(keyword)):
                yield f"{where}: {keyword} {self._told(inner.node.get(keyword), outer.node[keyword])}"
        if "items" in outer.node:
            items = (inner.at(inner.node.get("items", {})), outer.at(outer.node["items"]))
            yield from self._fit(*items, f"{where}[]")
        yield from self._fit_object(inner, outer, where)

    def _fit_values(self, inner: Side, outer: Side, where: str) -> Iterator[str]:
        mine, theirs = inner.values, outer.values
        if theirs is None:
            kinds = {TYPES[type(value)] for value in mine or ()}
            if outer.node.get("type") not in (None, *kinds):
                yield f"{where}: type {self._told(sorted(kinds), outer.node['type'])}"
        elif mine is None or mine - theirs:
            yield f"{where}: values {self._told(mine, theirs)}"

    def _fit_object(self, inner: Side, outer: Side, where: str) -> Iterator[str]:
        mine, theirs = inner.node.get("properties", {}), outer.node.get("properties", {})
        old, new = (mine, theirs) if self._is_request else (theirs, mine)
        for name in sorted(old.keys() - new.keys()):
            yield f"{where}.{name}: removed"
        for name in sorted(set(outer.node.get("required", ())) - set(inner.node.get("required", ()))):
            if self._is_request or name in new:
                yield f"{where}.{name}: " + ("is required now" if self._is_request else "is not always there any more")
        is_closed = outer.node.get("additionalProperties") is False
        if is_closed and inner.node.get("additionalProperties") is not False:
            yield f"{where}: additionalProperties {self._told('open', 'closed')}"
        for name in sorted(mine.keys() & theirs.keys()):
            yield from self._fit(inner.at(mine[name]), outer.at(theirs[name]), f"{where}.{name}")


def _shown(value: object) -> str:
    return ", ".join(sorted(map(str, value))) if isinstance(value, set) else str(value)


def find_breaks(old: Node, new: Node) -> list[str]:
    """Say in one line each what an old caller, or a client generated from the old document, trips over."""
    found: list[str] = []
    for path, methods in old["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            now = new["paths"].get(path, {}).get(method)
            if now is None:
                found.append(f"{name}: removed")
            else:
                found += _compare_operations(Side(old, operation), Side(new, now), name)
    return found


def _compare_operations(old: Side, new: Side, name: str) -> Iterator[str]:
    for word in ("operationId", "tags"):
        # Generated clients name their functions and modules by these.
        if old.node.get(word) != new.node.get(word):
            yield f"{name}: {word} was {old.node.get(word)}, is {new.node.get(word)}"
    doors = new.node.get("security", new.document.get("security", [{}]))
    for key in old.node.get("security", old.document.get("security", [])) or [{}]:
        if not any(door.keys() <= key.keys() for door in doors or [{}]):
            yield f"{name}: security no longer takes {sorted(key) or 'requests without a key'}"
    yield from _compare_parameters(old, new, name)
    yield from _compare_bodies(old, new, name)
    for status, answer in old.node["responses"].items():
        now = new.node["responses"].get(status)
        if now is not None:
            yield from _compare_answers(Side(old.document, answer), Side(new.document, now), f"{name} {status}")
        elif status.startswith("2"):
            yield f"{name} {status}: removed"


def _compare_parameters(old: Side, new: Side, name: str) -> Iterator[str]:
    before, now = (
        {(each["in"], each["name"]): each for each in side.node.get("parameters", ())} for side in (old, new)
    )
    for key, parameter in now.items():
        if parameter.get("required") and not before.get(key, {}).get("required"):
            yield f"{name} {key[1]}: is required now"
    for key, parameter in before.items():
        if key not in now:
            yield f"{name} {key[1]}: removed"
            continue
        sides = (Side(old.document, parameter["schema"]), Side(new.document, now[key]["schema"]))
        yield from Schemas(is_request=True).compare(*sides, f"{name} {key[1]}")


def _compare_bodies(old: Side, new: Side, name: str) -> Iterator[str]:
    before, now = old.node.get("requestBody", {}), new.node.get("requestBody", {})
    if now.get("required") and not before.get("required"):
        yield f"{name} body: is required now"
    contents = (Side(old.document, before.get("content", {})), Side(new.document, now.get("content", {})))
    yield from _compare_contents(*contents, f"{name} body", is_request=True)


def _compare_answers(old: Side, new: Side, name: str) -> Iterator[str]:
    headers = new.node.get("headers", {})
    yield from (f"{name} {header}: removed" for header in old.node.get("headers", {}) if header not in headers)
    before, now = old.node.get("content", {}), new.node.get("content", {})
    contents = (Side(old.document, before), Side(new.document, now))
    yield from _compare_contents(*contents, name, is_request=False)


def _compare_contents(old: Side, new: Side, name: str, *, is_request: bool) -> Iterator[str]:
    for media_type, described in old.node.items():
        if media_type not in new.node:
            yield f"{name} {media_type}: removed"
            continue
        sides = (Side(old.document, described["schema"]), Side(new.document, new.node[media_type]["schema"]))
        yield from Schemas(is_request=is_request).compare(*sides, f"{name} {media_type} ")


def main(names: Iterable[str]) -> int:
    """Compare two files; return the exit code."""
    old, new = (json.loads(Path(name).read_text(encoding="utf-8")) for name in names)
    found = find_breaks(old, new)
    sys.stderr.writelines(f"{each}\n" for each in found)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:3]))
