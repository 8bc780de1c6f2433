"""YAML as GitLab reads it, with the line of every value.

`Table`, `Series`, scalars and a `Reference` for each `!reference` come out. Anchors, aliases and merge keys are
resolved here; what an alias brings in has the line where it was written. Law: no text makes this raise anything but
`PipelineError`, and none makes it use more memory than a file of `MOST_NODES` values does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from runner.pipeline.findings import PipelineError, Place, Warnings
from runner.pipeline.located import Reference, Series, Table, kind

MOST_NODES = 200_000
"""Values after aliases are followed: a file of nested aliases must not eat the memory."""

MOST_LEVELS = 100
"""Mappings and lists inside each other; GitLab's own limit."""

_TAG = "tag:yaml.org,2002:"
_BUILT = {_TAG + name for name in ("null", "bool", "int", "float")}
# A date is no type that GitLab lets in, and `=` is a leftover of YAML 1.1: both are meant as texts.
_TEXTS = {_TAG + name for name in ("str", "timestamp", "value")}
_NO_CHARACTER = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Document:
    """One file's data."""

    data: Any
    """None when there is nothing in the file."""
    header: Table | None = None
    """The `spec` before the `---`, where there is one."""


def read_yaml(text: str, *, file: str, warnings: Warnings) -> Document:
    """Read one YAML file. Raises PipelineError with file and line."""
    roots = _compose(text, file)
    documents = [_Reader(file, warnings).value(root) for root in roots]
    if len(documents) > 1 and isinstance(documents[0], Table) and set(documents[0]) <= {"spec"}:
        header = documents.pop(0)
    else:
        header = None
    if len(documents) > 1:
        line = roots[1].start_mark.line + 1
        raise PipelineError.at(Place(file, line), "a second YAML document begins: a pipeline is one.")
    return Document(documents[0] if documents else None, header)


# Nodes -----------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Composes nodes; an anchor may be given again, as in Ruby, and depth has a bound."""

    _level = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(getattr(event, "anchor", None), None)
        self._level += 1
        mark = event.start_mark
        if self._level > MOST_LEVELS:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MOST_LEVELS} mappings and lists are inside each other",
                problem_mark=mark if isinstance(mark, yaml.Mark) else None,
            )
        node = super().compose_node(parent, index)
        self._level -= 1
        return node


def _compose(text: str, file: str) -> list[yaml.Node]:
    loader = None
    try:
        loader = _Loader(text)
        nodes: list[yaml.Node] = []
        while loader.check_node():
            node = loader.get_node()
            nodes += [node] if node is not None else []
    except yaml.MarkedYAMLError as error:
        line, sentence = _explained(error)
        raise PipelineError.at(Place(file, line), f"this is no YAML: {sentence}.") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        number = ord(error.character) if isinstance(error.character, str) else int(error.character)
        raise PipelineError.at(
            Place(file, line), f"this is no YAML: the character U+{number:04X} may not stand in it."
        ) from None
    except (ValueError, OverflowError):
        # An escape such as "\UFFFFFFFF"; the library does not look.
        line = loader.line + 1 if loader else 1
        raise PipelineError.at(Place(file, line), "this is no YAML: an escape names no character.") from None
    finally:
        if loader:
            loader.dispose()
    return nodes


_AT_CONTEXT = {
    "while scanning a quoted scalar": "the quote that opens here is never closed",
    "while scanning a simple key": "this line is neither `key: value` nor part of the text above: a `:` may be missing",
    "while parsing a flow sequence": "the `[` that opens here is not closed, or a comma is missing",
    "while parsing a flow mapping": "the `{` that opens here is not closed, or a comma is missing",
}
"""Context -> sentence, where the place that counts is where the thing began."""

_AT_PROBLEM = (
    ("mapping values are not allowed", "a second `: ` stands in this line: put the text in quotes"),
    ("expected <block end>", "the indentation fits none of the lines above"),
    ("sequence entries are not allowed", "a list entry `- ` stands where none can be"),
    (r"found character '\t'", "a tab stands in the indentation: YAML takes blanks only"),
    ("found '<stream end>'", "the file ends inside of brackets"),
    ("expected the node content", "a value has to stand here"),
    ("that cannot start", "a text cannot start with this character: put it in quotes"),
    ("found unknown escape", "a `\\` in double quotes begins no known escape: write `\\\\` or use single quotes"),
)
"""Part of the problem -> sentence."""


def _explained(error: yaml.MarkedYAMLError) -> tuple[int, str]:
    """The line that is at fault and a sentence without its period."""
    problem, context = error.problem or "", error.context or ""
    if context in _AT_CONTEXT and error.context_mark:
        return error.context_mark.line + 1, _AT_CONTEXT[context]
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    undefined = re.fullmatch(r"found undefined alias '(.*)'", problem)
    if undefined:
        return line, f"`*{undefined[1]}` names an anchor that does not stand above it"
    plain = next((sentence for part, sentence in _AT_PROBLEM if part in problem), problem or context)
    return line, plain


# Values ----------------------------------------------------------------------------------------------------------


class _Reader:
    """Turns the nodes of one document into data. An alias gives the same object again: nothing is unfolded."""

    def __init__(self, file: str, warnings: Warnings) -> None:
        self._file = file
        self._warnings = warnings
        self._scalars = yaml.SafeLoader("")
        self._made: dict[int, tuple[Any, int]] = {}
        """Node -> its value, and how many values that is when it is unfolded."""
        self._open: set[int] = set()
        self._nodes = 0

    def value(self, node: yaml.Node) -> Any:
        return self._sized(node)[0]

    def _sized(self, node: yaml.Node) -> tuple[Any, int]:
        made = self._made.get(id(node))
        if made is None:
            if id(node) in self._open:
                raise self._error(node, "an anchor contains itself.")
            self._open.add(id(node))
            before, self._nodes = self._nodes, 1
            value = self._make(node)
            made = (value, self._nodes)
            self._nodes = before
            self._made[id(node)] = made
            self._open.discard(id(node))
        self._nodes += made[1]
        if self._nodes > MOST_NODES:
            raise self._error(node, f"the file's aliases unfold to more than {MOST_NODES} values.")
        return made

    def _make(self, node: yaml.Node) -> Any:
        if node.tag == "!reference":
            return self._reference(node)
        if isinstance(node, yaml.MappingNode):
            return self._table(node)
        if isinstance(node, yaml.SequenceNode):
            series = Series(self._place(node))
            for child in node.value:
                series.add(self.value(child), self._place(child))
            return series
        return self._scalar(node)

    def _table(self, node: yaml.MappingNode) -> Table:
        table = Table(self._place(node))
        own: dict[str, Place] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            if key_node.tag == f"{_TAG}merge":
                self._merge_in(table, value_node, place, own)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key has to be a word.")
            key = self._text(key_node)
            if key in own:
                self._warnings.add(place, f"`{key}` stands here again, and this one counts; see line {own[key].line}")
            own[key] = place
            table.put(key, self.value(value_node), place)
        return table

    def _merge_in(self, table: Table, node: yaml.Node, place: Place, own: Mapping[str, Place]) -> None:
        """`<<` brings in its mappings where it stands, over what stands above it, as GitLab's reader has it.

        Of a list of mappings the first wins.
        """
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in reversed(sources):
            part = self.value(source)
            if not isinstance(part, Table):
                raise PipelineError.at(place, f"`<<` takes mappings, not {kind(part)}.")
            table.take(part)
            for key in part.keys() & own.keys():
                self._warnings.add(place, f"`<<` replaces `{key}`, which stands above it: put `<<` first")

    def _reference(self, node: yaml.Node) -> Reference:
        names = node.value if isinstance(node, yaml.SequenceNode) else []
        if not names or not all(isinstance(name, yaml.ScalarNode) for name in names):
            raise self._error(node, "`!reference` takes a list of names, such as [.setup, script].")
        return Reference(tuple(self._text(name) for name in names), self._place(node))

    def _scalar(self, node: yaml.Node) -> Any:
        text = self._text(node)
        if node.tag in _TEXTS:
            return text
        if node.tag not in _BUILT:
            raise self._error(node, f"the tag `{node.tag.replace(_TAG, '!!')}` is not understood.")
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError, KeyError):
            raise self._error(node, f"`{text[:40]}` is no {node.tag.removeprefix(_TAG)}: put it in quotes.") from None

    def _text(self, node: yaml.Node) -> str:
        text = str(node.value)
        if _NO_CHARACTER.search(text):
            raise self._error(node, "a text holds an escape that is no character.")
        return text

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._file, node.start_mark.line + 1)

    def _error(self, node: yaml.Node, sentence: str) -> PipelineError:
        return PipelineError.at(self._place(node), sentence)
