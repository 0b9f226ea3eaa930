"""Pair the configurations of a method across environments, so that a line of the overview compares like with like.

An environment has defaults of its own (tokens, steps, learning rate), so equal options are not what makes two configurations alike. The
rules, for the configurations of one method:

1. An environment where the method has one configuration takes part in no question: if that holds everywhere, they are one line.
2. Configurations are alike if they deviate from their environment's defaults in the same options, to the same values. Only options that
   differ somewhere within one environment count. So the default of one environment pairs with the default of another, and ``lr 1e-05``
   with ``lr 1e-05``.
3. Those left over pair if these options have equal values.
4. The only configuration of an environment, if it is still alone, pairs with the default configuration of the others.

What cannot be paired by these rules is a line of its own, has no IQM, and is named in a note. Nothing is chosen by score.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from espl_bench.config.choices import differing, frozen, written
from espl_bench.leaderboard.grouping import MethodRuns, TestGroup
from espl_bench.leaderboard.rows import SEPARATOR, UNKNOWN
from espl_bench.leaderboard.table import Table

_UNKNOWN = "(unknown)"


@dataclass(frozen=True, slots=True)
class Line:
    """Line of the overview: one row of some of the tests."""

    name: str
    """Of the method."""
    rows: Mapping[int, str]
    """Position of a test → label of its row."""
    label: str = ""

    def alone(self) -> bool:
        """True if it has one environment."""
        return len(self.rows) == 1


@dataclass(frozen=True, slots=True)
class Aligned:
    """Tests and tables whose rows are labelled by line, equally in all environments."""

    tests: tuple[TestGroup, ...]
    tables: tuple[Table, ...]
    called: tuple[Mapping[str, str], ...]
    """Label of a row → label of its line, one mapping per test."""
    notes: tuple[str, ...]
    """What cannot be paired."""


def align(tests: Sequence[TestGroup], tables: Sequence[Table]) -> Aligned:
    """Pair the rows of all tests, and label them by line."""
    lines = [line for name in _names(tests) for line in _labelled(_lines(name, tests), tests)]
    called = [{line.rows[place]: line.label for line in lines if place in line.rows} for place in range(len(tests))]
    renamed = (
        replace(test, methods={names[label]: method for label, method in test.methods.items()})
        for test, names in zip(tests, called, strict=True)
    )
    again = (
        replace(table, best=names[table.best], rows=tuple(replace(row, method=names[row.method]) for row in table.rows))
        for table, names in zip(tables, called, strict=True)
    )
    return Aligned(tuple(renamed), tuple(again), tuple(called), tuple(_unclear(lines, len(tests))))


def _names(tests: Sequence[TestGroup]) -> list[str]:
    return sorted({method.name for test in tests for method in test.methods.values()})


def _lines(name: str, tests: Sequence[TestGroup]) -> list[Line]:
    """Pair the configurations of one method."""
    found = [{label: method for label, method in test.methods.items() if method.name == name} for test in tests]
    if all(len(methods) < 2 for methods in found):
        return [Line(name, {place: label for place, methods in enumerate(found) for label in methods})]
    names = _at_issue(found)
    by_deviation: dict[str, dict[int, str]] = {}
    for place, methods in enumerate(found):
        for label, method in methods.items():
            by_deviation.setdefault(_signature(method, names, deviations=True), {})[place] = label  # each has its own, since they differ
    lines = [Line(name, rows) for rows in by_deviation.values()]
    lines = _joined_by_value(lines, found, names)
    return _joined_to_default(lines, found)


def _at_issue(found: Sequence[Mapping[str, MethodRuns]]) -> tuple[str, ...]:
    """Return the options that differ within an environment."""
    names = dict.fromkeys(
        name for methods in found for name in differing([each.configuration.choices for each in methods.values() if _is_known(each)])
    )
    partial = differing([each.configuration.choices for methods in found for each in methods.values() if not _is_known(each)])
    return tuple(dict.fromkeys([*names, *partial]))


def _is_known(method: MethodRuns) -> bool:
    return method.configuration.complete


def _signature(method: MethodRuns, names: Sequence[str], deviations: bool) -> str:
    """Return a key of the values of some options: of all, or of those that deviate from the environment's defaults."""
    own = method.configuration.choices
    values = method.deviations() if deviations else own
    known = {} if method.configuration.complete else {_UNKNOWN: True}
    return frozen({**known, **{name: values[name] for name in names if name in values}})


def _joined_by_value(lines: Sequence[Line], found: Sequence[Mapping[str, MethodRuns]], names: Sequence[str]) -> list[Line]:
    """Join lines of different environments whose values are all equal."""
    joined: list[Line] = []
    for line in lines:
        values = _value_keys(line, found, names)
        like = (each for each in joined if not each.rows.keys() & line.rows.keys() and _value_keys(each, found, names) == values)
        partner = next(like, None) if len(values) == 1 else None
        if partner is None:
            joined.append(line)
        else:
            joined[joined.index(partner)] = replace(partner, rows={**partner.rows, **line.rows})
    return joined


def _value_keys(line: Line, found: Sequence[Mapping[str, MethodRuns]], names: Sequence[str]) -> set[str]:
    return {_signature(found[place][label], names, deviations=False) for place, label in line.rows.items()}


def _joined_to_default(lines: Sequence[Line], found: Sequence[Mapping[str, MethodRuns]]) -> list[Line]:
    """Join the only configuration of an environment to the line that is the default of the others."""
    mains = [line for line in lines if any(found[place][label].is_default() for place, label in line.rows.items())]
    if len(mains) != 1:
        return list(lines)
    [main] = mains
    single = [line for line in lines if line is not main and line.alone() and len(found[next(iter(line.rows))]) == 1]
    rows = {place: label for line in (main, *single) for place, label in line.rows.items()}
    return [replace(main, rows=rows) if line is main else line for line in lines if line not in single]


def _labelled(lines: Sequence[Line], tests: Sequence[TestGroup]) -> list[Line]:
    """Label lines by what differs between them; one value per environment where those of a line differ."""
    if len(lines) == 1:
        return [replace(lines[0], label=lines[0].name)]
    found = [[tests[place].methods[label] for place, label in sorted(line.rows.items())] for line in lines]
    names = _at_issue([{label: method for label, method in test.methods.items() if method.name == lines[0].name} for test in tests])
    texts = [[f"{name} {_values(methods, name)}" for name in names if _values(methods, name)] for methods in found]
    ends = [[] if all(map(_is_known, methods)) else [UNKNOWN] for methods in found]
    labels = [SEPARATOR.join([line.name, *text, *end]) for line, text, end in zip(lines, texts, ends, strict=True)]
    return [
        replace(line, label=label if labels.count(label) == 1 else f"{label} ({', '.join(tests[place].env for place in line.rows)})")
        for line, label in zip(lines, labels, strict=True)
    ]


def _values(methods: Sequence[MethodRuns], name: str) -> str:
    """Write the values of an option, each once."""
    return "/".join(dict.fromkeys(written(each.configuration.choices[name]) for each in methods if name in each.configuration.choices))


def _unclear(lines: Sequence[Line], number: int) -> Iterator[str]:
    """Name methods whose configurations cannot be paired, although they have every environment."""
    for name in dict.fromkeys(line.name for line in lines):
        own = [line for line in lines if line.name == name]
        everywhere = {place for line in own for place in line.rows}
        if len(everywhere) == number and not any(len(line.rows) == number for line in own):
            listed = "; ".join(line.label for line in own)
            yield f"{name} has no IQM: it is unclear which of its configurations are alike across the environments: {listed}"


def like_pairs(test: TestGroup, a: str, b: str) -> list[tuple[str, str]]:
    """Pair the configurations of two methods of one test: those with equal values of every option that either method varies there.

    An option that only one of the two has is no difference. The default configurations come first.
    """
    rows = (test.named(a), test.named(b))
    names = [name for labels in rows for name in differing([test.methods[label].configuration.choices for label in labels])]
    found = [(x, y) for x in rows[0] for y in rows[1] if x != y and _alike(test.methods[x], test.methods[y], names)]
    return sorted(found, key=lambda pair: (not all(test.methods[label].is_default() for label in pair), pair))


def _alike(a: MethodRuns, b: MethodRuns, names: Sequence[str]) -> bool:
    ours, theirs = a.configuration.choices, b.configuration.choices
    common = [name for name in names if name in ours and name in theirs]
    return frozen({name: ours[name] for name in common}) == frozen({name: theirs[name] for name in common})
