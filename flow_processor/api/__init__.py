"""The HTTP API: Flask over the service, waitress under it. Nothing is decided here that the service decides."""

from flow_processor.api.app import create_app
from flow_processor.api.server import ApiServer

__all__ = ["ApiServer", "create_app"]
