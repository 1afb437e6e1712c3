"""Containers: the only place that talks to a Docker engine.

The SDK is imported when an engine is first spoken to (it takes a tenth of a second), so that a process that has no
container to do with never loads it. Importing this package does nothing.
"""
