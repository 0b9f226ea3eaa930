r"""Find the answer in a response: the last box, or an answer line. Time is linear in the text, whatever it holds."""

from espl_bench.grading.answer_lines import last_answer_line
from espl_bench.grading.boxes import Extracted, has_box, last_box
from espl_bench.grading.rules import Extraction
from espl_bench.utils import reasoning


def extract(response: str, extraction: Extraction) -> Extracted:
    """Extract the answer of a whole response, without its thinking."""
    text = after_thinking(response)
    if text is None:
        return Extracted(None, "the thinking was not closed")
    match extraction:
        case Extraction.BOXED:
            return last_box(text)
        case Extraction.ANSWER_LINE:
            return last_answer_line(text)
        case Extraction.BOXED_OR_ANSWER_LINE:
            return last_box(text) if has_box(text) else last_answer_line(text)
        case Extraction.ANYWHERE:
            return whole(text)


def after_thinking(response: str) -> str | None:
    """Return the text after the last closing tag; None if a thinking block is still open at the end."""
    _, _, text = response.rpartition(reasoning.CLOSE)
    return None if reasoning.OPEN in text else text


def whole(text: str) -> Extracted:
    """Take a text that is itself the answer."""
    answer = text.strip()
    return Extracted(answer, "the whole text") if answer else Extracted(None, "the text is empty")
