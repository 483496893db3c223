//! The verdict over routes and moments: equal, expected with a rule, or a defect.
