//! Time series storage of one shard: labels, head, chunks, WAL, snapshot. No network, no async.
