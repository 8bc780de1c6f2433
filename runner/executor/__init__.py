"""Where jobs run: the protocols that the manager knows, and the Kubernetes executor behind them.

KubeError becomes JobError here, in one place.
"""
