"""The only place that evaluates a user's expression: jq, Jinja, `when`, regular expressions."""
