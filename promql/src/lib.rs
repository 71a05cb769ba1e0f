//! PromQL: language, planner and engine. No I/O: data comes in through the storage trait.
