//! What a rule of the policy says.

use crate::model::InjectOnlyKind;

use super::policy::BONDS;
use super::{Keeper, Route, Verdict};

/// A kind of item of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// A file, directory or link, by who keeps its path.
    Path(Keeper),
    /// What a directory asks for beyond its path.
    Directory,
    /// What a symbolic link asks for beyond its path.
    Link,
    /// A hard link to a file of the same keeper.
    HardLink,
    /// The same among what the machine keeps.
    HardLinkInVar,
    /// A hard link to a file of another keeper.
    HardLinkAcross,
    /// A setuid or setgid bit of a file.
    Setuid,
    /// An owner or group given by name, other than root's.
    NamedOwner,
    /// Fragments that are added to a file that may be there.
    Append,
    /// Contents that only the owner of the file may read, or a private key.
    PrivateFile,
    /// A file without contents: what is there keeps its own.
    KeptContents,
    /// A unit file.
    Unit,
    /// A drop-in of a unit.
    Dropin,
    /// `enabled: true`.
    Enable,
    /// `enabled: false`.
    Disable,
    /// `mask: true`.
    Mask,
    /// `mask: false`.
    Unmask,
    /// A user that is to exist, with its groups, home and SSH keys.
    User,
    /// A group that is to exist.
    Group,
    /// A user or group that is to be gone.
    AccountRemoval,
    /// The password hash of a user.
    UserPassword,
    /// The password hash of a group.
    GroupPassword,
    /// A kernel argument that is to be there.
    KernelArgument,
    /// A kernel argument that is to be gone.
    KernelArgumentRemoval,
    /// Contents that Ignition fetches.
    Remote,
    /// An instruction to Ignition.
    InjectOnly(InjectOnlyKind),
}

/// Why two items stay together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bond {
    /// Accounts are numbered one after the other.
    Accounts,
    /// A hard link is another name of a file.
    HardLink,
    /// A path is in a directory.
    Directory,
    /// A unit is enabled by what its file says, and not while it is masked.
    Unit,
    /// Another document takes this one's place.
    Replacement,
}

impl Bond {
    /// What is said of an item whose other end is refused.
    pub(crate) fn broken(self) -> Verdict {
        let bond = BONDS.iter().find(|(bond, ..)| *bond == self);
        bond.expect("a test holds every bond to a rule").2
    }
}

/// What each route makes of one kind of item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The kind of item.
    pub subject: Subject,
    /// It in words.
    pub what: &'static str,
    /// A verdict for each route.
    pub verdicts: Verdicts,
    /// Where it is said, apart from what is said of the route itself.
    pub sources: &'static str,
}

/// A verdict for each route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named like its route")]
pub struct Verdicts {
    pub derive: Verdict,
    pub etc: Verdict,
    pub ignition: Verdict,
    pub cloud_init: Verdict,
    pub kickstart: Verdict,
    pub credentials: Verdict,
    pub confext: Verdict,
}

impl Verdicts {
    /// The verdict for one route.
    pub fn of(&self, route: Route) -> Verdict {
        match route {
            Route::Derive => self.derive,
            Route::Etc => self.etc,
            Route::Ignition => self.ignition,
            Route::CloudInit => self.cloud_init,
            Route::Kickstart => self.kickstart,
            Route::Credentials => self.credentials,
            Route::Confext => self.confext,
        }
    }
}
