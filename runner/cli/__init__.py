"""The command line: reads arguments and configuration once and passes them down. Results go to stdout, the rest to
stderr.
"""
