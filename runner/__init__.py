"""GitLab Runner's Kubernetes executor as an asyncio service."""

__version__ = "0.1.0"
