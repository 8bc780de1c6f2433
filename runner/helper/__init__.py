"""What runs inside the pod's helper container.

Stands alone: the standard library only, nothing else of this package, because a pod starts it several times per job.
"""
