"""The lifecycle of an SQL request in QueryPie, over its API v2.

`options` says what a step may want, `client` sends single requests, `calls` knows the ten calls and what must not be
done twice, `selection` chooses from what they answer, and `lifecycle` puts them in their order.
"""
