"""The scripts that stages run: job and configuration in, shell text out.

Ground floor. Quoting happens here and nowhere else.
"""
