"""The replicated state machine: transactions, blocks, receipts, state tree, executor."""
