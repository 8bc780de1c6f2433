"""What GitLab hands us and how a job can end.

The lowest floor: frozen data and total functions. No loop, socket, clock or randomness; imports nothing of this
project.
"""
