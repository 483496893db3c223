#![doc = include_str!("../README.md")]

pub use pleach_booted_state as booted_state;
pub use pleach_customization as customization;
#[cfg(feature = "deploy")]
pub use pleach_deployment as deployment;
pub use pleach_derive as derive;
pub use pleach_etc_merge as etc_merge;
pub use pleach_fs_tree as fs_tree;
pub use pleach_image_fetch as image_fetch;
pub use pleach_image_lint as image_lint;
pub use pleach_inject as inject;
pub use pleach_layer_merge as layer_merge;
pub use pleach_parity as parity;
pub use pleach_vm as vm;
