"""The answer of a policy that answers in a few words, after the word ``answer``."""


def last_answer(response: str) -> list[str]:
    """Return the words after the last ``answer``; empty if there is no such word, or nothing after it."""
    words = response.split()
    return words[len(words) - words[::-1].index("answer") :] if "answer" in words else []
