//! Parameters of the query API.
//!
//! - [`form`]: names and values from the URL and a posted form.
//! - [`time`], [`step`], [`limit`]: their types.
//! - [`selection`]: `match[]`, `start`, `end` and `limit` together.
//! - [`names`]: label names escaped into a path.

pub mod form;
pub mod limit;
pub mod names;
pub mod selection;
pub mod step;
pub mod time;
