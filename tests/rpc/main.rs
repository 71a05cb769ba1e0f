//! Calls between nodes, over real sockets: what travels, what is refused, and what becomes of calls when something
//! breaks.

// Marked as tests so that their helpers, too, may unwrap.
#[cfg(test)]
mod calls;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod handshakes;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod samples_over_sockets;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod support;
