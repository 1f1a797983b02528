"""Finding images by the names that label files give, with one listing per folder."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

IMAGE_EXTENSIONS = (".jpg", ".png", ".jpeg", ".bmp", ".jpe", ".gif", ".webp", ".tif", ".tiff")


class ImageFolders:
    """The folders of a dataset that may hold its images.

    Args:
        root: The dataset's root.
        folders: Folders below it, in order of preference; ``""`` is the root itself. The first one
            that exists stands for images that are nowhere.
    """

    def __init__(self, root: Path, folders: Sequence[str]) -> None:
        self._root = root
        self._listings: dict[str, _Listing] = {}
        existing = [folder for folder in folders if (root / folder).is_dir()]
        self._folders = existing or list(folders[:1])

    def find(self, name: str) -> str:
        """Return the path of the image called ``name`` relative to the root.

        The exact name wins; then the same name in other case; then the same stem with another
        image extension. An image that is not there keeps the name it was asked by.
        """
        name = name.replace("\\", "/")
        if posixpath.isabs(name) or ".." in name.split("/"):
            # Refused later, with its reason, where media are opened.
            return name
        for folder in self._folders:
            parent, base = posixpath.split(posixpath.join(folder, name))
            found = self._listing(parent).find(base)
            if found is not None:
                return posixpath.join(parent, found)
        return posixpath.join(self._folders[0], name)

    def _listing(self, folder: str) -> _Listing:
        if folder not in self._listings:
            self._listings[folder] = _Listing(self._root / folder)
        return self._listings[folder]


class _Listing:
    def __init__(self, folder: Path) -> None:
        try:
            names = sorted(os.listdir(folder))
        except (OSError, ValueError):
            # A folder that cannot be listed has no images; each row will say so.
            names = []
        self._exact = frozenset(names)
        self._lower: dict[str, str] = {}
        for name in names:
            self._lower.setdefault(name.lower(), name)

    def find(self, name: str) -> str | None:
        if name in self._exact:
            return name
        lower = name.lower()
        stem, extension = posixpath.splitext(lower)
        if extension not in IMAGE_EXTENSIONS:
            stem = lower
        candidates = (lower, *(stem + other for other in IMAGE_EXTENSIONS))
        return next((self._lower[one] for one in candidates if one in self._lower), None)
