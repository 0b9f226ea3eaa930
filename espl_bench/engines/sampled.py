"""What an engine that holds its own weights samples for one request: ids, before a chat format makes a completion of them."""

from dataclasses import dataclass

from espl_bench.engines.chat import HfChat
from espl_bench.types import Completion, StopReason


@dataclass(frozen=True, slots=True)
class Sampled:
    """The sampled ids of one request, the end-of-turn id included, and their log-probabilities."""

    tokens_T: tuple[int, ...]
    logprobs_T: tuple[float, ...]
    stop_reason: StopReason

    def completion(self, chat: HfChat) -> Completion:
        """Decode the ids, and count how many characters of the text each one makes."""
        text = chat.decode(self.tokens_T)
        lengths_T = chat.lengths(self.tokens_T, text)
        return Completion(self.tokens_T, self.logprobs_T, text, self.stop_reason, lengths_T=lengths_T)


CUT = Sampled((), (), StopReason.LENGTH)
"""What a request gets whose prompt leaves no room in the model's context."""
