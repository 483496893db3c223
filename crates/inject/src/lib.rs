#![doc = include_str!("../README.md")]

mod alone;
mod apply;
mod bytes;
mod cloud_init;
mod confext;
mod credentials;
mod error;
mod ignition;
mod kickstart;
mod nocloud;
mod plan;
mod script;
mod sealed;

pub use apply::apply;
pub use cloud_init::{CloudInit, CloudInitOptions, to_cloud_init};
pub use confext::{Confext, ConfextError, ConfextOptions, to_confext};
pub use credentials::{
    CREDENTIAL_MAX, CREDENTIAL_NAME_MAX, Credential, Credentials, CredentialsError, SMBIOS_MAX,
    to_credentials,
};
pub use error::{ApplyError, PlanError};
pub use ignition::{Ignition, to_ignition};
pub use kickstart::{Kickstart, to_kickstart};
pub use nocloud::nocloud_disk;
pub use plan::{AccountFile, EtcPlan, plan};
pub use sealed::Sealed;
