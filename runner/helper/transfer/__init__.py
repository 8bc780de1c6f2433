"""Requests to GitLab and to object stores.

Law: the standard library alone, every wait has a limit, bodies pass in pieces. A URL is told without its query, which
may be signed, and a token never.
"""
