//! Build it in or inject it, and prove that it boots the same.
