//! Classify an image as base or final, generic or specific, and lint it.
