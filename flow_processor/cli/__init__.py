"""The command line: one file per command group, loaded when it is called.

A command talks to the running daemon where one has the data folder, and does the same by itself where none
has (`daemon.py` and the service offer the same verbs).
"""
