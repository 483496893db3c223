//! The /etc three-way merge: what the image shipped, what the machine has, what the next image ships.
