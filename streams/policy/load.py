"""Policies from YAML files, each checked as a whole: every error with its file, line and caret, and the nearest name.

Of YAML only what a policy needs: no anchors, no aliases, no tags, no key twice. Source: YAML 1.2.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from taprail.schemas.errors import PolicyError
from taprail.streams.policy.conditions import ConditionError, condition
from taprail.streams.policy.policy import (
    ApprovalTerms,
    Correlation,
    Defaults,
    Example,
    Policy,
    Tests,
    Times,
    Where,
    listed,
)

FILE_BYTES_MAX, FILES_MAX = 256 << 10, 2_000
DEPTH_MAX = 20
EXCERPT_CHARACTERS = 200  # a longer line isn't shown
SUFFIXES = (".yaml", ".yml")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_PLACE = re.compile(r" - at `\$([^`]*)`")
_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]")
_FIELDS = sorted(
    {
        f.encode_name
        for kind in (Policy, Where, ApprovalTerms, Tests, Defaults, Example, Correlation, Times)
        for f in msgspec.structs.fields(kind)
    }
)


class Source:
    """A file's text and its tree, so that an error can point into it."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.lines = name, text.splitlines()
        if len(text.encode()) > FILE_BYTES_MAX:
            raise PolicyError(f"is larger than {FILE_BYTES_MAX >> 10} KiB", file=name)
        try:
            _only_plain(text)
            tree = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise self.error(error.problem or "isn't YAML", line, column) from None
        except yaml.YAMLError as error:
            raise PolicyError(f"isn't YAML: {error}", file=name) from None
        if not isinstance(tree, yaml.MappingNode):
            raise PolicyError("a policy is a mapping with id, title, level, verdict and match", file=name, line=1)
        self.tree: yaml.MappingNode = tree

    def error(self, message: str, line: int, column: int, hint: str = "") -> PolicyError:
        excerpt = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        if len(excerpt) > EXCERPT_CHARACTERS:
            excerpt = ""
        return PolicyError(message, file=self.name, line=line, column=column, excerpt=excerpt, hint=hint)

    def value(self) -> Any:
        """The tree as Python has it. Raises PolicyError for a key that is there twice."""
        return self._value(self.tree)

    def _value(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            made: dict[str, Any] = {}
            for key, value in node.value:
                if key.value in made:
                    raise self.error(f"{key.value!r} is there twice", *_start(key))
                made[key.value] = self._value(value)
            return made
        if isinstance(node, yaml.SequenceNode):
            return [self._value(each) for each in node.value]
        made_scalar = yaml.SafeLoader("").construct_object(node)
        # A date is text to a policy, and so is a number that YAML would take an id or a version for.
        return made_scalar if isinstance(made_scalar, str | bool | int | None) else node.value

    def at(self, path: str) -> yaml.Node:
        """The node at msgspec's path, as `.tests.match[1]`; the nearest one above where it isn't there."""
        node: yaml.Node = self.tree
        for name, index in _STEP.findall(path):
            if name and isinstance(node, yaml.MappingNode):
                node = next((value for key, value in node.value if key.value == name), node)
            elif index and isinstance(node, yaml.SequenceNode) and int(index) < len(node.value):
                node = node.value[int(index)]
        return node

    def key(self, node: yaml.Node, name: str) -> yaml.Node:
        keys = [key for key, _ in node.value if key.value == name] if isinstance(node, yaml.MappingNode) else []
        return keys[0] if keys else node

    def inside(self, node: yaml.Node, line: int, column: int) -> tuple[int, int]:
        """Where in the file a line and column of a scalar's text are."""
        if not isinstance(node, yaml.ScalarNode):
            return _start(node)
        top, left = _start(node)
        if node.style == "|":
            body = self.lines[top : top + line]
            indent = len(self.lines[top]) - len(self.lines[top].lstrip()) if body else 0
            return top + line, indent + column
        if line == 1 and node.start_mark.line == node.end_mark.line:
            return top, left + column - 1 + (node.style in ("'", '"'))
        return top, left


def parse(name: str, text: str) -> Policy:
    """A policy of a file's text. Raises PolicyError."""
    source = Source(name, text)
    try:
        policy = msgspec.convert(source.value(), Policy)
    except msgspec.ValidationError as error:
        raise _invalid(source, str(error)) from None
    if policy.rows_per_hour is not None and policy.verdict != "deny":
        node = source.key(source.tree, "rows_per_hour")
        raise source.error(f"rows_per_hour goes with the verdict deny, not {policy.verdict}", *_start(node))
    if policy.correlation is not None:
        _check_correlation(source, policy, policy.correlation)
        return policy
    for field in ("match", "unless"):
        conditions = listed(getattr(policy, field))
        if field == "match" and not conditions:
            missing = not any(key.value == "match" for key, _ in source.tree.value)
            text = "the field 'match' is missing" if missing else "match has no condition"
            raise source.error(text, *_start(source.tree if missing else source.at(".match")))
        for index, text_ in enumerate(conditions):
            node = source.at(f".{field}" if isinstance(getattr(policy, field), str) else f".{field}[{index}]")
            try:
                condition(text_)
            except ConditionError as error:
                raise source.error(error.message, *source.inside(node, error.line, error.column), error.hint) from None
    if policy.verdict == "mask" and any(
        condition(text_).live for text_ in (*listed(policy.match), *listed(policy.unless))
    ):
        node = source.at(".match")
        raise source.error("a policy that masks can't look at now or history", *_start(node), "hold or deny instead")
    if policy.verdict != "hold" and policy.approval != ApprovalTerms():
        node = source.key(source.tree, "approval")
        raise source.error(f"approval goes with the verdict hold, not {policy.verdict}", *_start(node))
    return policy


def _check_correlation(source: Source, policy: Policy, correlation: Correlation) -> None:
    """What types can't say. Raises PolicyError."""
    if policy.verdict != "alert":
        node = source.at(".verdict")
        raise source.error("a correlation only alerts", *_start(node), "what it counts has happened already")
    for field in ("match", "unless", "where", "tests"):
        if getattr(policy, field) not in ((), Where(), Tests()):
            node = source.key(source.tree, field)
            raise source.error(f"a correlation has no {field}", *_start(node), "the policies that it names have")
    counted = correlation.condition
    node = source.at(".correlation")
    if not correlation.rules:
        raise source.error("a correlation names the rules whose matches count", *_start(node))
    if (counted is None) is not (correlation.type == "temporal"):
        hint = "`condition: {gte: 5}`" if counted is None else "every rule must have matched"
        raise source.error(f"{correlation.type} has {'no' if counted is None else 'a'} condition", *_start(node), hint)
    if counted is not None and (counted.field is None) is not (correlation.type == "event_count"):
        raise source.error("value_count, and nothing else, names a field", *_start(node), "condition: {field: …}")


def load(folder: Path) -> tuple[Policy, ...]:
    """Every policy below a folder, by id. Raises PolicyError for the first file that isn't one, and for an id twice."""
    return compose({str(path.relative_to(folder)): read(path) for path in files(folder)})


def files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise PolicyError("is no folder", file=str(folder), hint="policies are YAML files in a folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if len(found) > FILES_MAX:
        raise PolicyError(f"holds {len(found)} policies; {FILES_MAX} are the most", file=str(folder))
    return found


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"can't be read: {error}", file=str(path)) from None


def compose(texts: Mapping[str, str]) -> tuple[Policy, ...]:
    """Policies of files' names and texts, by id. Raises PolicyError."""
    found: dict[str, tuple[str, Policy]] = {}
    for name, text in texts.items():
        policy = parse(name, text)
        if policy.id in found:
            raise PolicyError(f"id {policy.id!r} is the id of {found[policy.id][0]}, too", file=name, hint="rename one")
        found[policy.id] = name, policy
    for name, policy in found.values():
        for rule in policy.correlation.rules if policy.correlation is not None else ():
            if rule not in found:
                near = difflib.get_close_matches(rule, list(found), 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else "a correlation counts policies of the same set"
                raise PolicyError(f"{policy.id} counts {rule!r}, which isn't there", file=name, hint=hint)
    return tuple(policy for _, (_, policy) in sorted(found.items()))


def _invalid(source: Source, said: str) -> PolicyError:
    place = _PLACE.search(said)
    node = source.at(place[1] if place else "")
    message = _PLACE.sub("", said)
    if unknown := _UNKNOWN.search(said):
        near = difflib.get_close_matches(unknown[1], _FIELDS, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else ""
        return source.error(f"there is no field {unknown[1]!r}", *_start(source.key(node, unknown[1])), hint)
    if missing := _MISSING.search(said):
        return source.error(f"the field {missing[1]!r} is missing", *_start(node))
    return source.error(message[0].lower() + message[1:], *_start(node))


def _start(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _only_plain(text: str) -> None:
    """Raises yaml.MarkedYAMLError for what a policy has no need of."""
    documents = depth = 0
    for event in _events(text):
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise yaml.MarkedYAMLError(problem="is nested too deeply", problem_mark=event.start_mark)
        anchored = isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None
        if anchored or documents > 1 or (getattr(event, "tag", None) or "").strip("!"):
            what = "a second document" if documents > 1 else "an anchor, an alias or a tag"
            raise yaml.MarkedYAMLError(problem=f"{what} isn't taken here", problem_mark=event.start_mark)


def _events(text: str) -> Iterable[Any]:
    return yaml.parse(text, Loader=yaml.SafeLoader)
