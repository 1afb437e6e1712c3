"""Texts that messages quote: cut where they are long, with a mark by which one sees it."""

MARK = "…"


def shortened(text: str, limit: int) -> str:
    """The text, in at most `limit` characters; the last of them says that it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + MARK
