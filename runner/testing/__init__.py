"""Public test kit: GitLab and Kubernetes as real servers on loopback, with faults on demand.

Everything exported here is API: typed, documented, kept.
"""
