"""What a node keeps on disk: LevelDB, the write-ahead log, payloads, keys."""
