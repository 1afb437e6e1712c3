"""The HTTP API: Flask over the service, waitress under it. Nothing is decided here that the service decides.

Nothing is imported here: `address` is needed at each start before anything else, the others later.
"""
