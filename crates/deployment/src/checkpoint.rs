//! What a boot loader sees.
//!
//! GRUB reads ext4 without replaying its journal, so what was synced is there for it only once the
//! journal was written in place. There is no wrapper of that call, which is why the one unsafe line
//! of this crate is here: the kernel reads four bytes and keeps no pointer.
#![expect(
    unsafe_code,
    reason = "an ioctl without a wrapper; its argument is a number that outlives the call"
)]

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl, opcode};

use crate::error::{Result, io};

/// `EXT4_IOC_CHECKPOINT` of linux/ext4.h, in kernels since 5.15.
const CHECKPOINT: rustix::ioctl::Opcode = opcode::write::<u32>(b'f', 43);

/// Write a file system's journal in place. Where there is no such call (another file system, an older
/// kernel, no privilege) nothing is done: `false`.
pub(crate) fn checkpoint(dir: impl AsFd, path: &str) -> Result<bool> {
    // SAFETY: the opcode takes a pointer to a u32, which Setter passes.
    let done = unsafe { ioctl(dir, Setter::<CHECKPOINT, u32>::new(0)) };
    match done {
        Ok(()) => Ok(true),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::NODEV) => {
            Ok(false)
        }
        Err(e) => Err(io("write the journal in place of", path)(e)),
    }
}
