//! Power cuts: the writes of a real run are recorded below the file system, and every state that a
//! cut could have left is looked at, by a boot loader's eyes and by a booted system's.

pub mod campaign;
pub mod loader;
pub mod log;
pub mod mount;
pub mod oracle;
pub mod record;
pub mod state;
pub mod vfat;
pub mod view;
