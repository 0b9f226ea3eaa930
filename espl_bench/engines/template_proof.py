"""Prove a chat template at opening: it shows what a run puts into it, and ends a turn with an id that ends a completion.

A template that drops the system message would let a method evolve words that the model never sees; one that loses the question, because it
expects content in parts, would let it guess; one whose turns end with another token than those that end a completion would let every
completion run on to its limit. Each of these is one line, with the remedy that there is.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from espl_bench.engines.thinking import common_start
from espl_bench.errors import ModelError
from espl_bench.tools.calls import read_calls
from espl_bench.tools.tool_spec import ToolSpec
from espl_bench.types import Message, ToolCall
from espl_bench.utils.reasoning import strip_reasoning

Render = Callable[[Sequence[Message], bool], str]
"""Renders messages; the second argument: whether the assistant speaks next."""

SYSTEM, ASKED, SAID, REPLIED = (f'qzx{word} Alpha,\n\n  3 < 4 & "beta" ü' for word in ("Rules", "Asked", "Said", "Replied"))
"""What no template holds, over lines, with what some would escape."""
TOOL_REPLY: Final = "qzxFound"
"""A tool's reply is one word, since some templates write replies as JSON."""
_BEGUN: Final = re.compile(r"[<\[][^<>\[\]]*\Z")
"""A marker without its end."""
CORRECT: Final = "correct its chat_template.jinja, or use another model"


@dataclass(frozen=True, slots=True)
class TemplateProof:
    """The parts of a chat that its template is proved with."""

    model: str
    render: Render
    ids: Callable[[str], Sequence[int]]
    controls: frozenset[int]
    """Ids that are not plain text."""
    eos_ids: frozenset[int]
    word: Callable[[int], str]
    """Returns the text of an id."""

    def prove(self, *, system: bool, replies: bool) -> None:
        """Render what a run renders and look for each part of it.

        Args:
            system: whether the run has a system message.
            replies: whether its episodes go on after an assistant's turn.

        Raises:
            ModelError: a part is missing, the template refuses the conversation, or no id ends a turn.
        """
        if system:
            self.prove(system=False, replies=replies)  # what another placement does not mend comes first
        opening = (*((Message("system", SYSTEM),) if system else ()), Message("user", ASKED))
        parts = ("system", SYSTEM), ("user", ASKED), ("assistant", SAID), ("reply", REPLIED)
        self._require(self.render(opening, True), parts[0 if system else 1 : 2])
        if replies:
            talk = (*opening, Message("assistant", SAID), Message("user", REPLIED))
            self._require(self.render(talk, True), parts[0 if system else 1 :])
        self._require_end(opening)

    def prove_call(self, tool: ToolSpec, decode: Callable[[Sequence[int]], str]) -> None:
        """Render a call in the model's own format and read it back as a run reads what is sampled; then look for the tool's reply.

        `decode` returns the text of sampled ids. Raises ModelError.
        """
        opening = (Message("user", ASKED),)
        called = Message("assistant", "", (ToolCall(tool.name, json.dumps(tool.probe(), ensure_ascii=False)),))
        asked, unasked = self.render(opening, True), self.render(opening, False)
        written = self.render((*opening, called), False).removeprefix(unasked)
        same = _BEGUN.sub("", written[: common_start(written, asked.removeprefix(unasked))])  # <think> and <tool_call> both begin with "<t"
        said = strip_reasoning(decode(self.ids(written.removeprefix(same))))
        read, probe = read_calls(said, [tool]).requests, tool.probe()
        if [each.arguments for each in read] != [probe] or (not probe and read[0].call is None):
            raise ModelError(f"the chat template of '{self.model}' writes calls in a form that is not read here; use --tool-format text")
        if TOOL_REPLY not in self.render((*opening, called, Message("tool", TOOL_REPLY, tool=tool.name)), True):
            raise ModelError(f"the chat template of '{self.model}' does not show the reply of a tool; use --tool-format text")

    def _require(self, rendered: str, parts: Sequence[tuple[str, str]]) -> None:
        for name, text in parts:
            if text not in rendered:
                raise ModelError(f"the chat template of '{self.model}' {_LOSSES[name]}")

    def _require_end(self, opening: Sequence[Message]) -> None:
        """Raise ModelError unless what stands behind an assistant's words, in the last turn or an earlier one, ends a completion."""
        said = (*opening, Message("assistant", SAID))
        behind = self._behind(self.render(said, False))
        try:
            between = self._behind(self.render((*said, Message("user", REPLIED)), True).partition(REPLIED)[0])
        except ModelError:  # it knows a single exchange only
            between = ()
        if self.eos_ids & {*behind, *between}:
            return
        ends = ", ".join(f"{self.word(token)!r} (id {token})" for token in sorted(self.eos_ids))
        wrong = next((token for token in (*behind, *between) if token in self.controls), None)
        if wrong is None:
            remedy = f"let its chat_template.jinja write one of these after what an assistant says: {ends}"
            raise ModelError(f"the chat template of '{self.model}' ends no turn, so that completions would run on to their limit; {remedy}")
        raise ModelError(
            f"the chat template of '{self.model}' ends a turn with {self.word(wrong)!r}, which ends no completion (these do: {ends}); "
            f"add {wrong} to eos_token_id in its generation_config.json"
        )

    def _behind(self, rendered: str) -> Sequence[int]:
        return self.ids(rendered.rpartition(SAID)[2])


_LOSSES: Final = {
    "system": "leaves out the system message, or changes it; put the principles into the user message with --placement user",
    "user": f"leaves out the user's message, or changes it (some expect content in parts, not a text); {CORRECT}",
    "assistant": f"leaves out what the assistant said before, or changes it, once the conversation goes on; {CORRECT}",
    "reply": f"leaves out the message that follows an assistant's, or changes it; {CORRECT}",
}
"""What is wrong where a part does not come out, and the remedy."""
