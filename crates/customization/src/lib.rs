#![doc = include_str!("../README.md")]

pub mod accounts;
mod decode;
mod diagnostic;
mod fields;
mod local;
pub mod lower;
mod merge;
mod model;
mod parse;
mod placement;
mod secret;
mod source;
mod split;
mod unit_name;
mod unit_text;
mod validate;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use local::{LocalFiles, NoLocalFiles, TreeEntry, TreeKind};
pub use model::{
    Clevis, ClevisCustom, Compression, Contents, Customization, Directory, Disk, Dropin, File,
    Filesystem, Format, Group, Hash, HttpHeader, IgnitionSection, InjectOnly, InjectOnlyKind,
    KernelArgument, KernelArguments, Link, Luks, Origin, Owner, Partition, Proxy, Raid, Reference,
    Remote, Source, Tang, Timeouts, Unit, User,
};
pub use parse::{Input, ParseOptions, Parsed, parse};
pub use placement::{
    BONDS, Bond, KEEPERS, Keeper, Place, Placement, ROUTES, Refusal, Refused, Route, RouteError,
    Rule, Subject, Verdict, Verdicts, carried, placement, rules,
};
pub use secret::Secret;
pub use split::{Split, split, split_without};
