"""Schedules: which flow is due, and handing it over. Nothing here runs a flow."""
