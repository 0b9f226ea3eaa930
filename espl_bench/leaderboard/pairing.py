"""Pair the configurations of a method across environments, so that a line of the overview compares like with like.

An environment has defaults of its own (tokens, steps, learning rate), so equal options are not what makes two configurations alike. The
rules, for the configurations of one method:

1. An environment where the method has one configuration takes part in no question: if that holds everywhere, they are one line.
2. Configurations are alike if they deviate from their environment's defaults in the same options, to the same values. Only options that
   differ somewhere within one environment count. So the default of one environment pairs with the default of another, and ``lr 1e-05``
   with ``lr 1e-05``.
3. Those left over pair if these options have equal values.
4. The only configuration of an environment, if it is still alone, pairs with the configuration of the others that has these options at
   their defaults, or else at those of the paper's preset.

What cannot be paired by these rules is a line of its own, has no IQM, and is named in a note. Nothing is chosen by score.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from espl_bench.config.choices import differing, frozen, written
from espl_bench.leaderboard.grouping import PREFERRED, MethodRuns, TestGroup
from espl_bench.leaderboard.rows import SEPARATOR, UNKNOWN
from espl_bench.leaderboard.table import Table

Variants = Sequence[Mapping[str, MethodRuns]]
"""Configurations of one method: label → runs, for each test."""


@dataclass(frozen=True, slots=True)
class Line:
    """Line of the overview: one row of some of the tests."""

    name: str
    """Of the method."""
    rows: Mapping[int, str]
    """Position of a test → label of its row."""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Aligned:
    """Tests and tables whose rows are labelled by line, equally in all environments."""

    tests: tuple[TestGroup, ...]
    tables: tuple[Table, ...]
    line_labels: tuple[Mapping[str, str], ...]
    """Label of a row → label of its line, one mapping per test."""
    notes: tuple[str, ...]
    """What cannot be paired."""


def align(tests: Sequence[TestGroup], tables: Sequence[Table]) -> Aligned:
    """Pair the rows of all tests, and label them by line."""
    names = sorted({method.name for test in tests for method in test.methods.values()})
    lines = [line for name in names for line in _lines(name, tests)]
    line_labels = [{line.rows[index]: line.label for line in lines if index in line.rows} for index in range(len(tests))]
    return Aligned(
        tests=tuple(
            replace(test, methods={labels[row]: method for row, method in test.methods.items()})
            for test, labels in zip(tests, line_labels, strict=True)
        ),
        tables=tuple(
            replace(table, best=labels[table.best], rows=tuple(replace(row, method=labels[row.method]) for row in table.rows))
            for table, labels in zip(tables, line_labels, strict=True)
        ),
        line_labels=tuple(line_labels),
        notes=tuple(_unclear(lines, len(tests))),
    )


def _lines(name: str, tests: Sequence[TestGroup]) -> list[Line]:
    """Pair the configurations of one method, and label the lines."""
    variants = [{label: method for label, method in test.methods.items() if method.name == name} for test in tests]
    if all(len(methods) < 2 for methods in variants):
        return [Line(name, {index: label for index, methods in enumerate(variants) for label in methods}, label=name)]
    options = _at_issue(variants)
    lines = _joined_to_default(_joined_by_value(_alike_in_deviations(name, variants, options), variants, options), variants, options)
    return _labelled(lines, variants, options, [test.env for test in tests])


def _at_issue(variants: Variants) -> tuple[str, ...]:
    """Return the options that differ within an environment."""
    known = [[method.configuration.choices for method in methods.values() if method.configuration.complete] for methods in variants]
    partial = [method.configuration.choices for methods in variants for method in methods.values() if not method.configuration.complete]
    return tuple(dict.fromkeys([*(option for choices in known for option in differing(choices)), *differing(partial)]))


def _alike_in_deviations(name: str, variants: Variants, options: Sequence[str]) -> list[Line]:
    """Join the configurations that deviate from their environments' defaults alike; those of one environment differ, so none is lost."""
    rows: dict[str, dict[int, str]] = {}
    for index, methods in enumerate(variants):
        for label, method in methods.items():
            rows.setdefault(_key(method, method.deviations(), options), {})[index] = label
    return [Line(name, of_line) for of_line in rows.values()]


def _joined_by_value(lines: Sequence[Line], variants: Variants, options: Sequence[str]) -> list[Line]:
    """Join lines of different environments whose values are all equal."""

    def values(line: Line) -> set[str]:
        methods = [variants[index][label] for index, label in line.rows.items()]
        return {_key(method, method.configuration.choices, options) for method in methods}

    joined: list[Line] = []
    for line in lines:
        partners = (other for other in joined if not other.rows.keys() & line.rows.keys() and values(other) == values(line))
        partner = next(partners, None) if len(values(line)) == 1 else None
        if partner is None:
            joined.append(line)
        else:
            joined[joined.index(partner)] = replace(partner, rows={**partner.rows, **line.rows})
    return joined


def _joined_to_default(lines: Sequence[Line], variants: Variants, options: Sequence[str]) -> list[Line]:
    """Join the only configuration of an environment to the line that has the options at the others' defaults, or the paper's."""
    for preset in PREFERRED:
        of_preset = [
            line for line in lines if any(variants[index][label].is_default(options, preset) for index, label in line.rows.items())
        ]
        if len(of_preset) == 1:
            [main] = of_preset
            single = [line for line in lines if line is not main and all(len(variants[index]) == 1 for index in line.rows)]
            rows = {index: label for line in (main, *single) for index, label in line.rows.items()}
            return [replace(main, rows=rows) if line is main else line for line in lines if line not in single]
    return list(lines)


def _key(method: MethodRuns, values: Mapping[str, object], options: Sequence[str]) -> str:
    """Return a key of the values of some options."""
    unknown = {} if method.configuration.complete else {UNKNOWN: True}
    return frozen({**unknown, **{option: values[option] for option in options if option in values}})


def _labelled(lines: Sequence[Line], variants: Variants, options: Sequence[str], environments: Sequence[str]) -> list[Line]:
    """Label lines by what differs between them; by one value per environment where those of a line differ."""
    if len(lines) == 1:
        return [replace(lines[0], label=lines[0].name)]
    labels = [_label(line, [variants[index][label] for index, label in sorted(line.rows.items())], options) for line in lines]
    return [
        replace(line, label=label if labels.count(label) == 1 else f"{label} ({', '.join(environments[index] for index in line.rows)})")
        for line, label in zip(lines, labels, strict=True)
    ]


def _label(line: Line, methods: Sequence[MethodRuns], options: Sequence[str]) -> str:
    parts = [line.name]
    for option in options:
        values = dict.fromkeys(
            written(method.configuration.choices[option]) for method in methods if option in method.configuration.choices
        )
        parts += [f"{option} {'/'.join(values)}"] if values else []
    unknown = any(not method.configuration.complete for method in methods)
    return SEPARATOR.join([*parts, UNKNOWN] if unknown else parts)


def _unclear(lines: Sequence[Line], number: int) -> Iterator[str]:
    """Name methods whose configurations cannot be paired, although they have every environment."""
    for name in dict.fromkeys(line.name for line in lines):
        of_method = [line for line in lines if line.name == name]
        covered = {index for line in of_method for index in line.rows}
        if len(covered) == number and not any(len(line.rows) == number for line in of_method):
            listed = "; ".join(line.label for line in of_method)
            yield f"{name} has no IQM: it is unclear which of its configurations are alike across the environments: {listed}"


def like_pairs(test: TestGroup, a: str, b: str) -> list[tuple[str, str]]:
    """Pair the configurations of two methods of one test: those with equal values of every option that either method varies there.

    An option that only one of the two has is no difference. The default configurations come first.
    """
    rows = (test.named(a), test.named(b))
    options = [option for labels in rows for option in differing([test.methods[label].configuration.choices for label in labels])]
    pairs = [(x, y) for x in rows[0] for y in rows[1] if x != y and _alike(test.methods[x], test.methods[y], options)]
    return sorted(pairs, key=lambda pair: (not all(test.methods[label].is_default(options) for label in pair), pair))


def _alike(a: MethodRuns, b: MethodRuns, options: Sequence[str]) -> bool:
    ours, theirs = a.configuration.choices, b.configuration.choices
    return all(ours[option] == theirs[option] for option in options if option in ours and option in theirs)
