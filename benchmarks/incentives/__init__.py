"""The simulations behind docs/incentives.md."""
