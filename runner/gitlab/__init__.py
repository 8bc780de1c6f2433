"""GitLab as the runner sees it.

Client floor. The only package that knows httpx; its errors are translated here, once, into CoordinatorError.
"""
