"""What every package speaks: canonical codec, hashing, keys, Merkle proofs, identifiers, errors."""
