"""Failures as a line for people."""


def told(error: Exception) -> str:
    """`error` in one line; a failure of the operating system by its words and the file, and not by its number."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return " ".join(text.split())
