"""Kubernetes manifests as plain dicts.

Ground floor. Builders make dicts, readers read them; unknown fields survive. No secret value ever enters a pod.
"""
