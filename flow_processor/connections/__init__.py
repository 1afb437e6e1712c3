"""What steps that talk to other servers share: optional packages, addresses without passwords, calls that end."""

from flow_processor.connections.address import Address, address_of, check_address, has_password
from flow_processor.connections.ending import ended_with, unknown_outcome
from flow_processor.connections.packages import import_package, missing_package

__all__ = [
    "Address",
    "address_of",
    "check_address",
    "ended_with",
    "has_password",
    "import_package",
    "missing_package",
    "unknown_outcome",
]
