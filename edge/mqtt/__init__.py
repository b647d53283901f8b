"""Delivery: from the ledger to the broker, what the broker asks, and what Home Assistant is told."""
