"""Queues: named items that wait to start flows, in folders or at a broker.

`item` is what a queue holds, `backend` is what keeps the items of all queues and what takes them in. A backend hands
each item to the intake once for each flow that listens; from there on the store's ledger (`store.items`) has it.
"""
