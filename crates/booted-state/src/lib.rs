//! Capture the effective state of a booted system, and compare two captures.
