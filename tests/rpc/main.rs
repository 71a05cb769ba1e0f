//! Calls between nodes, over real sockets: what travels, what is refused, and what becomes of calls when something
//! breaks.

mod support;

mod calls;
mod faults;
mod frames;
mod handshakes;
mod limits;
mod samples;
mod samples_over_sockets;
mod streams;
