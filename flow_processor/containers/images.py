"""Images: fetched from their registry where a step wants that."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flow_processor.containers.engine import Engine, EngineRefused
from flow_processor.errors import StepError
from flow_processor.spec.image import registry_of


class ImageMissing(StepError):
    """The image is not there, and `pull: never` says not to fetch it."""

    code = "image_missing"

    def __init__(self, image: str):
        super().__init__(
            f"there is no image {image} on this machine, and 'pull: never' says not to fetch it",
            details={"image": image},
        )


class PullFailed(StepError):
    """The image could not be fetched from its registry; the message has the engine's words."""

    code = "image_pull_failed"


def pull(
    engine: Engine, image: str, credentials: Mapping[str, str] | None, *, is_wanted: Callable[[], bool]
) -> None:
    """Fetch an image that is written out, as long as it is wanted. Raises PullFailed, EngineUnavailable.

    Only these credentials are used: whatever the daemon's user has in ~/.docker stays out of it.
    """
    name, at, digest = image.partition("@")
    name, tag = (name, digest) if at else (image.rpartition(":")[0], image.rpartition(":")[2])
    auth = {} if credentials is None else {**credentials, "serveraddress": registry_of(image)}
    wrong = None
    try:
        with engine.answering("pull an image") as client:
            for told in client.pull(name, tag=tag, stream=True, decode=True, auth_config=auth):
                wrong = told.get("error", wrong)
                if not is_wanted():
                    return
    except EngineRefused as error:
        wrong = error.said
    if wrong is not None:
        raise PullFailed(f"the image {image} could not be fetched: {wrong}", details={"image": image})
