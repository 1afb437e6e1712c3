"""Names of images, written out: `busybox` is `docker.io/library/busybox:latest`."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

DEFAULT_REGISTRY = "docker.io"

_REGISTRY = r"[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_IMAGE = re.compile(
    rf"(?P<name>(?:{_REGISTRY}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_DIGEST_PATTERN = re.compile(rf"{_DIGEST}|(?=.*\*)(?:\*|sha256:)[0-9a-f*]{{0,64}}")


def full_image(name: str) -> str:
    """The image written out, by digest if it names one (as the engine takes it), else by tag. Raises ValueError."""
    match = _IMAGE.fullmatch(name)
    if match is None or re.fullmatch(r"[0-9a-f]{64}", name):
        raise ValueError("is no name of an image, like 'busybox:1.36' or 'registry.local/team/app@sha256:…'")
    version = f"@{match['digest']}" if match["digest"] else f":{match['tag'] or 'latest'}"
    return _with_registry(match["name"]) + version


def registry_of(image: str) -> str:
    """The registry of an image that is written out."""
    return image.partition("/")[0]


def image_pattern(pattern: str) -> str:
    """The pattern written out like an image. Raises ValueError where it would leave the registry open, or fit none."""
    if pattern == "*":
        return pattern
    name, at, digest = pattern.partition("@")
    if not _IMAGE.fullmatch(name.replace("*", "a")) or (at and not _DIGEST_PATTERN.fullmatch(digest)):
        raise ValueError(f"'{pattern}' is no pattern of images, like 'busybox:*' or 'registry.local/team/*'")
    whole = _with_registry(name)
    if "*" in registry_of(whole):
        raise ValueError(f"'{pattern}': '*' may not stand in the registry's name")
    folder, _, last = whole.rpartition("/")
    if at:  # as of an image: where there is a digest, the tag says nothing
        return f"{folder}/{last.partition(':')[0]}@{digest}"
    return whole if ":" in last or last.endswith("*") else f"{whole}:latest"


def is_allowed(image: str, patterns: tuple[str, ...]) -> bool:
    """Does one of the patterns fit the image, which is written out?"""
    return any(fnmatchcase(image, image_pattern(pattern)) for pattern in patterns)


def _with_registry(name: str) -> str:
    first, slash, _rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, rest = first, name[len(first) + 1 :]
    else:
        registry, rest = DEFAULT_REGISTRY, name
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in rest and rest != "*":
        rest = f"library/{rest}"
    return f"{registry}/{rest}"
