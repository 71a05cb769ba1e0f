//! Placement of tenant shards on nodes. Pure: no I/O, clock, randomness or async runtime.
