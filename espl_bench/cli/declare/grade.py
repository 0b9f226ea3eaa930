"""Declaration of `grade`. `cli/commands/grade.py` implements it and is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.shared_options import AsJson, Quiet
from espl_bench.errors import UsageError

WHAT, HOW = "Answers", "Rules"

Gold = Annotated[str | None, typer.Option("--gold", help="Correct answer.", rich_help_panel=WHAT, metavar="G", show_default=False)]
Answer = Annotated[str | None, typer.Option("--answer", help="Model's response.", rich_help_panel=WHAT, metavar="A", show_default=False)]
Jsonl = Annotated[
    Path | None, typer.Option("--jsonl", help="File of answers to grade.", rich_help_panel=WHAT, metavar="FILE", show_default=False)
]
Extract = Annotated[str, typer.Option("--extract", help="Where to find the answer; see above.", rich_help_panel=HOW, metavar="WHERE")]
MatchTypes = Annotated[
    str | None,
    typer.Option(
        "--match-types",
        help="Search the whole text for these types: latex, expr, string.",
        rich_help_panel=HOW,
        metavar="A,B,…",
        show_default=False,
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict/--no-strict", help="Distinguish variable names, and sets from tuples.", rich_help_panel=HOW)
]
SetRelations = Annotated[
    bool,
    typer.Option("--set-relations/--no-set-relations", help="Accept an inequality as the answer for a set.", rich_help_panel=HOW),
]
Precision = Annotated[
    int | None,
    typer.Option("--precision", help="Decimal places to compare. Default: 6.", rich_help_panel=HOW, metavar="N", min=0, show_default=False),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        help="Seconds per answer; a fifteenth of it limits CPU time. Default: 15.",
        rich_help_panel=HOW,
        metavar="S",
        show_default=False,
    ),
]
Memory = Annotated[
    int | None,
    typer.Option("--memory", help="MiB per answer. Default: 256.", rich_help_panel=HOW, metavar="MIB", min=1, show_default=False),
]


def grade(
    *,
    gold: Gold = None,
    answer: Answer = None,
    jsonl: Jsonl = None,
    extract: Extract = "auto",
    match_types: MatchTypes = None,
    strict: Strict = True,
    set_relations: SetRelations = True,
    precision: Precision = None,
    timeout: Timeout = None,
    memory: Memory = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Grade answers: explain one verdict (--gold, --answer) or grade a file (--jsonl).

    A file has one JSON object per line, with [bold]id[/], [bold]gold[/] and [bold]answer[/] (or
    prediction). With --json, one line is printed per answer, with id, outcome, how both
    sides were read and why, and the counts go to stderr. A line may have [bold]options[/], an object with any of
    match_types, precision, numeric_precision, strict,
    allow_set_relation_comp.

    Where to find the answer (--extract):

    [bold]none[/]: the whole text is the answer.

    [bold]boxed[/]: in the last box; an unclosed box is not an answer.

    [bold]answer_line[/]: after the last "Answer:" at the start of a line.

    [bold]boxed_or_answer_line[/]: boxed if there is a box, else answer_line.

    [bold]anywhere[/]: wherever math-verify finds one.

    [bold]auto[/]: boxed if there is a box, else answer_line if there is one, else
    none. A mathematics environment is stricter, boxed, unless its option
    extraction says otherwise; what was taken without a box is marked.

    All except none remove thinking first. If a line's options have
    match_types, its whole text is searched whatever --extract says.
    """
    from espl_bench.cli.commands import grade as command

    asked = command.configure(
        extract,
        match_types,
        strict=strict,
        allow_set_relation_comp=set_relations,
        float_rounding=precision,
        timeout_s=timeout,
        memory_mib=memory,
    )
    if jsonl is not None and gold is None and answer is None:
        command.grade_file(jsonl, asked, as_json, quiet)
    elif gold is not None and answer is not None and jsonl is None:
        command.explain_one(gold, answer, asked, as_json)
    else:
        raise UsageError("give either --gold and --answer, or --jsonl")
