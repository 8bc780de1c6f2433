"""The object stores of caches: signed addresses for a job's helper.

The floor's law: nothing is read or written here; the helper in the pod does that with what is signed. What asks the
network (credentials of the environment, roles, a bucket's region) is bounded by whoever calls. Errors of the libraries
become `StoreError`, without a secret in it.
"""
