"""What a person says of a model, beside what its file says."""

from dataclasses import dataclass


def readable(name: str) -> str:
    """A file's name as text that any file can hold: bytes that are no UTF-8 become "?"."""
    return name.encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class About:
    """Title, author, licence (an SPDX name), a description, tags, where the file can be fetched, pictures' addresses and the date
    (yyyy-mm-dd); "" or nothing where it was not said."""

    title: str
    author: str
    license: str
    description: str
    tags: tuple[str, ...]
    urls: tuple[str, ...]
    images: tuple[str, ...]
    date: str
