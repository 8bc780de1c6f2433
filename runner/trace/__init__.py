"""The job's log: bytes in, bytes out.

Ground floor. What GitLab stores is a pure function of the raw log and the journal that lie in the pod, so that it can
be made again from byte 0. Time is an argument.
"""
