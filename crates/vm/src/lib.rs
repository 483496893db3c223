//! Boot a disk under QEMU and bring back what the guest wrote.
