"""Kubernetes quantities, for whoever builds pods; they are read and compared in `runner.job.quantity`."""

from runner.job.quantity import Quantity, QuantityError, format_quantity, parse_quantity

__all__ = ["Quantity", "QuantityError", "format_quantity", "parse_quantity"]
