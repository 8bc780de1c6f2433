"""The Kubernetes API server as the executor needs it.

Client floor. The only package that knows kubernetes_asyncio and the API server's wire; errors become KubeError here,
once.
"""
